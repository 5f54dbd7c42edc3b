"""Each test gets empty stores. `open_state` opens another one on the same data, as another process would."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any, TypeAlias

import psycopg
import pytest

from plano.state import StateSettings, Store, open_store
from plano.types import Secret
from tests.servers import Postgres, Redis, RedisCluster, Sentinel

OpenState: TypeAlias = Callable[..., Store]

KINDS = ("memory", "sqlite", "redis", "redis-cluster", "postgres")
_schemas = count(1)


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now

    def passes(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Redis]:
    server = Redis()
    yield server
    server.stop()


@pytest.fixture
def sentinel() -> Iterator[Sentinel]:
    server = Sentinel()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def redis_cluster() -> Iterator[RedisCluster]:
    cluster = RedisCluster()
    yield cluster
    cluster.stop()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    server = Postgres()
    yield server
    server.stop()


@pytest.fixture
def schema(postgres_server: Postgres) -> str:
    """A connection string to an empty schema of its own."""
    name = f"test_{next(_schemas)}"
    with psycopg.connect(postgres_server.url, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}")
    return f"{postgres_server.url}?options=-csearch_path%3D{name}"


@pytest.fixture
async def opened() -> AsyncIterator[list[Store]]:
    stores: list[Store] = []
    yield stores
    for store in stores:
        await store.aclose()


@pytest.fixture
def where(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """The settings that lead to an empty store of one kind."""
    if kind in ("redis", "redis-full"):
        server = request.getfixturevalue("redis_server")
        server.command("FLUSHALL")
        return {"type": "redis", "url": Secret(server.url)}
    if kind == "redis-cluster":
        cluster = request.getfixturevalue("redis_cluster")
        for node in cluster.nodes:
            node.command("FLUSHALL")
        return {"type": "redis", "url": Secret(cluster.url)}
    if kind == "postgres":
        return {"type": "postgres", "connection_string": Secret(request.getfixturevalue("schema"))}
    return {"type": kind, "path": str(tmp_path / "state.sqlite3")}


@pytest.fixture
def open_state(where: dict[str, Any], clock: Clock, opened: list[Store]) -> OpenState:
    def open_one(**settings: Any) -> Store:
        store = open_store(StateSettings(**(where | {"deadline_seconds": 10.0} | settings)), clock=clock)
        opened.append(store)
        return store

    return open_one


@pytest.fixture
def store(open_state: OpenState) -> Store:
    return open_state()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for a store runs over all of them, unless it or its module (`KINDS`) says which."""
    if "kind" in metafunc.fixturenames and not _says_which(metafunc):
        metafunc.parametrize("kind", getattr(metafunc.module, "KINDS", KINDS))


def _says_which(metafunc: pytest.Metafunc) -> bool:
    return any("kind" in mark.args[0] for mark in metafunc.definition.iter_markers("parametrize"))
