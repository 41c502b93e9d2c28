"""Can the data be trusted: checks of a set, leaks between two, and what a gallery gives away."""
