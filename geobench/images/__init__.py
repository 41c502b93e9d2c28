"""Images: decoding, orientation, crops, positions in EXIF and XMP, augmentation."""
