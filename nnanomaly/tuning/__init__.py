"""Choosing how to predict on a validation fold: settings are tried on lesions that are known, the best one is kept."""
