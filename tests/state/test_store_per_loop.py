"""Whether a gateway's store can be written, asked often and found out seldom."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from plano.state import StateSettings
from plano.state.store_per_loop import CHECK_SECONDS, StoreCheck, Stores
from tests.state.conftest import Clock


def sqlite(folder: Path, *, deadline: float = 20.0) -> Stores:
    return Stores(StateSettings(type="sqlite", path=str(folder / "state.sqlite3"), deadline_seconds=deadline))


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Others can read the file, and not write it."""
    connection = sqlite3.connect(folder / "state.sqlite3", isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    yield
    connection.execute("ROLLBACK")
    connection.close()


async def test_however_often_it_is_asked_the_store_is_written_once_in_a_while(tmp_path: Path) -> None:
    stores, clock = sqlite(tmp_path), Clock()
    check = StoreCheck(stores, clock)
    assert await asyncio.gather(*(check() for _ in range(20))) == [True] * 20
    clock.passes(0.9 * CHECK_SECONDS)
    assert await check()
    assert stores.operations == {("ping", True): 1}
    clock.passes(0.2 * CHECK_SECONDS)
    assert await check()
    assert stores.operations == {("ping", True): 2}
    await stores.aclose()


async def test_a_store_that_cannot_be_written_any_more_is_noticed_and_so_is_its_recovery(tmp_path: Path) -> None:
    stores, clock = sqlite(tmp_path, deadline=2.0), Clock()
    check = StoreCheck(stores, clock)
    assert await check()
    with locked(tmp_path):
        assert await check(), "it is not asked again so soon"
        clock.passes(CHECK_SECONDS)
        assert not await check()
    clock.passes(CHECK_SECONDS)
    assert await check()
    await stores.aclose()


async def test_one_that_leaves_does_not_spoil_it_for_the_others(tmp_path: Path) -> None:
    stores = sqlite(tmp_path)
    check = StoreCheck(stores)
    first, second = asyncio.create_task(check()), asyncio.create_task(check())
    await asyncio.sleep(0)
    first.cancel()
    assert await second
    assert first.cancelled()
    await stores.aclose()


def test_what_was_found_out_on_another_loop_is_found_out_again(tmp_path: Path) -> None:
    stores = sqlite(tmp_path)
    check = StoreCheck(stores)
    for number in (1, 2):
        assert asyncio.run(check())
        assert stores.operations == {("ping", True): number}
    asyncio.run(stores.aclose())
