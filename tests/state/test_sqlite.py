"""What is particular to the sqlite store: the file, its processes, and their end."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from plano.state import Item, StateSettings, Turn, open_store
from tests.state.conftest import Clock, OpenState
from tests.state.failing import turn

KINDS = ["sqlite"]

ROOT = Path(__file__).parents[2]

WRITER = """
import asyncio, sys
from plano.state import StateSettings, Turn, open_store

async def main(path, name, count):
    store = open_store(StateSettings(type="sqlite", path=path, deadline_seconds=60.0))
    last = None
    for number in range(count):
        turn = Turn(id=f"{name}-{number}", kind="chat", created=0.0, payload=name.encode() * 500)
        last = await store.put("acme", turn, after=last)
        print(turn.id, flush=True)
    await store.aclose()

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


def write_elsewhere(path: Path, name: str, count: int) -> subprocess.Popen[str]:
    """Another process that stores a chain and says each id once it is acknowledged."""
    command = [sys.executable, "-c", WRITER, str(path), name, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)


def modes(folder: Path) -> dict[str, int]:
    return {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()}


async def test_an_acknowledged_turn_survives_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite3"
    for run in range(3):
        writer = write_elsewhere(path, f"run{run}", 1_000_000)
        assert writer.stdout is not None
        acknowledged = [writer.stdout.readline().strip() for _ in range(40)]
        writer.kill()
        acknowledged += writer.stdout.read().split()
        writer.wait()
        writer.stdout.close()

        store = open_store(StateSettings(type="sqlite", path=str(path)))
        chain = await store.get_chain("acme", acknowledged[-1])
        await store.aclose()

        assert [turn.id for turn in chain] == acknowledged
        assert {turn.payload for turn in chain} == {f"run{run}".encode() * 500}


async def test_processes_that_start_and_write_at_once_share_one_file(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite3"
    writers = [write_elsewhere(path, f"w{number}", 50) for number in range(4)]
    said = [writer.communicate()[0].split() for writer in writers]

    assert [writer.returncode for writer in writers] == [0] * 4
    store = open_store(StateSettings(type="sqlite", path=str(path)))
    for number in range(4):
        chain = await store.get_chain("acme", f"w{number}-49")
        assert [turn.id for turn in chain] == said[number]
        assert len(chain) == 50
    await store.aclose()


async def test_the_file_is_its_owners_alone(open_state: OpenState, tmp_path: Path) -> None:
    store = open_state()
    await store.put("acme", Turn(id="one", kind="chat", created=0.0, payload=b"x"))

    assert modes(tmp_path) == dict.fromkeys(("state.sqlite3", "state.sqlite3-wal", "state.sqlite3-shm"), 0o600)


async def test_state_outlives_the_store(open_state: OpenState) -> None:
    first = open_state()
    await first.put("acme", Turn(id="one", kind="chat", created=0.0, payload=b"x"))
    await first.create_conversation("acme", "conv", b"head", [Item("a", b"y")])
    await first.aclose()

    second = open_state()

    assert len(await second.get_chain("acme", "one")) == 1
    assert await second.get_item("acme", "conv", "a") == Item("a", b"y")


async def test_words_that_were_deleted_or_pruned_are_not_in_the_file_any_more(
    open_state: OpenState, clock: Clock, tmp_path: Path
) -> None:
    store = open_state(ttl_seconds=100.0)
    secret = b"correct horse battery staple"
    await store.put("acme", Turn(id="one", kind="chat", created=0.0, payload=secret * 1000))
    await store.put("acme", Turn(id="two", kind="chat", created=0.0, payload=secret * 1000))
    await store.create_conversation("acme", "conv", secret, [Item("a", secret * 1000)])
    await store.delete("acme", "one")
    clock.passes(100.0)
    await store.prune()
    await store.aclose()

    assert secret not in (tmp_path / "state.sqlite3").read_bytes()
    with sqlite3.connect(tmp_path / "state.sqlite3") as db:
        counts = [db.execute(f"SELECT count(*) FROM {name}").fetchone() for name in ("turns", "trees", "items")]
    db.close()
    assert counts == [(0,), (0,), (0,)]


async def test_a_write_that_fails_does_not_take_its_neighbours_along(open_state: OpenState) -> None:
    store = open_state(max_chain_bytes=1000)
    await store.create_conversation("acme", "conv", b"", [Item("a", b"x" * 900)])

    results = await asyncio.gather(
        *(store.put("acme", Turn(id=f"t{number}", kind="chat", created=0.0, payload=b"x")) for number in range(20)),
        store.append_items("acme", "conv", [Item("b", b"x" * 900)]),
        *(store.put("acme", Turn(id=f"u{number}", kind="chat", created=0.0, payload=b"x")) for number in range(20)),
        return_exceptions=True,
    )

    assert [type(result).__name__ for result in results] == ["Turn"] * 20 + ["TooLarge"] + ["Turn"] * 20
    for name in ("t0", "t19", "u0", "u19"):
        assert await store.get("acme", name) is not None


async def test_writing_while_pruning_loses_nothing(open_state: OpenState, clock: Clock) -> None:
    store = open_state(ttl_seconds=100.0)
    old = [Turn(id=f"old{number}", kind="chat", created=0.0, payload=b"x" * 1000) for number in range(300)]
    await asyncio.gather(*(store.put("acme", turn) for turn in old))
    clock.passes(100.0)
    pruning = asyncio.create_task(store.prune())
    last = None
    for number in range(50):
        turn = Turn(id=f"new{number}", kind="chat", created=0.0, payload=b"x")
        last = await store.put("acme", turn, after=last)

    assert await pruning == 300
    assert len(await store.get_chain("acme", "new49")) == 50


async def test_the_place_of_a_deleted_turn_is_never_taken_by_another(open_state: OpenState) -> None:
    store = open_state()
    first = await store.put("acme", Turn(id="one", kind="chat", created=0.0, payload=b"acme's"))
    await store.delete("acme", "one")
    await store.put("other", Turn(id="theirs", kind="chat", created=0.0, payload=b"other's"))

    await store.put("acme", Turn(id="two", kind="chat", created=0.0, payload=b"x"), after=first)

    assert await store.get_chain("acme", "two") == []


@pytest.mark.parametrize("replaced", [False, True])
async def test_a_file_that_is_deleted_or_replaced_takes_no_turn_with_it(
    open_state: OpenState, where: dict[str, Any], replaced: bool
) -> None:
    store = open_state()
    await store.put("acme", turn("one"))
    if replaced:  # as by a restored backup, while the gateway runs
        copy = Path(where["path"]).with_suffix(".copy")
        with sqlite3.connect(where["path"]) as file:
            file.execute("VACUUM INTO ?", [str(copy)])
        file.close()
        await store.put("acme", turn("since"))
    for path in Path(where["path"]).parent.glob("*.sqlite3*"):
        path.unlink()
    if replaced:
        copy.rename(where["path"])

    await store.put("acme", turn("two"))
    await store.ping()

    for one in (store, open_state()):
        found = [id for id in ("one", "since", "two") if await one.get("acme", id) is not None]
        assert found == (["one", "two"] if replaced else ["two"])
