from __future__ import annotations

import asyncio
import time

import pytest

from plano.limits import memory
from plano.limits.cells import Cell, Counts, Lease, Rate, Sum
from plano.limits.memory import CLIENT_MADE, MemoryCounts
from tests.limits.clock import START, Clock


def counts_of(clock: Clock) -> tuple[Counts, MemoryCounts]:
    counts = MemoryCounts(clock)
    return counts, counts


@pytest.mark.parametrize(
    "cell",
    [Rate("k", 10, 60.0, 1.0), Rate("k", 1000, 60.0, 100.0), Sum("k", 10.0, 1.0, START + 9, None)],
    ids=["requests", "tokens", "budget"],
)
async def test_fifty_at_once_against_room_for_ten_let_ten_through(cell: Cell) -> None:
    counts, _ = counts_of(Clock())

    verdicts = await asyncio.gather(*(counts.take([cell]) for _ in range(50)))

    assert [verdict.refused for verdict in verdicts].count(None) == 10


async def test_fifty_at_once_against_ten_places_let_ten_through() -> None:
    counts, _ = counts_of(Clock())

    verdicts = await asyncio.gather(*(counts.take([Lease("k", 10, str(number))]) for number in range(50)))

    assert [verdict.refused for verdict in verdicts].count(None) == 10


FULL: list[Cell] = [
    Rate("full", 5, 60.0, 5.0),
    Lease("full", 1, "another"),
    Sum("full", 5.0, 5.0, START + 9, None),
    Sum("full", 5.0, 5.0, None, 60.0),
]


@pytest.mark.parametrize("full", FULL)
@pytest.mark.parametrize("first", [True, False])
async def test_a_refusal_takes_nothing(full: Cell, first: bool) -> None:
    counts, _ = counts_of(Clock())
    free: list[Cell] = [
        Rate("requests", 10, 60.0, 1.0),
        Lease("places", 10, "me"),
        Sum("budget", 10.0, 1.0, START + 9, None),
    ]
    await counts.take([full])

    asked = Lease("full", 1, "me") if isinstance(full, Lease) else full
    verdict = await counts.take([asked, *free] if first else [*free, asked])

    assert verdict.refused == (0 if first else 3)
    assert (await counts.take(free)).left == (9.0, 9.0, 9.0)


async def test_the_first_cell_that_refuses_is_named_and_the_wait_is_that_of_all() -> None:
    counts, _ = counts_of(Clock())
    cells = [Rate("free", 9, 60.0, 1.0), Rate("short", 1, 10.0, 1.0), Rate("long", 1, 60.0, 1.0)]
    await counts.take(cells)

    verdict = await counts.take(cells)

    assert (verdict.refused, verdict.retry_after, verdict.reserved) == (1, 60.0, False)
    assert verdict.left == pytest.approx((8.0, 0.0, 0.0))
    assert verdict.reset == pytest.approx((60 / 9, 10.0, 60.0), abs=1e-3)


async def test_other_verbs_reach_the_counts_too() -> None:
    counts, _ = counts_of(Clock())
    held, rate = Lease("k", 1, "a"), Rate("r", 10, 60.0, 10.0)
    await counts.take([held, rate])
    await counts.renew([held])
    await counts.release([held])
    await counts.settle([(rate, -10.0)])
    await counts.aclose()

    assert (await counts.take([held, rate])).refused is None
    assert not counts.degraded


def test_counts_that_are_full_again_are_forgotten() -> None:
    clock = Clock()
    counts = MemoryCounts(clock)
    for number in range(5000):
        counts.take_now([Rate(f"{CLIENT_MADE}{number}", 10, 60.0, 1.0)])
        clock.advance(0.1)  # one is full again after 6 seconds, so that sixty are in use

    assert len(counts) < 150


def test_invented_subjects_are_bounded_and_push_out_no_count_of_a_tenant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "MOST_KEYS", 100)
    counts = MemoryCounts(Clock())
    mine = Rate("tenant", 1, 3600.0, 1.0)
    counts.take_now([mine])
    for number in range(1000):
        counts.take_now([Rate(f"{CLIENT_MADE}{number}", 1, 3600.0, 1.0)])

    assert len(counts) == 101
    assert counts.take_now([mine]).refused == 0


def test_a_settlement_of_a_forgotten_count_is_charged() -> None:
    counts = MemoryCounts(Clock())

    counts.settle_now([(Rate("rate", 10, 60.0, 4.0), 3.0), (Sum("sum", 10.0, 4.0, START + 9, None), 3.0)])

    verdict = counts.take_now([Rate("rate", 10, 60.0, 1.0), Sum("sum", 10.0, 1.0, START + 9, None)])
    assert verdict.left == pytest.approx((6.0, 2.0))


def test_the_calendar_goes_by_unix_time_and_all_else_by_a_clock_that_never_goes_back() -> None:
    unix = time.time()
    counts = MemoryCounts()

    verdict = counts.take_now([Sum("k", 1.0, 1.0, unix + 3600, None), Rate("k", 1, 60.0, 1.0)])

    assert verdict.reset == pytest.approx((3600, 60), abs=60)


def test_a_period_of_the_calendar_that_is_over_is_forgotten() -> None:
    clock = Clock(0.0)
    counts = MemoryCounts(clock, lambda: START + clock())
    for day in range(1, 100):
        cell = Sum(str(day), 1.0, 1.0, START + 86400 * day, None)
        assert counts.take_now([cell]).reset == (86400.0,)
        counts.settle_now([(cell, 0.0)])
        assert counts.take_now([cell]).retry_after == 86400.0
        clock.advance(86400)

    assert len(counts) < 4
