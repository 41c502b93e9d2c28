"""Metadata tables: which column is which, and a clear line for every row that cannot be used."""
