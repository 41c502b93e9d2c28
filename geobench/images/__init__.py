"""Images: decoding, orientation, crops, positions in EXIF, augmentation."""
