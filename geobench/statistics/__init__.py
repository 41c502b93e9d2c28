"""How sure a score is, and whether a difference is real."""
