"""The stores of tests/state, as the `state_storage` of a configuration."""

from __future__ import annotations

from typing import Any, TypeAlias

import pytest

from plano.types import Secret
from tests.state.conftest import (
    KINDS,
    postgres_server,
    pytest_generate_tests,
    redis_cluster,
    redis_server,
    schema,
    where,
)

Storage: TypeAlias = dict[str, Any]


@pytest.fixture
def storage(where: dict[str, Any]) -> Storage:
    said = {key: value.reveal() if isinstance(value, Secret) else value for key, value in where.items()}
    return {**said, "deadline_seconds": 10.0}


__all__ = [
    "KINDS",
    "Storage",
    "postgres_server",
    "pytest_generate_tests",
    "redis_cluster",
    "redis_server",
    "schema",
    "storage",
    "where",
]
