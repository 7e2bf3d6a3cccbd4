"""Choosing map, threshold and post-processing among many configurations."""
