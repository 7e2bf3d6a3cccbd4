"""Choosing noise level and guidance."""
