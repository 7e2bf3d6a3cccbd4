"""Evaluation of lesion masks against drawn lesions: matching, metrics, folders, tables. Imports no torch."""
