"""What holds for every test."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

# A run finds what the run before found: nothing is drawn by chance, nothing is remembered, and nothing asks the clock.
settings.register_profile(
    "plano", derandomize=True, database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("plano")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Several processes share the tests, and know them by their ids."""
    for item in items:
        assert " at 0x" not in item.nodeid, f"its id differs from process to process: {item.nodeid}"
