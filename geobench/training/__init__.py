"""Training on features: batches in, steps, state and log out, over one process or many."""
