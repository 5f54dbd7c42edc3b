from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plano.limits.cells import Rate
from plano.limits.memory import MemoryCounts
from plano.limits.rates import Bucket
from tests.limits.clock import START, Clock

TEN_MINUTES = 600.0


def rate(limit: float, period: float, cost: float = 1.0) -> Rate:
    return Rate("k", limit, period, cost)


@pytest.mark.parametrize(
    ("limit", "period", "costs", "waits"),
    [
        (3, 60, [1, 1, 1, 1], [0, 0, 0, 20]),
        (100, 60, [60, 40, 1], [0, 0, 0.6]),
        (100, 60, [60, 60], [0, 12]),
        (10, 60, [25], [0]),  # more than the bucket holds: admitted while it is full
        (10, 60, [25, 1], [0, 96]),  # and the debt follows
        (10, 60, [1, 25], [0, 6]),
        (10, 60, [0, 10, 0, 1], [0, 0, 0, 6]),
        (10, 60, [25, 0], [0, 90]),
    ],
)
def test_a_bucket_gives_its_whole_limit_at_once_and_then_says_how_long_to_wait(
    limit: float, period: float, costs: list[float], waits: list[float]
) -> None:
    bucket, found = Bucket(), []
    for cost in costs:
        cell = rate(limit, period, cost)
        found.append(bucket.wait(cell, START))
        if not found[-1]:
            bucket.take(cell, START)

    assert found == pytest.approx(waits, abs=1e-4)


@pytest.mark.parametrize(("correction", "left"), [(-40, 80), (-60, 100), (-900, 100), (0, 40), (30, 10), (140, -100)])
def test_what_was_reserved_is_corrected(correction: float, left: float) -> None:
    bucket, cell = Bucket(), rate(100, 60, 60)
    bucket.take(cell, START)

    bucket.settle(cell, correction, START)

    assert bucket.look(cell, START)[0] == pytest.approx(left, abs=1e-3)


@pytest.mark.parametrize("limit", [7, 43, 97, 997])
@pytest.mark.parametrize("now", [0.0, START, 1.9e9])
def test_all_of_a_limit_is_given_at_once_at_any_time(limit: int, now: float) -> None:
    counts = MemoryCounts(Clock(now))
    taken = [counts.take_now([rate(limit, 1.0)]).refused is None for _ in range(limit + 1)]
    assert taken == [True] * limit + [False]


def test_a_request_above_the_limit_waits_for_a_full_bucket_and_is_admitted_again_when_its_debt_is_paid() -> None:
    clock = Clock()
    counts = MemoryCounts(clock)
    big = rate(1000, 60, 5000)
    assert counts.take_now([big]).refused is None
    refused = counts.take_now([big])
    assert refused.refused == 0
    assert refused.retry_after == pytest.approx(300)

    clock.advance(299)
    assert counts.take_now([big]).refused == 0
    clock.advance(1.001)
    assert counts.take_now([big]).refused is None


@pytest.mark.parametrize(
    ("limit", "period"), [(1, 60.0), (7, 1.0), (10, 7.0), (60, 60.0), (100, 3600.0), (600, 60.0), (100000, 86400.0)]
)
def test_over_ten_minutes_a_limit_is_exact_to_one_request(limit: int, period: float) -> None:
    """A client that asks again as soon as it may gets the burst and the rate, neither more nor less."""
    clock = Clock(1000.0)
    counts, cell, taken = MemoryCounts(clock), rate(limit, period, max(1, limit // 1000)), 0.0
    while clock.now <= 1000.0 + TEN_MINUTES:
        verdict = counts.take_now([cell])
        taken += cell.cost if verdict.refused is None else 0.0
        clock.advance(verdict.retry_after)

    assert taken == pytest.approx(limit + limit * TEN_MINUTES / period, abs=cell.cost)


@given(
    limit=st.integers(1, 50),
    period=st.sampled_from([1.0, 7.0, 60.0]),
    pauses=st.lists(st.floats(0.0, 5.0), min_size=1, max_size=300),
)
def test_at_no_moment_more_was_taken_than_the_burst_and_the_rate(
    limit: int, period: float, pauses: list[float]
) -> None:
    clock = Clock(1000.0)
    counts, cell, moments = MemoryCounts(clock), rate(limit, period), list[float]()
    for pause in pauses:
        if counts.take_now([cell]).refused is None:
            moments.append(clock.now)
        clock.advance(pause)

    for first, begin in enumerate(moments):
        for last, end in enumerate(moments[first:], first):
            assert last - first + 1 <= limit + limit * (end - begin) / period + 1e-3


@given(
    steps=st.lists(st.tuples(st.integers(1, 400), st.integers(0, 400), st.floats(0.0, 30.0)), min_size=1, max_size=200)
)
def test_tokens_that_are_settled_never_exceed_what_the_time_allows(steps: list[tuple[int, int, float]]) -> None:
    """Each request reserves, waits, and uses less or more; only what one used above its reservation may be too much."""
    clock = Clock()
    counts, limit, period = MemoryCounts(clock), 1000.0, 60.0
    used = above = 0.0
    for reserved, actual, pause in steps:
        cell = rate(limit, period, reserved)
        if counts.take_now([cell]).refused is None:
            used += actual
            above += max(0, actual - reserved)
            counts.settle_now([(cell, actual - reserved)])
        clock.advance(pause)
        assert used <= limit + limit * (clock.now - START) / period + above + 1e-3
