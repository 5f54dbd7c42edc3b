"""Places: who has one, who waits, who is sent away, and that all are free at the end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plano.limits.admission import EntrySlots, Slots, busy
from plano.provider import Target
from plano.providers import CATALOGUE
from plano.runtime.clock import Clock

LONG = 20.0
"""Seconds that no test waits for."""


class Crowd:
    """Tasks that wait for a place, and have it until they are told to leave."""

    def __init__(self, slots: Slots, *, wait: float = LONG) -> None:
        self.slots = slots
        self.wait = wait
        self.got: list[str] = []
        self.refused: list[str] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def come(self, *names: str) -> None:
        """Everybody comes, one after another; the letter of a name is its tenant."""
        for name in names:
            self.tasks[name] = asyncio.create_task(self._wait(name))
            await settle()

    async def _wait(self, name: str) -> None:
        deadline = self.slots.now() + self.wait
        (self.got if await self.slots.wait(deadline, name[0]) else self.refused).append(name)

    async def go(self, *names: str) -> None:
        """Those who have a place give it back; those who wait for one leave."""
        for name in names:
            if name in self.got:
                self.slots.release(name[0])
            else:
                self.tasks[name].cancel()
            await settle()


async def settle() -> None:
    for _ in range(4):
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("most", "queue", "share", "come", "go", "got", "refused"),
    [
        (2, 0, None, "a1 a2 a3", "", "a1 a2", "a3"),
        (2, 0, None, "a1 a2", "a1 a2", "a1 a2", ""),
        (1, 2, None, "a1 a2 a3 a4", "", "a1", "a4"),
        (1, 2, None, "a1 a2 b3", "a1 a2", "a1 a2 b3", ""),
        (1, 2, None, "a1 a2 a3", "a2 a1", "a1 a3", ""),
        (1, 2, None, "a1 b2 a3 a4", "a1 b2", "a1 b2 a3", "a4"),
        (None, 9, 1, "a1 a2 b1", "", "a1 b1", ""),
        (None, 9, 1, "a1 a2 b1", "b1", "a1 b1", ""),
        (None, 9, 1, "a1 a2 b1", "a1", "a1 b1 a2", ""),
        (2, 9, 1, "a1 a2 b1 c1", "b1", "a1 b1 c1", ""),
        (2, 9, 1, "a1 a2 b1 c1 a3", "b1 a1 a2", "a1 b1 c1 a2 a3", ""),
        (3, 3, 2, "a1 a2 a3 b1 b2 c1", "b1 a1", "a1 a2 b1 b2 a3", ""),
        # A full queue: the last of the tenant that fills it makes room, unless that would only change places.
        (1, 2, 1, "a1 a2 a3 b1", "a1 a2", "a1 a2 b1", "a3"),
        (1, 2, 1, "a1 a2 b1 c1", "a1 a2", "a1 a2 b1", "c1"),
        (1, 2, 1, "a1 a2 a3 a4", "a1 a2", "a1 a2 a3", "a4"),
        (0, 1, None, "a1 a2", "", "", "a2"),
    ],
)
async def test_places_go_to_those_who_may_have_one_in_turn(
    most: int | None, queue: int, share: int | None, come: str, go: str, got: str, refused: str
) -> None:
    crowd = Crowd(Slots(most, queue=queue, share=share))

    await crowd.come(*come.split())
    await crowd.go(*go.split())

    assert crowd.got == got.split()
    assert crowd.refused == refused.split()
    assert crowd.slots.in_flight == len(crowd.got) - sum(name in crowd.got for name in go.split())
    assert crowd.slots.waiting == sum(not task.done() for task in crowd.tasks.values())
    for task in crowd.tasks.values():
        task.cancel()


async def test_of_fifty_at_once_ten_pass_and_the_rest_is_told_at_once() -> None:
    slots = Slots(10)
    assert sum(slots.try_take() for _ in range(50)) == 10
    assert await asyncio.gather(*(slots.wait(slots.now() + LONG) for _ in range(50))) == [False] * 50
    for _ in range(10):
        slots.release()
    assert (slots.in_flight, slots._held) == (0, {})


@pytest.mark.parametrize("late", [0.0, 5.0])
async def test_nobody_waits_whose_deadline_has_passed(late: float) -> None:
    slots = Slots(0, queue=5, clock=Clock(lambda: 100.0))
    assert not await slots.wait(100.0 - late)
    assert (slots.waiting, slots._queues) == (0, {})


async def test_a_wait_ends_at_its_deadline() -> None:
    slots = Slots(1, queue=5)
    assert slots.try_take()
    assert not await slots.wait(slots.now() + 0.01)
    assert (slots.in_flight, slots.waiting, slots._queues) == (1, 0, {})


@pytest.mark.parametrize("moment", ["while it waits", "with the place on its way", "with the place in its hand"])
async def test_a_wait_that_is_cancelled_gives_its_place_back(moment: str) -> None:
    slots = Slots(1, queue=5)
    assert slots.try_take()
    task = asyncio.create_task(slots.wait(slots.now() + LONG))
    await settle()
    if moment != "while it waits":
        slots.release()
        assert slots.in_flight == 1, "the place goes from hand to hand"
    if moment == "with the place in its hand":
        asyncio.get_running_loop().call_soon(task.cancel)  # after the place was told, before the task runs
    else:
        task.cancel()
    await settle()
    assert task.cancelled()
    if moment == "while it waits":
        slots.release()
    assert (slots.in_flight, slots.waiting, slots._held, slots._queues) == (0, 0, {}, {})


async def test_other_limits_let_those_in_who_wait_and_put_nobody_out() -> None:
    crowd = Crowd(Slots(1, queue=9))
    await crowd.come("a1", "a2", "a3")
    crowd.slots.resize(2, queue=9)
    await settle()
    assert crowd.got == ["a1", "a2"]
    crowd.slots.resize(1, queue=0)
    await crowd.go("a1")
    assert (crowd.got, crowd.slots.in_flight) == (["a1", "a2"], 1)
    crowd.slots.resize(None)
    await settle()
    assert crowd.got == ["a1", "a2", "a3"]


STEPS = st.lists(st.tuples(st.sampled_from(["come", "go", "leave", "resize"]), st.integers(0, 30)), max_size=40)


@given(most=st.integers(1, 4), queue=st.integers(0, 4), share=st.none() | st.integers(1, 3), steps=STEPS)
def test_whatever_happens_no_place_is_lost_or_given_twice(
    most: int, queue: int, share: int | None, steps: list[tuple[str, int]]
) -> None:
    asyncio.run(_whatever_happens(most, queue, share, steps))


async def _whatever_happens(most: int, queue: int, share: int | None, steps: list[tuple[str, int]]) -> None:
    crowd = Crowd(Slots(most, queue=queue, share=share))
    slots, held = crowd.slots, []
    for number, (what, choice) in enumerate(steps):
        before = len(crowd.got)
        if what == "come":
            await crowd.come(f"{'abc'[choice % 3]}{number}")
        elif what == "go" and held:
            await crowd.go(held.pop(choice % len(held)))
        elif what == "leave" and (waiting := [name for name, task in crowd.tasks.items() if not task.done()]):
            await crowd.go(waiting[choice % len(waiting)])
        elif what == "resize":
            most = 1 + choice % 4
            slots.resize(most, queue=queue, share=share)
            await settle()
        held += crowd.got[before:]
        waits = [name for name, task in crowd.tasks.items() if not task.done()]
        full = {name[0] for name in held if share and sum(other[0] == name[0] for other in held) >= share}
        assert slots.in_flight == len(held)
        assert len(crowd.got) == before or len(held) <= most
        assert slots.waiting == len(waits) <= queue
        assert len(held) >= most or all(name[0] in full for name in waits), "somebody waits beside a free place"
        if share:
            assert all(sum(name[0] == tenant for name in held) <= share for tenant in "abc")
    for name in [*held, *(name for name, task in crowd.tasks.items() if not task.done())]:
        await crowd.go(name)
    while slots.in_flight:  # places that those who left handed on
        held = [name for name in crowd.got if name not in held]
        await crowd.go(*held)
    assert (slots.waiting, slots._held, slots._queues) == (0, {}, {})


def test_a_place_goes_to_another_threads_event_loop() -> None:
    slots, waits, got = Slots(1, queue=1), threading.Event(), []
    assert slots.try_take()

    async def wait() -> None:
        asyncio.get_running_loop().call_soon(waits.set)
        got.append(await slots.wait(slots.now() + LONG))

    thread = threading.Thread(target=lambda: asyncio.run(wait()))
    thread.start()
    assert waits.wait(LONG)
    slots.release()
    thread.join(LONG)
    assert (got, slots.in_flight) == ([True], 1)


def test_a_place_goes_past_those_whose_event_loop_is_closed() -> None:
    slots = Slots(1, queue=2)
    loop = asyncio.new_event_loop()
    lost = loop.create_task(slots.wait(slots.now() + LONG))
    assert slots.try_take()
    loop.run_until_complete(settle())
    assert slots.waiting == 1
    loop.close()
    slots.release()
    assert (slots.in_flight, slots.waiting) == (0, 0)
    lost._log_destroy_pending = False  # type: ignore[attr-defined]
    lost.get_coro().close()  # type: ignore[union-attr]


@pytest.mark.parametrize(("drawn", "seconds"), [(0.0, 1), (0.34, 2), (0.5, 2), (0.7, 3), (0.999, 3)])
def test_refused_clients_come_back_at_different_times(drawn: float, seconds: int) -> None:
    draw: Callable[[], float] = lambda: drawn  # noqa: E731
    assert busy(draw).retry_after == seconds


def test_the_places_of_an_entry_are_for_all_its_keys_and_models() -> None:
    def at(entry: str, most: int | None, *, model: str = "m", place: str = "") -> Target:
        row: dict[str, Any] = {"provider": CATALOGUE["openai"], "dialects": ("chat",), "endpoints": {}}
        return Target(**row, model=model, name=f"openai/{model}", entry=entry, max_in_flight=most, place=place)

    entries = EntrySlots(queue=3)
    assert entries.of(at("one", None)) is None
    found = entries.of(at("one", 2))
    assert found is not None
    assert entries.of(at("one", 2, place="one#1", model="other")) is found
    assert entries.of(at("two", 2)) is not found
    assert (found.most, found.queue) == (2, 3)
    assert found.try_take()
    assert entries.of(at("one", 5)) is found
    assert (found.most, found.in_flight) == (5, 1)
