"""What holds for every test."""

from __future__ import annotations

from hypothesis import settings

# A run finds what the run before found: nothing is drawn by chance, and nothing is remembered.
settings.register_profile("plano", derandomize=True, database=None, deadline=None)
settings.load_profile("plano")
