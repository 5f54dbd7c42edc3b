"""Retry budgets: repeats do not multiply an outage."""

from __future__ import annotations

import pytest

from plano.upstream.retry_budget import RetryBudget


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def calls_in_an_outage(rate: int, *, repeats: int, share: float, seconds: int) -> list[int]:
    """The calls that a dead target gets in each second, where each request is repeated as often as it may be."""
    clock = Clock()
    budget = RetryBudget(clock)
    calls = [0] * seconds
    for second in range(seconds):
        for number in range(rate):
            clock.now = 100.0 + second + number / rate
            budget.earn(share)
            calls[second] += 1
            for _ in range(repeats):
                if not budget.take():
                    break
                calls[second] += 1
    return calls


@pytest.mark.parametrize(
    ("rate", "repeats", "share", "most"),
    [
        (1000, 2, 0.2, 1203),
        (1000, 9, 0.2, 1203),
        (200, 2, 0.2, 243),
        (200, 2, 0.0, 203),
        (200, 2, 0.5, 303),
        (1, 2, 0.2, 3),
    ],
)
def test_an_outage_gets_the_share_of_its_requests_and_three_a_second(
    rate: int, repeats: int, share: float, most: int
) -> None:
    calls = calls_in_an_outage(rate, repeats=repeats, share=share, seconds=60)
    assert calls[0] <= most + 30
    assert sum(calls[1:]) <= 59 * most + 1  # less than one token may be left from the first second
    assert sum(calls[1:]) >= 59 * min(most, rate * (1 + repeats)) - 60
    assert (sum(calls) < 60 * rate * (1 + repeats)) == (rate > 1)


def test_a_budget_is_saved_up_to_thirty_repeats() -> None:
    clock = Clock()
    budget = RetryBudget(clock)
    clock.now += 3600
    for _ in range(1000):
        budget.earn(0.2)
    assert [budget.take() for _ in range(32)] == [True] * 30 + [False] * 2
    clock.now += 1.01
    assert [budget.take() for _ in range(4)] == [True] * 3 + [False]


def test_a_few_requests_may_all_be_repeated() -> None:
    clock = Clock()
    budget = RetryBudget(clock)
    for _ in range(100):
        clock.now += 1.0
        budget.earn(0.2)
        assert budget.take()
        assert budget.take()
