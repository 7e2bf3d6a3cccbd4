"""From other sources to a raw dataset: our own phantom, and public datasets."""
