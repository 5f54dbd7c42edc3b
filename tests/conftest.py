"""What holds for every test."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

# A run finds what the run before found: nothing is drawn by chance, nothing is remembered, and nothing asks the clock.
settings.register_profile(
    "plano", derandomize=True, database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("plano")

# Variables given to `make test` reach any make below it by this one. Tests run make in folders of their own, and
# `make test VENV=elsewhere` must not let them install into that environment (GNU make, section "Options/Recursion").
os.environ.pop("MAKEFLAGS", None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Several processes share the tests, and know them by their ids."""
    for item in items:
        assert " at 0x" not in item.nodeid, f"its id differs from process to process: {item.nodeid}"
