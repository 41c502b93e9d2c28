"""Pictures for papers and for a look: maps, curves, bars."""
