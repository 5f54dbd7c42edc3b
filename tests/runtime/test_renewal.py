"""A mark in time before which connections are not used again."""

from __future__ import annotations

from plano.runtime.renewal import PAUSE, Renewal
from tests.state.conftest import Clock


def test_a_renewal_outdates_what_was_opened_before_and_the_next_comes_after_a_pause() -> None:
    clock = Clock()
    renew = Renewal(clock)
    before = clock.now
    assert not renew.outdates(before)
    renew()
    assert renew.outdates(before)
    clock.passes(PAUSE / 2)
    between = clock.now
    renew()
    assert not renew.outdates(between)
    clock.passes(PAUSE / 2)
    renew()
    assert renew.outdates(between)
