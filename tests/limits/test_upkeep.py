from __future__ import annotations

import asyncio
import gc
import logging
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from plano.conversation import Usage
from plano.limits.cells import LEASE_SECONDS, RENEW_SECONDS, Cell, Lease, Rate, Verdict
from plano.limits.judge import Judge
from plano.limits.memory import MemoryCounts
from plano.limits.upkeep import Upkeep
from tests.limits.asking import Known, request, rule


class Shared:
    """Counts of a server that takes its time, and notes what it is told."""

    degraded = False

    def __init__(self, *, fails: bool = False) -> None:
        self.calls: list[tuple[str, int]] = []
        self.free = asyncio.Event()
        self._fails = fails

    async def take(self, cells: Sequence[Cell]) -> Verdict:
        return Verdict(None, 0.0, (1.0,) * len(cells), (1.0,) * len(cells))

    async def settle(self, corrections: Sequence[tuple[Cell, float]]) -> None:
        await self._note("settle", corrections)

    async def release(self, leases: Sequence[Lease]) -> None:
        await self._note("release", leases)

    async def renew(self, leases: Sequence[Lease]) -> None:
        await self._note("renew", leases)

    async def aclose(self) -> None: ...

    async def _note(self, verb: str, what: Sequence[Any]) -> None:
        self.calls.append((verb, len(what)))
        await self.free.wait()
        if self._fails:
            raise OSError("gone")


RATE = Rate("k", 10, 60.0, 1.0)


def lease(number: int) -> Lease:
    return Lease("k", 10, str(number))


async def test_what_becomes_due_while_the_server_is_busy_goes_in_one_batch() -> None:
    shared = Shared()
    upkeep = Upkeep(shared, asyncio.get_running_loop())
    upkeep.settle([(RATE, 1.0)])
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    for number in range(5):
        upkeep.settle([(RATE, 1.0)])
        upkeep.release([lease(number)])

    shared.free.set()
    await upkeep.flush()

    assert shared.calls == [("settle", 1), ("release", 5), ("settle", 5)]


async def test_a_server_that_fails_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    shared = Shared(fails=True)
    shared.free.set()
    upkeep = Upkeep(shared, asyncio.get_running_loop())
    for _ in range(2):
        upkeep.settle([(RATE, 1.0)])
        upkeep.release([lease(1)])
        with caplog.at_level(logging.ERROR):
            await upkeep.flush()

    assert shared.calls == [("release", 1), ("settle", 1)] * 2
    assert [record.message for record in caplog.records] == ["limits could not be corrected"] * 4


def test_a_renewal_never_overtakes_a_release() -> None:
    loop, server = Loop(), Shared()

    async def run() -> None:
        upkeep = Upkeep(server, asyncio.get_running_loop())
        upkeep.hold([lease(1), lease(2)])
        upkeep.release([lease(1)])
        await asyncio.sleep(0.02)
        loop.moved += RENEW_SECONDS + 0.01
        await asyncio.sleep(0.02)
        assert server.calls == [("release", 1)]  # it is still on its way
        server.free.set()
        await upkeep.flush()
        assert server.calls == [("release", 1), ("renew", 1)]

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(run())


async def test_a_settlement_may_come_from_another_thread() -> None:
    shared = Shared()
    shared.free.set()
    upkeep = Upkeep(shared, asyncio.get_running_loop())

    thread = threading.Thread(target=upkeep.settle, args=([(RATE, 1.0)],))
    thread.start()
    async with asyncio.timeout(20):
        while not shared.calls:  # noqa: ASYNC110 - it is a thread's doing
            await asyncio.sleep(0.01)
    thread.join()

    assert shared.calls == [("settle", 1)]


def test_a_settlement_after_the_end_of_the_loop_is_left_to_expire() -> None:
    async def begin() -> Upkeep:
        return Upkeep(Shared(), asyncio.get_running_loop())

    upkeep = asyncio.run(begin())

    upkeep.settle([(RATE, 1.0)])
    upkeep.release([lease(1)])

    assert upkeep.busy, "nobody sends it any more"


class Loop(asyncio.SelectorEventLoop):
    """An event loop whose clock a test moves."""

    moved = 0.0

    def time(self) -> float:
        return super().time() + self.moved


@pytest.mark.parametrize("shared", [True, False])
def test_one_timer_renews_all_leases_until_they_are_released(shared: bool) -> None:
    loop, server = Loop(), Shared()
    server.free.set()

    async def run() -> None:
        counts = server if shared else MemoryCounts(loop.time)
        judge = Judge([rule(in_flight=3)], [], counts, Known())
        grants = [await judge.for_request(request()) for _ in range(3)]
        for _ in range(4):
            loop.moved += RENEW_SECONDS + 0.01
            await asyncio.sleep(0.02)
            gc.collect()
        if isinstance(counts, MemoryCounts):
            assert counts.take_now([Lease("rule|*|tenant||60|in_flight|default", 3, "another")]).refused == 0
        for grant in grants:
            await grant.release()
        await judge.flush()
        for _ in range(4):
            loop.moved += LEASE_SECONDS
            await asyncio.sleep(0.02)
        if isinstance(counts, MemoryCounts):
            assert counts.take_now([Lease("rule|*|tenant||60|in_flight|default", 3, "another")]).left == (2.0,)

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(run())
    if shared:
        assert server.calls[:4] == [("renew", 3)] * 4
        assert sum(number for verb, number in server.calls if verb == "release") == 3
        assert len([verb for verb, _ in server.calls if verb == "renew"]) == 4


async def test_grants_over_shared_counts_are_settled_and_released_once() -> None:
    shared = Shared()
    shared.free.set()
    judge = Judge([rule(requests=9, tokens=900, in_flight=3)], [], shared, Known())
    grant = await judge.for_request(request())
    for _ in range(3):
        await grant.release()
        grant.settle(Usage(input_tokens=1, output_tokens=1))

    await judge.flush()

    assert sorted(shared.calls) == [("release", 1), ("settle", 1)]
