"""Metadata tables: which column is which, and a clear message for every unusable row."""
