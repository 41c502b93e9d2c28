"""Stores: the folder, archives or shards that contain the images of a split, read in place."""
