"""What lies on disk: raw datasets, their splits, and the store of preprocessed patches. Knows no torch."""
