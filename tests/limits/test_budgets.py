from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plano.limits.budgets import calendar_period
from plano.limits.cells import Sum
from plano.limits.memory import MemoryCounts
from tests.limits.clock import START, Clock


def amount(cost: float, limit: float = 10.0, **more: Any) -> Sum:
    return Sum("k", limit, cost, more.get("ends"), more.get("period"))


@pytest.mark.parametrize(
    ("unit", "now", "label", "ends"),
    [
        ("day", "2026-11-30T00:00:00", "20261130", "2026-12-01T00:00:00"),
        ("day", "2026-12-31T23:59:59.9", "20261231", "2027-01-01T00:00:00"),
        ("week", "2026-11-30T00:00:00", "20261130", "2026-12-07T00:00:00"),
        ("week", "2026-11-29T23:59:59", "20261123", "2026-11-30T00:00:00"),
        ("week", "2027-01-01T12:00:00", "20261228", "2027-01-04T00:00:00"),
        ("month", "2026-11-30T12:00:00", "20261101", "2026-12-01T00:00:00"),
        ("month", "2026-12-01T00:00:00", "20261201", "2027-01-01T00:00:00"),
        ("month", "2028-02-29T12:00:00", "20280201", "2028-03-01T00:00:00"),
        ("month", "2026-01-31T12:00:00", "20260101", "2026-02-01T00:00:00"),
    ],
)
def test_periods_of_the_calendar_are_those_of_utc(unit: Any, now: str, label: str, ends: str) -> None:
    moment = datetime.fromisoformat(now).replace(tzinfo=UTC).timestamp()

    period = calendar_period(unit, moment)

    assert period.label == label
    assert datetime.fromtimestamp(period.ends, UTC).isoformat() == f"{ends}+00:00"


@pytest.mark.parametrize(
    ("steps", "outcomes"),
    [
        (["take 4", "take 4", "take 4"], ["taken", "taken", "reserved"]),
        (["take 10", "take 1", "settle 10 3", "take 7"], ["taken", "reserved", "taken"]),
        (["take 4", "settle 4 9.99", "take 4"], ["taken", "taken"]),  # something is left, and nothing else runs
        (["take 4", "settle 4 9.99", "take 4", "take 4"], ["taken", "taken", "reserved"]),
        (["take 4", "settle 4 10", "take 0.01"], ["taken", "spent"]),
        (["take 400", "settle 400 12", "take 0"], ["taken", "spent"]),
        (["take 4", "settle 4 0", "take 10"], ["taken", "taken"]),
        (["take 4", "settle 4 10", "take 4 of 20"], ["taken", "taken"]),  # the budget was raised
    ],
)
def test_a_budget_is_spent_reserved_or_free(steps: list[str], outcomes: list[str]) -> None:
    clock = Clock()
    counts, found = MemoryCounts(clock), []
    ends = clock.now + 3600
    for step in steps:
        match step.split():
            case ["take", cost, *limit]:
                verdict = counts.take_now([amount(float(cost), float(limit[-1]) if limit else 10.0, ends=ends)])
                found.append("taken" if verdict.refused is None else "reserved" if verdict.reserved else "spent")
                assert verdict.retry_after == {"taken": 0.0, "reserved": 2.0, "spent": 3600.0}[found[-1]]
                assert verdict.reset == (3600.0,)
            case ["settle", cost, used]:
                counts.settle_now([(amount(float(cost), ends=ends), float(used) - float(cost))])

    assert found == outcomes


def test_a_rolling_budget_is_free_again_part_by_part() -> None:
    clock = Clock()
    counts = MemoryCounts(clock)

    def spend(cost: float) -> float:
        cell = amount(cost, period=600.0)
        verdict = counts.take_now([cell])
        if verdict.refused is None:
            counts.settle_now([(cell, 0.0)])
        return verdict.retry_after

    assert spend(6) == 0.0
    clock.advance(300)
    assert spend(4) == 0.0
    assert 300.0 <= spend(1) <= 310.0  # the 6 are over after the period and at most one of its sixty parts
    clock.advance(311)
    assert spend(6) == 0.0
    assert 280.0 <= spend(1) <= 300.0
    clock.advance(2000)
    assert counts.take_now([amount(10.0, period=600.0)]).left == (0.0,)


@given(
    steps=st.lists(
        st.tuples(st.floats(0.0, 4.0), st.floats(0.0, 1.0), st.integers(0, 3), st.floats(0.0, 100.0)),
        min_size=1,
        max_size=100,
    ),
    period=st.sampled_from([None, 600.0]),
)
def test_a_budget_is_never_overspent_by_more_than_what_was_in_flight(
    steps: list[tuple[float, float, int, float]], period: float | None
) -> None:
    clock, limit = Clock(), 10.0
    counts, ends = MemoryCounts(clock), None if period else START + 1e9
    running: list[tuple[Sum, float]] = []
    spent: list[tuple[float, float]] = []

    def in_force() -> float:
        return sum(used for when, used in spent if not period or when > clock.now - period)

    for cost, share, ending, pause in steps:
        cell = Sum("k", limit, cost, ends, period)
        before, reserved = in_force(), sum(each.cost for each, _ in running)
        verdict = counts.take_now([cell])
        if verdict.refused is None:
            assert before < limit or cost == 0.0
            assert not running or before + reserved + cost <= limit + 1e-6
            running.append((cell, cost * share))
        for each, used in running[:ending]:
            counts.settle_now([(each, used - each.cost)])
            spent.append((clock.now, used))
        del running[:ending]
        assert in_force() <= limit + 4.0 + 1e-6
        clock.advance(pause)
