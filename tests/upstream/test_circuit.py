"""The circuit of one target: when it is ejected, and how it comes back."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from plano.upstream.circuit import PROBE_PATIENCE, Circuit


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def circuit_at(clock: Clock, seed: int = 0) -> tuple[Circuit, set[Any]]:
    troubled: set[Any] = set()
    return Circuit(clock, Random(seed), troubled), troubled


def happen(circuit: Circuit, clock: Clock, outcomes: str, every: float = 0.1) -> None:
    """Lets requests end: `x` has failed, `.` has succeeded; a space is ten seconds without any."""
    for outcome in outcomes:
        clock.now += 10.0 if outcome == " " else every
        if outcome == "x":
            circuit.failed("server", clock.now, probe=False)
        elif outcome == ".":
            circuit.succeeded(clock.now)


def ejected(clock: Clock, times: int = 1) -> Circuit:
    """A circuit whose probes have failed until it was ejected so many times."""
    circuit, _ = circuit_at(clock)
    happen(circuit, clock, "xxxxx")
    for _ in range(times - 1):
        clock.now = circuit.until
        assert circuit.probes(clock.now)
        circuit.failed("connect", clock.now, probe=True)
    return circuit


@pytest.mark.parametrize(
    ("outcomes", "out"),
    [
        ("xxxx", False),
        ("xxxxx", True),
        ("xxxx.xxxx.xxxx", False),
        ("x x x x x", True),
        ("." * 10 + "x" * 4, False),
        (".x" * 9, False),
        (".x" * 10, True),
        ("..x" * 30, False),
        ("." * 11 + "xx.xx.xx", False),
        ("." * 7 + "xxx.xxx.xxx.x", True),
        ("." * 200 + "xxx.xxx.xxx.xxx.", False),
        ("." * 200 + "    " + "xxx.xxx.xxx.xxx.", False),
        ("." * 200 + "    " + "xxx.xxx.xxx.xxx.xxx.x", True),
        (".x" * 5 + "    " + ".x" * 5, False),
    ],
)
def test_five_failures_in_a_row_or_half_of_twenty_in_thirty_seconds_eject(outcomes: str, out: bool) -> None:
    clock = Clock()
    circuit, troubled = circuit_at(clock)
    happen(circuit, clock, outcomes)
    assert (circuit.phase == "ejected", circuit in troubled) == (out, out)


def test_a_slow_trickle_of_failures_is_counted_over_thirty_seconds() -> None:
    clock = Clock()
    circuit, _ = circuit_at(clock)
    happen(circuit, clock, ".x" * 100, every=1.7)  # 18 in 30 s
    assert circuit.phase == "in"
    happen(circuit, clock, ".x" * 100, every=1.3)  # 23 in 30 s
    assert circuit.phase == "ejected"


@pytest.mark.parametrize(
    ("times", "seconds"), [(1, 10), (2, 20), (3, 40), (4, 80), (5, 160), (6, 300), (7, 300), (40, 300)]
)
def test_an_ejection_doubles_with_each_probe_that_fails(times: int, seconds: float) -> None:
    circuit = ejected(Clock(), times)
    lasted = circuit.until - circuit.since
    assert 0.8 * seconds <= lasted <= 1.2 * seconds


def test_ejections_of_several_gateways_end_at_different_times() -> None:
    ends = []
    for seed in range(200):
        clock = Clock()
        circuit, _ = circuit_at(clock, seed)
        happen(circuit, clock, "xxxxx")
        ends.append(circuit.until - circuit.since)
    assert min(ends) < 8.2
    assert max(ends) > 11.8


def test_one_request_at_a_time_probes() -> None:
    clock = Clock()
    circuit = ejected(clock)
    clock.now = circuit.until - 0.01
    assert not circuit.probes(clock.now)
    clock.now = circuit.until
    assert circuit.probes(clock.now)
    assert circuit.probing
    assert not circuit.probes(clock.now)
    circuit.dropped()
    assert circuit.probes(clock.now)
    clock.now += PROBE_PATIENCE
    assert circuit.probes(clock.now), "a probe that never ended must not keep the target out forever"


def test_a_target_that_answers_again_gets_a_growing_share_of_its_requests() -> None:
    clock = Clock()
    circuit = ejected(clock)
    shares = [circuit.share(clock.now)]
    clock.now = circuit.until
    assert circuit.probes(clock.now)
    assert circuit.passed()
    back = clock.now
    for seconds in (0.0, 2.5, 5.0, 9.0, 11.0):
        clock.now = back + seconds
        shares.append(circuit.share(clock.now))
        circuit.succeeded(clock.now)
    assert shares == pytest.approx([0.0, 0.0, 0.25, 0.5, 0.9, 1.0])
    assert circuit.phase == "in"


@pytest.mark.parametrize(("after", "seconds"), [(5.0, 40), (11.0, 10)])
def test_ejections_are_forgotten_once_a_target_is_back_in_full(after: float, seconds: float) -> None:
    clock = Clock()
    circuit = ejected(clock, times=2)
    clock.now = circuit.until
    assert circuit.probes(clock.now)
    assert circuit.passed()
    clock.now += after
    happen(circuit, clock, ".xxxxx", every=0.01)
    assert circuit.phase == "ejected"
    assert 0.8 * seconds <= circuit.until - circuit.since <= 1.2 * seconds


def test_outcomes_of_requests_that_began_before_an_ejection_tell_nothing() -> None:
    clock = Clock()
    circuit, _ = circuit_at(clock)
    began = clock.now
    happen(circuit, clock, "xxxxx")
    first = circuit.until
    for _ in range(100):
        circuit.failed("server", began, probe=False)
        circuit.succeeded(began)
    assert (circuit.phase, circuit.until) == ("ejected", first)
    clock.now = first
    assert circuit.probes(clock.now)
    assert circuit.passed()
    for _ in range(100):
        circuit.failed("server", began, probe=False)
    assert circuit.phase == "ramping"


def test_only_the_probe_ends_an_ejection() -> None:
    clock = Clock()
    circuit = ejected(clock)
    until = circuit.until
    happen(circuit, clock, ".x.x.xxxxxxxx", every=0.01)
    assert (circuit.phase, circuit.until) == ("ejected", until)


def test_a_second_probe_changes_nothing_after_the_first() -> None:
    clock = Clock()
    circuit = ejected(clock)
    began = clock.now = circuit.until
    assert circuit.probes(clock.now)
    clock.now += PROBE_PATIENCE
    assert circuit.probes(clock.now)
    second = clock.now
    clock.now += 1.0
    circuit.failed("timeout", second, probe=True)
    until = circuit.until
    circuit.failed("timeout", began, probe=True)
    assert circuit.until == until
    assert circuit.passed(), "it was answered all the same"
    assert not circuit.passed()


def test_a_time_to_first_output_is_an_average_that_is_forgotten_without_requests() -> None:
    clock = Clock()
    circuit, _ = circuit_at(clock)
    assert circuit.expected() == 0.0
    circuit.in_flight = 1
    assert circuit.expected() == float("inf")
    circuit.asked = clock.now
    circuit.note_first_output(1.0)
    assert circuit.expected() == 1.0
    for _ in range(20):
        circuit.note_first_output(3.0)
    assert circuit.expected() == pytest.approx(3.0, rel=0.01)
    clock.now += 60.0
    assert circuit.expected() == pytest.approx(3.0 / 2.718, rel=0.01)
    circuit.asked = clock.now
    assert circuit.expected() == pytest.approx(3.0, rel=0.01)


def test_a_window_of_many_seconds_stays_small() -> None:
    clock = Clock()
    circuit, _ = circuit_at(clock)
    happen(circuit, clock, "..x" * 2000, every=0.5)
    assert len(circuit._outcomes._slices) <= 32
