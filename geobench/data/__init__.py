"""Data sets: their definitions, tables, stores of images, downloads, and the registration of own photos."""
