"""Counts in Redis decide as those in memory do, in one round trip, whatever runs at the same time."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from plano.limits.cells import LEASE_SECONDS, Cell, Counts, Lease, Rate, Sum, Verdict
from plano.limits.memory import MemoryCounts
from plano.limits.redis import RedisCounts
from plano.redis_client import connect
from tests.limits.redis_servers import empty
from tests.servers import Proxy, Redis, RedisCluster

BEGIN = float(2**30)
"""A time at which binary fractions of a second are exact."""


class Clock:
    def __init__(self) -> None:
        self.now = BEGIN

    def __call__(self) -> float:
        return self.now


Open: TypeAlias = Callable[[], RedisCounts]


@asynccontextmanager
async def counting(server: Redis | RedisCluster, clock: Clock | None) -> AsyncIterator[RedisCounts]:
    counts = RedisCounts(connect(server.url, key="shared_state.url", timeout=10.0), clock=clock)
    yield counts
    await counts.aclose()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["memory", "redis", "cluster"])
async def counts(request: pytest.FixtureRequest, clock: Clock) -> AsyncIterator[Counts]:
    if request.param == "memory":
        yield MemoryCounts(clock)
        return
    server = request.getfixturevalue(f"redis_{request.param if request.param == 'cluster' else 'server'}")
    empty(server)
    async with counting(server, clock) as found:
        yield found


def rate(cost: float = 1.0, *, limit: float = 10.0, period: float = 60.0, key: str = "r") -> Rate:
    return Rate(key, limit, period, cost)


def lease(holder: str, *, limit: int = 2, key: str = "l") -> Lease:
    return Lease(key, limit, holder)


def month(cost: float, *, limit: float = 10.0, key: str = "m", ends: float = 1000.0) -> Sum:
    return Sum(key, limit, cost, BEGIN + ends, None)


def rolling(cost: float, *, limit: float = 10.0, key: str = "s", period: float = 60.0) -> Sum:
    return Sum(key, limit, cost, None, period)


TABLE: dict[str, list[tuple[Any, ...]]] = {
    "a bucket at rest gives all at once, and then one by one": [
        *[("take", [rate()], None)] * 10,
        ("take", [rate()], 0, 6.0),
        ("wait", 6.0),
        ("take", [rate()], None),
        ("take", [rate()], 0, 6.0),
    ],
    "more than a bucket holds is taken when it is full, and debt follows": [
        ("take", [rate(25.0)], None),
        ("take", [rate(1.0)], 0, 96.0),
        ("take", [rate(25.0)], 0, 150.0),
        ("wait", 150.0),
        ("take", [rate(25.0)], None),
    ],
    "less than reserved is given back, more is taken": [
        ("take", [rate(8.0)], None),
        ("settle", [(rate(8.0), -6.0)]),
        ("take", [rate(8.0)], None),
        ("settle", [(rate(8.0), 5.0)]),
        ("take", [rate(1.0)], 0, 36.0),
    ],
    "a full bucket that gets something back holds no more": [
        ("settle", [(rate(8.0), -8.0)]),
        ("take", [rate(10.0)], None),
        ("take", [rate(1.0)], 0, 6.0),
    ],
    "a refusal takes nothing": [
        ("take", [rate(9.0)], None),
        ("take", [rate(2.0, key="other"), lease("a"), month(5.0), rolling(5.0), rate(2.0)], 4, 6.0),
        ("take", [rate(10.0, key="other")], None),
        ("take", [lease("b"), lease("c", key="l2")], None),
        ("take", [month(10.0), rolling(10.0)], None),
    ],
    "a refusal tells the longest wait": [
        ("take", [rate(10.0), rate(10.0, period=600.0, key="slow")], None),
        ("take", [rate(), rate(key="slow", period=600.0)], 0, 60.0),
    ],
    "places are taken, given back, and free when nobody renews them": [
        ("take", [lease("a")], None),
        ("take", [lease("b")], None),
        ("take", [lease("c")], 0, 1.0),
        ("release", [lease("a")]),
        ("take", [lease("c")], None),
        ("wait", 10.0),
        ("renew", [lease("c")]),
        ("wait", LEASE_SECONDS - 10.0),
        ("take", [lease("d")], None),
        ("take", [lease("e")], 0, 1.0),
        ("wait", 9.5),
        ("take", [lease("e")], 0, 0.5),
    ],
    "a place that was forgotten is held again by whom it is renewed": [
        ("renew", [lease("a"), lease("b")]),
        ("take", [lease("c")], 0, 1.0),
    ],
    "a budget that is reserved is not spent": [
        ("take", [month(6.0)], None),
        ("take", [month(6.0)], "reserved", 2.0),
        ("settle", [(month(6.0), -5.0)]),
        ("take", [month(6.0)], None),
        ("settle", [(month(6.0), 3.0)]),
        ("take", [month(6.0)], 0, 1000.0),
    ],
    "the last of a budget is given to one request that may cost more": [
        ("take", [month(9.0)], None),
        ("settle", [(month(9.0), 0.0)]),
        ("take", [month(5.0)], None),
        ("take", [month(0.5)], "reserved", 2.0),
        ("settle", [(month(5.0), 0.0)]),
        ("take", [month(0.5)], 0, 1000.0),
    ],
    "what a rolling period spent comes back part by part": [
        ("take", [rolling(6.0)], None),
        ("settle", [(rolling(6.0), 0.0)]),
        ("wait", 30.0),
        ("take", [rolling(4.0)], None),
        ("settle", [(rolling(4.0), 1.0)]),
        ("take", [rolling(1.0)], 0, 31.0 - (BEGIN % 1.0)),
        ("wait", 31.0),
        ("take", [rolling(5.0)], None),
        ("settle", [(rolling(5.0), 0.0)]),
        ("take", [rolling(1.0)], 0, 30.0),
    ],
    "a settlement of what nobody took is spent all the same": [
        ("settle", [(month(0.0), 10.0)]),
        ("take", [month(1.0)], 0, 1000.0),
    ],
}


@pytest.mark.parametrize("steps", TABLE.values(), ids=TABLE)
async def test_counts_decide_alike(counts: Counts, clock: Clock, steps: list[tuple[Any, ...]]) -> None:
    for number, (verb, given_, *expected) in enumerate(steps):
        if verb == "wait":
            clock.now += given_
        elif verb != "take":
            await getattr(counts, verb)(given_)
        else:
            verdict = await counts.take(given_)
            refused, wait = expected[0], expected[1] if expected[1:] else 0.0
            found = "reserved" if verdict.reserved else verdict.refused
            assert (found, verdict.retry_after) == (refused, pytest.approx(wait, abs=1e-3)), f"step {number}"


async def test_a_verdict_says_what_is_left_and_when_it_is_full(counts: Counts, clock: Clock) -> None:
    cells = [rate(4.0), lease("a"), month(3.0), rolling(2.0)]
    assert await counts.take(cells) == Verdict(None, 0.0, (6.0, 1.0, 7.0, 8.0), (24.0, LEASE_SECONDS, 1000.0, 0.0))
    await counts.settle([(rate(4.0), 1.0), (month(3.0), -1.0), (rolling(2.0), -1.0)])
    clock.now += 6.0
    verdict = await counts.take([rate(7.0), month(1.0)])
    assert verdict == Verdict(0, 6.0, (6.0, 8.0), (24.0, 994.0))


KEYS = st.sampled_from(["a", "b"])
COSTS = st.integers(0, 24).map(lambda number: number / 4)


@st.composite
def cells(draw: st.DrawFn) -> list[Cell]:
    found: dict[str, Cell] = {}
    for _ in range(draw(st.integers(1, 3))):
        kind, key, cost = draw(st.sampled_from("rlms")), draw(KEYS), draw(COSTS)
        found[kind + key] = {
            "r": Rate("r" + key, 4.0, 16.0 if key == "a" else 2.0, cost),
            "l": Lease("l" + key, 2, f"holder {draw(st.integers(0, 10_000))}"),
            "m": Sum("m" + key, 8.0, cost, BEGIN + 512.0, None),
            "s": Sum("s" + key, 8.0, cost, None, 60.0),
        }[kind]
    return list(found.values())


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("take"), cells()),
        st.tuples(st.just("settle"), st.tuples(st.integers(0, 30), st.integers(-24, 8).map(lambda number: number / 4))),
        st.tuples(st.just("release"), st.integers(0, 30)),
        st.tuples(st.just("renew"), st.just(0)),
        st.tuples(st.just("wait"), st.integers(0, 80).map(lambda number: number / 4)),
    ),
    min_size=1,
    max_size=40,
)


class Story:
    """Plays one list of steps on counts, as requests would: what was taken is settled once."""

    def __init__(self, counts: Counts, clock: Clock) -> None:
        self._counts = counts
        self._clock = clock
        self._taken: list[Rate | Sum] = []
        self._leases: list[Lease] = []

    async def play(self, steps: Sequence[tuple[str, Any]]) -> list[Verdict]:
        return [verdict for verb, given_ in steps if (verdict := await getattr(self, verb)(given_)) is not None]

    async def take(self, asked: list[Cell]) -> Verdict:
        verdict = await self._counts.take(asked)
        if verdict.refused is None:
            self._taken += [cell for cell in asked if not isinstance(cell, Lease)]
            self._leases += [cell for cell in asked if isinstance(cell, Lease)]
        return verdict

    async def settle(self, which: tuple[int, float]) -> None:
        if self._taken:
            cell = self._taken.pop(which[0] % len(self._taken))
            await self._counts.settle([(cell, max(which[1], -cell.cost))])

    async def release(self, which: int) -> None:
        if self._leases:
            await self._counts.release([self._leases.pop(which % len(self._leases))])

    async def renew(self, _: int) -> None:
        await self._counts.renew(self._leases)

    async def wait(self, seconds: float) -> None:
        self._clock.now += seconds


@settings(max_examples=150)
@given(steps=STEPS)
def test_any_story_ends_alike_in_memory_and_in_redis(redis_server: Redis, steps: list[tuple[str, Any]]) -> None:
    async def both() -> tuple[list[Verdict], list[Verdict]]:
        clock = Clock()
        remembered = await Story(MemoryCounts(clock), clock).play(steps)
        empty(redis_server)
        clock = Clock()
        async with counting(redis_server, clock) as counts:
            return remembered, await Story(counts, clock).play(steps)

    for remembered, shared in zip(*asyncio.run(both()), strict=True):
        assert (shared.refused, shared.reserved) == (remembered.refused, remembered.reserved)
        assert shared.retry_after == pytest.approx(remembered.retry_after, abs=1e-6)
        assert shared.left == pytest.approx(remembered.left, abs=1e-6)
        assert shared.reset == pytest.approx(remembered.reset, abs=1e-6)


@pytest.mark.parametrize("limit", [7, 43, 997])
@pytest.mark.parametrize("period", [1.0, 60.0])
async def test_exactly_the_limit_is_taken_at_once(redis_server: Redis, limit: int, period: float) -> None:
    clock = Clock()
    clock.now = 1_780_000_000.123456
    empty(redis_server)
    async with counting(redis_server, clock) as found:
        asked = await asyncio.gather(*(found.take([rate(limit=limit, period=period)]) for _ in range(limit + 5)))
    assert [verdict.refused for verdict in asked].count(None) == limit


async def test_ten_minutes_of_a_limit_are_exact_to_one_request(redis_server: Redis) -> None:
    clock = Clock()
    empty(redis_server)
    async with counting(redis_server, clock) as found:
        admitted = 0
        for _ in range(3 * 600):
            admitted += (await found.take([rate(limit=60.0)])).refused is None
            clock.now += 0.333333
    assert abs(admitted - 60 - 3 * 600 * 0.333333) <= 1


async def test_a_decision_a_settlement_and_a_release_are_one_round_trip_each(redis_server: Redis) -> None:
    empty(redis_server)
    asked: list[Cell] = [rate(), lease("a"), month(1.0), rolling(1.0)]
    leases = [lease("a"), lease("b", key="other")]
    async with Proxy(redis_server.port) as proxy:
        found = RedisCounts(connect(f"redis://127.0.0.1:{proxy.port}/0", key="url", timeout=10.0))
        steps: list[Callable[[], Any]] = [
            lambda: found.take(asked),
            lambda: found.settle([(rate(), 1.0), (month(1.0), 1.0), (rolling(1.0), 0.0)]),
            lambda: found.renew(leases),
            lambda: found.release(leases),
        ]
        trips = []
        for step in steps:
            await step()  # the server learns the script
            before = proxy.trips
            await step()
            trips.append(proxy.trips - before)
        await found.aclose()
    assert trips == [1, 1, 1, 1]


async def test_a_server_that_forgot_its_scripts_or_may_not_be_told_them_goes_on(redis_server: Redis) -> None:
    empty(redis_server)
    async with counting(redis_server, Clock()) as found:
        assert (await found.take([rate()])).left == (9.0,)
        redis_server.command("SCRIPT", "FLUSH")
        redis_server.command("ACL", "SETUSER", "default", "-script")
        try:
            assert (await found.take([rate()])).left == (8.0,)
        finally:
            redis_server.command("ACL", "SETUSER", "default", "+script")


async def test_every_key_expires_by_itself_and_lies_in_one_slot(redis_server: Redis) -> None:
    empty(redis_server)
    async with counting(redis_server, None) as found:
        now = time.time()
        budget = Sum("m", 10.0, 1.0, now + 100.0, None)
        await found.take([rate(), lease("a"), budget, rolling(1.0)])
        await found.settle([(budget, 0.0), (rolling(1.0), 0.0)])
        await found.renew([lease("a", key="renewed")])
    with redis.Redis(port=redis_server.port, decode_responses=True) as client:
        left = {key: client.pttl(key) / 1000 for key in client.scan_iter()}
    assert len(left) == 6
    assert all("{limits}" in key for key in left)
    periods = {"r": 6.0, "l": LEASE_SECONDS, "m": 100.0, "s": 61.0, "renewed": LEASE_SECONDS}
    assert all(period < left[f"plano:{{limits}}:count:{key}"] + 5.0 for key, period in periods.items())
    assert max(left.values()) <= 86_400.0 + 10.0


async def test_a_reservation_that_nobody_settles_is_dropped_an_hour_later(redis_server: Redis) -> None:
    clock = Clock()
    empty(redis_server)
    async with counting(redis_server, clock) as found:
        asked = month(8.0, ends=100_000.0)
        await found.take([asked])
        clock.now += 3600.0
        assert (await found.take([asked])).reserved
        clock.now += 3600.0
        assert (await found.take([asked])).refused is None


async def test_a_batch_that_is_told_twice_counts_once(redis_server: Redis) -> None:
    empty(redis_server)
    async with counting(redis_server, Clock()) as found:
        batch = found.batch([(month(1.0), 2.0)])
        for _ in range(2):
            await found.tell(batch)
        assert (await found.take([month(0.0)])).left == (7.0,)


async def test_a_place_that_is_given_back_while_it_is_renewed_is_free(redis_server: Redis) -> None:
    empty(redis_server)
    async with counting(redis_server, Clock()) as found:
        for _ in range(20):
            held = [lease(f"holder {number}", limit=10) for number in range(10)]
            await found.take(held[:1])
            await asyncio.gather(found.renew(held), found.release(held))
            assert (await found.take([lease("new", limit=1)])).refused is None
            await found.release([lease("new")])


PROCESS = """
import asyncio, sys
from plano.limits.cells import Lease, Rate
from plano.limits.redis import RedisCounts
from plano.limits.shared import SharedCounts
from plano.redis_client import connect

async def main():
    client = connect(sys.argv[1], key="shared_state.url", timeout=30.0)
    counts = SharedCounts(RedisCounts(client), "closed", deadline=30.0)
    await counts.take([Rate("warm", 100.0, 60.0, 1.0)])
    print("ready", flush=True)
    sys.stdin.readline()
    cells = [Rate("requests", 10.0, 86_400.0, 1.0), Lease("places", 100, sys.argv[2])]
    verdicts = await asyncio.gather(*(counts.take(cells) for _ in range(50)))
    print(sum(verdict.refused is None for verdict in verdicts), flush=True)
    sys.stdin.readline()

asyncio.run(main())
"""


async def test_two_processes_let_ten_of_a_hundred_through_and_a_killed_ones_places_are_free_later(
    redis_server: Redis,
) -> None:
    empty(redis_server)
    command = [sys.executable, "-c", PROCESS, redis_server.url]
    pipes: Any = {"stdin": asyncio.subprocess.PIPE, "stdout": asyncio.subprocess.PIPE}
    processes = [await asyncio.create_subprocess_exec(*command, f"holder {number}", **pipes) for number in range(2)]
    try:
        for process in processes:
            assert await process.stdout.readline() == b"ready\n"  # type: ignore[union-attr]
        for process in processes:
            process.stdin.write(b"\n")  # type: ignore[union-attr]
        admitted = [int(await process.stdout.readline()) for process in processes]  # type: ignore[union-attr]
    finally:
        for process in processes:
            process.kill()
            await process.wait()
    assert sum(admitted) == 10
    clock = Clock()
    clock.now = time.time()
    async with counting(redis_server, clock) as found:
        held = sum(1 for each in admitted if each)
        assert (await found.take([lease("new", limit=held, key="places")])).refused == 0
        clock.now += LEASE_SECONDS
        assert (await found.take([lease("new", limit=held, key="places")])).refused is None
