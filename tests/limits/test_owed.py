"""Corrections and places that wait for Redis: summed up by key, bounded, and told in batches."""

from __future__ import annotations

from plano.limits import owed
from plano.limits.cells import Lease, Rate, Sum
from plano.limits.owed import MOST_KEYS, Batch, Owed


def budget(key: str, cost: float) -> Sum:
    return Sum(key, 10.0, cost, 1000.0, None)


def test_corrections_of_one_budget_become_one_that_counts_its_takes() -> None:
    found = Owed()
    found.settle([(budget("a", 2.0), -1.0), (budget("b", 1.0), 0.0), (Rate("r", 1.0, 1.0, 1.0), 5.0)])
    found.settle([(budget("a", 3.0), 0.5)])
    assert found.pop_batch(10, "1") == Batch("1", [(budget("a", 5.0), -0.5, 2), (budget("b", 1.0), 0.0, 1)])
    assert found.pop_batch(10, "2") is None


def test_a_batch_that_may_have_arrived_is_told_again_as_it_was_and_first() -> None:
    found = Owed()
    found.settle([(budget("a", 2.0), 0.0)])
    told = Batch("7", [(budget("a", 1.0), 0.0, 1)])
    found.tell_again(told)
    assert found.pop_batch(10, "8") is told
    assert found.pop_batch(10, "8") == Batch("8", [(budget("a", 2.0), 0.0, 1)])


def test_no_more_is_told_at_once_than_is_asked_for() -> None:
    found = Owed()
    found.settle([(budget(str(number), 1.0), 0.0) for number in range(5)])
    found.release([Lease("places", 9, str(number)) for number in range(5)])
    sizes = []
    while (batch := found.pop_batch(2, "mark")) is not None:
        sizes.append(len(batch.settlements))
    assert sizes == [2, 2, 1]
    assert [len(found.pop_leases(2)) for _ in range(4)] == [2, 2, 1, 0]


def test_what_is_remembered_is_bounded() -> None:
    found = Owed()
    for number in range(MOST_KEYS + 10):
        found.settle([(budget(str(number), 1.0), 0.0)])
        found.release([Lease("places", 9, str(number))])
    found.settle([(budget("0", 1.0), 0.0)])
    batch = found.pop_batch(2 * MOST_KEYS, "mark")
    assert batch is not None
    assert len(batch.settlements) == MOST_KEYS
    assert batch.settlements[0] == (budget("0", 2.0), 0.0, 2)
    assert len(found.pop_leases(2 * MOST_KEYS)) == MOST_KEYS
    for _ in range(owed.MOST_BATCHES + 10):
        found.tell_again(Batch("mark", []))
    assert sum(1 for _ in iter(lambda: found.pop_batch(1, ""), None)) == owed.MOST_BATCHES
