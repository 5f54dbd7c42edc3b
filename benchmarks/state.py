"""Measures the time and the round trips in which a store loads a chain and stores a turn.

    python -m benchmarks.state [--stores memory,sqlite,redis,postgres] [--chains 1000,100000] [--repeat 200]

It prints Markdown. Servers are started for the run on loopback, with their default durability; sqlite and PostgreSQL
sync each commit to the disk. Times are the median and the 99th percentile of one operation at a time; "own" is the CPU
time of this process for one operation, its threads included. The time to load should grow with a chain's bytes and not
with the number of stored chains.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from plano.state import StateSettings, Store, Turn, open_store
from plano.types import Secret
from tests.servers import Postgres, Proxy, Redis

TURN_BYTES = 4_000
FILLER_BYTES = 1_000
LENGTHS = (1, 10, 100)
AT_ONCE = 64
WARM_UP = 100
ROOM = 4_000_000_000
SETTLE_SECONDS = 3.0
"""Seconds to wait after filling, for disks to finish and PostgreSQL to count its rows."""

Reach = Callable[[int | None], StateSettings]
"""Makes the settings that lead to the store under test, through a proxy's port if one is given."""


@asynccontextmanager
async def running(kind: str) -> AsyncIterator[tuple[Reach, int | None]]:
    """Starts the store's server, if it has one. Gives the function that makes the settings, and the server's port."""
    if kind == "redis":
        redis = Redis()
        try:
            yield (lambda port: reach(kind, url=Secret(f"redis://127.0.0.1:{port or redis.port}/0"))), redis.port
        finally:
            redis.stop()
    elif kind == "postgres":
        postgres = Postgres()
        url = "postgresql://postgres@127.0.0.1:{}/postgres"
        try:
            yield (lambda port: reach(kind, connection_string=Secret(url.format(port or postgres.port)))), postgres.port
        finally:
            postgres.stop()
    else:
        with tempfile.TemporaryDirectory(prefix="plano-bench-") as folder:
            yield (lambda port: reach(kind, path=str(Path(folder) / "state.sqlite3"))), None


def reach(kind: str, **settings: object) -> StateSettings:
    return StateSettings(type=kind, max_bytes=ROOM, max_chain_bytes=ROOM, deadline_seconds=30.0, **settings)  # type: ignore[arg-type]


def turn(id: str, size: int = TURN_BYTES) -> Turn:
    return Turn(id=id, kind="response", created=time.time(), payload=b"x" * size)


async def put_chain(store: Store, name: str, length: int, size: int) -> Turn | None:
    last = None
    for number in range(length):
        last = await store.put("bench", turn(f"{name}-{number}", size), after=last)
    return last


async def fill(store: Store, start: int, end: int) -> None:
    """Stores chains of one turn each, several at the same time."""
    numbers = iter(range(start, end))

    async def one_after_another() -> None:
        for number in numbers:
            await store.put("bench", turn(f"filler-{number}", FILLER_BYTES))

    await asyncio.gather(*(one_after_another() for _ in range(AT_ONCE)))
    await asyncio.sleep(SETTLE_SECONDS)


async def measure(operation: Callable[[int], Awaitable[object]], repeat: int) -> str:
    for number in range(WARM_UP):
        await operation(-number - 1)
    times = []
    own = time.process_time()
    for number in range(repeat):
        started = time.perf_counter()
        await operation(number)
        times.append(time.perf_counter() - started)
    own = (time.process_time() - own) / repeat
    times.sort()
    return f"{times[repeat // 2] * 1e6:,.0f} / {times[repeat * 99 // 100] * 1e6:,.0f} ({own * 1e6:,.0f})"


async def rows(kind: str, sizes: list[int], repeat: int) -> AsyncIterator[list[str]]:
    async with running(kind) as (reach_by, port):
        store = open_store(reach_by(None))
        for length in LENGTHS:
            await put_chain(store, f"chain{length}", length, TURN_BYTES)
        last = await put_chain(store, "wide", 10, 10 * TURN_BYTES)
        trips = await count_trips(reach_by, port)
        filled = 0
        for size in sizes:
            await fill(store, filled, size)
            filled = size
            cells = [
                await measure(lambda _, length=length: store.get_chain("bench", f"chain{length}-{length - 1}"), repeat)
                for length in LENGTHS
            ]
            cells.append(await measure(lambda _: store.get_chain("bench", "wide-9"), repeat))

            def put(number: int, size: int = size) -> Awaitable[Turn]:
                return store.put("bench", turn(f"new{size}-{number}"), after=last)

            cells.append(await measure(put, repeat))
            yield [kind, f"{size:,}", *cells, trips]
        await store.aclose()


async def count_trips(reach_by: Reach, port: int | None) -> str:
    """Counts the round trips to load a chain of 100 turns and to store one."""
    if port is None:
        return "none"
    async with Proxy(port) as proxy:
        store = open_store(reach_by(proxy.port))
        for number in range(10):
            await store.get_chain("bench", "chain100-99")
            last = await store.put("bench", turn(f"trips-{number}"))
        before = proxy.trips
        await store.get_chain("bench", "chain100-99")
        loading = proxy.trips - before
        await store.put("bench", turn("trips-last"), after=last)
        storing = proxy.trips - before - loading
        await store.aclose()
    return f"{loading} and {storing}"


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stores", default="memory,sqlite,redis,postgres")
    parser.add_argument("--chains", default="1000,100000")
    parser.add_argument("--repeat", type=int, default=200)
    arguments = parser.parse_args()

    loads = [f"load {length} x 4 KB" for length in LENGTHS]
    heads = ["store", "chains stored", *loads, "load 10 x 40 KB", "store 4 KB", "round trips"]
    print("µs: p50 / p99 (own CPU)\n")
    print("| " + " | ".join(heads) + " |")
    print("| --- " + "| ---: " * (len(heads) - 1) + "|")
    for kind in arguments.stores.split(","):
        async for row in rows(kind, [int(size) for size in arguments.chains.split(",")], arguments.repeat):
            print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
