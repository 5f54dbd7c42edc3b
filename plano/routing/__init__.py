"""Finds the targets that a model's name means."""
