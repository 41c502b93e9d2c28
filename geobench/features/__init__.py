"""Features: encoders, extraction in bounded memory, and the loaders that training reads from."""
