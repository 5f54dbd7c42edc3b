"""Which subject of a budget is told, as decisions come in."""

from __future__ import annotations

import pytest

from plano.limits.used import Used

Noted = tuple[str, float, float, float]
"""Subject, share, and the times of the note and of the end of its period."""


@pytest.mark.parametrize(
    ("noted", "now", "share"),
    [
        ([("a", 0.5, 0, 100)], 1, 0.5),
        ([("a", 0.5, 0, 100), ("b", 0.2, 1, 100)], 1, 0.5),
        ([("a", 0.5, 0, 100), ("b", 0.7, 1, 100)], 1, 0.7),
        ([("a", 0.5, 0, 100), ("a", 0.3, 1, 100)], 1, 0.3),  # its reservation was too large
        ([("a", 0.5, 0, 100), ("a", 0.3, 1, 100), ("b", 0.4, 2, 100)], 2, 0.4),
        ([("a", 0.5, 0, 100)], 100, 0.0),
        ([("a", 0.5, 0, 100), ("b", 0.2, 100, 200)], 101, 0.2),
        ([("a", 0.5, 0, 100), ("b", 0.2, 100, 200), ("a", 0.1, 101, 200)], 101, 0.2),
        ([("a", 1.2, 0, 100)], 1, 1.2),  # overspent by what was in flight
    ],
)
def test_the_subject_that_has_used_most_is_told(noted: list[Noted], now: float, share: float) -> None:
    used = Used()
    for subject, its, at, until in noted:
        used.note("purse", subject, its, now=at, until=until)
    assert used.shares(now) == {"purse": share}


def test_budgets_are_apart() -> None:
    used = Used()
    used.note("one", "a", 0.5, now=0, until=10)
    used.note("two", "a", 0.6, now=0, until=20)
    assert used.shares(15) == {"one": 0.0, "two": 0.6}
