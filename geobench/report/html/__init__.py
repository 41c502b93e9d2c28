"""The HTML report: one file that opens from disk without a network, with tables, map, curves and a card per image."""
