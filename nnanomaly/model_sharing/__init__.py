"""Trained models as one file: export to a zip without pickles or patient data, and strict installation from one."""
