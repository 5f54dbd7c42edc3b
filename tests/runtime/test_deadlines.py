"""One timer goes over all deadlines of an event loop, as long as there are any."""

from __future__ import annotations

import asyncio
from math import inf
from time import perf_counter

from plano.edge.body import Watch
from plano.runtime.deadlines import deadlines_of
from tests.asgi import Exchange
from tests.server.wire import until


class Item:
    """Notes that its deadline has passed. `then` is the next one."""

    def __init__(self, due: float, then: float = inf) -> None:
        self.due = due
        self.then = then
        self.told: list[float] = []

    def overdue(self) -> None:
        self.told.append(self.due)
        self.due, self.then = self.then, inf


async def test_a_deadline_that_has_passed_is_told_once() -> None:
    deadlines = deadlines_of(asyncio.get_running_loop())
    late, early, never = Item(perf_counter()), Item(perf_counter() + 1000), Item(inf)
    for each in (late, early, never):
        deadlines.add(each)
    other = Item(perf_counter() + 0.001, then=perf_counter())  # its second deadline is for a later round
    deadlines.add(other)
    await until(lambda: len(other.told) == 2)
    assert late.told == [inf]
    assert (early.told, never.told) == ([], [])
    for each in (late, early, never, other):
        deadlines.watched.discard(each)
    await until(lambda: not deadlines.running)


async def test_a_deadline_that_another_one_puts_off_is_not_told() -> None:
    deadlines = deadlines_of(asyncio.get_running_loop())
    rivals: list[Rival] = []

    class Rival(Item):
        def overdue(self) -> None:
            super().overdue()
            for other in rivals:
                other.due = inf

    rivals += [Rival(perf_counter()), Rival(perf_counter())]
    for each in rivals:
        deadlines.add(each)
    await until(lambda: any(each.told for each in rivals))
    assert sum(len(each.told) for each in rivals) == 1
    deadlines.watched.clear()


async def test_rounds_end_with_the_last_deadline_and_begin_again() -> None:
    deadlines = deadlines_of(asyncio.get_running_loop())
    for _ in range(2):
        before = len(asyncio.all_tasks())
        watch = Watch(Exchange().receive, perf_counter() + 1000)
        assert deadlines.running
        watch.unwatch()
        await until(lambda: not deadlines.running)
        assert len(asyncio.all_tasks()) == before
