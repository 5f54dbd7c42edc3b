"""The clock that tests move: what passes by itself, in which order, and what a test lets pass."""

from __future__ import annotations

import asyncio
import threading

import pytest

from plano.runtime.clock import done_within
from plano.testing import FakeClock


async def test_a_sleep_takes_its_time_on_the_clock_alone() -> None:
    clock = FakeClock(1_000.0)
    await asyncio.wait_for(clock.sleep(3600), 20)
    assert (clock.now(), clock.wall()) == (3600.0, 4600.0)


async def test_sleeps_end_in_their_order() -> None:
    clock, ended = FakeClock(), []

    async def sleeps(*seconds: float) -> None:
        for each in seconds:
            await clock.sleep(each)
            ended.append((each, clock.now()))

    await asyncio.wait_for(asyncio.gather(sleeps(30), sleeps(2, 3, 30), sleeps(10), sleeps(10)), 20)
    assert ended == [(2, 2), (3, 5), (10, 10), (10, 10), (30, 30), (30, 35)]


@pytest.mark.parametrize(("limit", "seconds", "late"), [(5, 30, True), (30, 30, True), (31, 30, False)])
async def test_a_limit_of_time_ends_what_takes_longer(limit: float, seconds: float, late: bool) -> None:
    clock, was_late = FakeClock(), False
    try:
        async with clock.timeout(limit):
            await clock.sleep(seconds)
    except TimeoutError:
        was_late = True
    assert (was_late, clock.now()) == (late, min(limit, seconds))
    await clock.sleep(100)  # the limit is over


async def test_nothing_passes_by_itself_where_nobody_sleeps() -> None:
    clock = FakeClock()
    task = asyncio.ensure_future(asyncio.Event().wait())
    waiting = asyncio.ensure_future(done_within(clock, 5, {task}))
    for _ in range(300):
        await asyncio.sleep(0)
    assert (clock.now(), waiting.done()) == (0.0, False)
    clock.advance(5)
    assert await asyncio.wait_for(waiting, 20) == set()
    task.cancel()


async def test_what_is_done_in_time_is_returned() -> None:
    clock = FakeClock()
    late, soon = (asyncio.ensure_future(clock.sleep(seconds)) for seconds in (50, 5))
    assert await asyncio.wait_for(done_within(clock, 10, {late, soon}), 20) == {soon}
    assert not late.cancelled()
    await late


async def test_a_call_comes_at_its_time_unless_it_is_cancelled() -> None:
    clock, called = FakeClock(), []
    clock.call_later(5, called.append, "5")
    clock.call_later(6, called.append, "6").cancel()
    fired = clock.call_later(5, called.append, "cancelled when it was due")
    clock.advance(7)
    fired.cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert called == ["5"]


async def test_a_sleep_that_is_cancelled_moves_nothing() -> None:
    clock = FakeClock()
    sleeping = asyncio.ensure_future(clock.sleep(50))
    await asyncio.sleep(0)
    sleeping.cancel()
    await asyncio.wait({sleeping}, timeout=20)
    await clock.sleep(1)
    assert clock.now() == 1.0


def test_another_thread_may_let_time_pass() -> None:
    clock, waits, over = FakeClock(), threading.Event(), threading.Event()

    async def wait() -> None:
        try:
            async with clock.timeout(60):
                waits.set()
                await asyncio.Event().wait()
        except TimeoutError:
            over.set()

    thread = threading.Thread(target=lambda: asyncio.run(wait()))
    thread.start()
    assert waits.wait(20)
    clock.advance(60)
    thread.join(20)
    assert over.is_set()


def test_an_event_loop_that_is_closed_is_left_alone() -> None:
    clock, called = FakeClock(), []

    async def call_later() -> None:
        clock.call_later(5, called.append, 1)

    asyncio.run(call_later())
    clock.advance(10)
    assert (called, clock.now()) == ([], 10.0)
