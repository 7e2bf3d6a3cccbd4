"""Weak labels from reports: text and rules in, one word per organ out, each with its sentence and its rule."""
