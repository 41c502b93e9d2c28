"""Pictures: maps, curves, bars."""
