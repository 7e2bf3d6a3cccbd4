"""Small helpers without knowledge of images or networks: errors, JSON files, logging."""
