"""Stores: where the images of a split lie, read in place: a folder, an archive, shards."""
