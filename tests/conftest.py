"""What holds for every test."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# A run finds what the run before found: nothing is drawn by chance, nothing is remembered, and nothing asks the clock.
settings.register_profile(
    "plano", derandomize=True, database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("plano")
