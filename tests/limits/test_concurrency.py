from __future__ import annotations

import pytest

from plano.limits.cells import LEASE_SECONDS, RENEW_SECONDS, Lease
from plano.limits.memory import MemoryCounts
from tests.limits.clock import Clock


def lease(holder: str, limit: int = 1) -> Lease:
    return Lease("k", limit, holder)


def test_a_place_is_free_as_soon_as_it_is_given_back() -> None:
    counts = MemoryCounts(Clock())
    assert counts.take_now([lease("a")]).refused is None
    refused = counts.take_now([lease("b")])
    assert (refused.refused, refused.retry_after, refused.left) == (0, 1.0, (0.0,))

    counts.release_now([lease("a")])
    counts.release_now([lease("a"), Lease("unknown", 1, "a")])

    assert counts.take_now([lease("b")]).refused is None


@pytest.mark.parametrize(("renewals", "free_after"), [(0, LEASE_SECONDS), (4, 4 * RENEW_SECONDS + LEASE_SECONDS)])
def test_a_place_whose_holder_died_is_free_when_its_lease_expires(renewals: int, free_after: float) -> None:
    clock = Clock()
    counts, began = MemoryCounts(clock), clock.now
    counts.take_now([lease("killed")])
    for _ in range(renewals):
        clock.advance(RENEW_SECONDS)
        counts.renew_now([lease("killed")])

    clock.now = began + free_after - 0.1
    almost = counts.take_now([lease("next")])
    assert (almost.refused, almost.retry_after) == (0, pytest.approx(0.1, abs=1e-3))
    clock.now = began + free_after
    assert counts.take_now([lease("next")]).refused is None


def test_leases_expire_one_by_one_in_the_order_of_their_renewals() -> None:
    clock = Clock()
    counts = MemoryCounts(clock)
    for holder in ("a", "b", "c"):
        counts.take_now([lease(holder, 3)])
        clock.advance(1)
    counts.renew_now([lease("a", 3)])

    clock.advance(LEASE_SECONDS - 1.5)  # the lease of b is over; c has half a second, and a has longer

    assert [counts.take_now([lease(holder, 3)]).refused for holder in ("d", "e")] == [None, 0]


@pytest.mark.parametrize(("limit", "left"), [(3, 1.0), (1, -1.0)])
def test_what_is_left_follows_a_limit_that_changes(limit: int, left: float) -> None:
    counts = MemoryCounts(Clock())
    for holder in ("a", "b"):
        counts.take_now([lease(holder, 2)])

    verdict = counts.take_now([lease("c", limit)])

    assert verdict.left == ((left - 1.0,) if verdict.refused is None else (left,))
    assert verdict.reset == (LEASE_SECONDS,)
