"""Images and label maps on disk: read strictly, written atomically, always with the geometry that the file states."""
