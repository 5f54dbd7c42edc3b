"""What a request's outcome does to the standing of a target with one of its keys."""

from __future__ import annotations

from random import Random

import pytest

from plano.errors import UPSTREAM_FAILURES, UpstreamFailure
from plano.provider import Provider, Target
from plano.upstream.breaker import Health, log_change
from plano.upstream.standing import HURTS, RESTS, Standing, State

PROVIDER = Provider(name="acme", base_url="http://acme.test", paths={"chat": "/chat/completions"})


class Middle(Random):
    def random(self) -> float:
        return 0.5


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def target(place: str = "acme/m", key_no: int = 0, *, passthrough_auth: bool = False) -> Target:
    return Target(
        provider=PROVIDER,
        model="m",
        name="acme/m",
        entry="acme/m",
        dialects=("chat",),
        endpoints={},
        place=place,
        key_no=key_no,
        passthrough_auth=passthrough_auth,
    )


def standing(clock: Clock, **more: bool) -> tuple[Standing, list[State]]:
    """A standing, and the states that it has told."""
    told: list[State] = []
    health = Health(clock=clock, on_change=lambda each: told.append(each.state))
    return health.of(target(**more)), told


@pytest.mark.parametrize(
    ("failure", "times", "state", "left"),
    [
        *((failure, 5, "ejected", 10.0) for failure in sorted(HURTS)),
        ("rate_limit", 1, "resting", 1.0),
        ("quota", 1, "resting", 300.0),
        ("credential", 1, "resting", 300.0),
        ("no_model", 1, "no_model", None),
        ("context_window", 100, "in", None),
        ("content_filter", 100, "in", None),
        ("invalid", 100, "in", None),
    ],
)
def test_each_class_of_failure_has_its_effect(
    failure: UpstreamFailure, times: int, state: State, left: float | None
) -> None:
    its, told = standing(Clock())
    for _ in range(times):
        its.begin().failed(failure)
    assert its.state == state
    assert its.why == (None if state == "in" else failure)
    assert its.left == (None if left is None else pytest.approx(left, rel=0.21))
    assert told == ([] if state == "in" or failure == "rate_limit" else [state])
    assert its.in_flight == its.circuit.in_flight == 0


def test_every_class_stands_in_the_table_above() -> None:
    assert {*HURTS, *RESTS, "no_model", "context_window", "content_filter", "invalid"} == {*UPSTREAM_FAILURES}


@pytest.mark.parametrize("failure", sorted(HURTS))
def test_four_in_a_row_hurt_nobody_and_a_success_clears_them(failure: UpstreamFailure) -> None:
    its, _ = standing(Clock())
    for _ in range(4):
        its.begin().failed(failure)
    its.begin().succeeded()
    for _ in range(4):
        its.begin().failed(failure)
    assert its.state == "in"


@pytest.mark.parametrize(
    ("said", "seconds"), [(0.5, 0.5), (2.0, 2.0), (3600.0, 3600.0), (1e9, 3600.0), (0.0, 1.0), (-5.0, 1.0)]
)
def test_a_rate_limit_rests_as_long_as_the_upstream_says(said: float, seconds: float) -> None:
    its, _ = standing(Clock())
    its.begin().failed("rate_limit", said)
    assert (its.state, its.left) == ("resting", seconds)


def test_a_rate_limit_without_a_time_doubles_and_a_success_begins_again() -> None:
    clock = Clock()
    its, told = standing(clock)
    rests = []
    for _ in range(9):
        its.begin().failed("rate_limit")
        rests.append(its.left)
        clock.now = its.rests_until
    assert rests == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert told == ["resting"], "a long rest is told once"
    its.begin().succeeded()
    assert told == ["resting", "in"]
    its.begin().failed("rate_limit")
    assert its.left == 1


def test_requests_that_are_refused_together_count_as_one_refusal() -> None:
    clock = Clock()
    its, _ = standing(clock)
    trials = [its.begin() for _ in range(100)]
    for trial in trials:
        trial.failed("rate_limit")
    assert its.left == 1.0
    for seconds in (5.0, 20.0, 3.0):
        its.begin().failed("rate_limit", seconds)
    assert its.left == 20.0


def test_a_success_that_began_before_a_rest_does_not_end_it() -> None:
    clock = Clock()
    its, _ = standing(clock)
    early = its.begin()
    clock.now += 1.0
    its.begin().failed("quota")
    early.succeeded()
    assert its.state == "resting"
    clock.now += 1.0
    its.begin().succeeded()
    assert its.state == "in"


@pytest.mark.parametrize("failure", ["rate_limit", "quota", "credential"])
def test_a_callers_own_account_makes_nobody_else_wait(failure: UpstreamFailure) -> None:
    its, told = standing(Clock(), passthrough_auth=True)
    its.begin().failed(failure, 60.0)
    assert (its.state, told) == ("in", [])


def test_an_unknown_model_is_an_alarm_until_a_success() -> None:
    its, told = standing(Clock())
    for _ in range(3):
        its.begin().failed("no_model")
    assert (its.state, its.left, told) == ("no_model", None, ["no_model"])
    its.begin().succeeded()
    assert (its.state, told) == ("in", ["no_model", "in"])


def eject(its: Standing, clock: Clock) -> None:
    for _ in range(5):
        its.begin().failed("server")
    assert its.state == "ejected"
    clock.now = its.circuit.until


@pytest.mark.parametrize("failure", [each for each in UPSTREAM_FAILURES if each not in HURTS])
def test_a_probe_that_is_refused_shows_that_the_server_is_there(failure: UpstreamFailure) -> None:
    clock = Clock()
    its, _ = standing(clock)
    eject(its, clock)
    its.begin().failed(failure)
    assert its.circuit.phase == "ramping"


@pytest.mark.parametrize("failure", sorted(HURTS))
def test_a_probe_that_fails_is_told_to_nobody(failure: UpstreamFailure) -> None:
    clock = Clock()
    its, told = standing(clock)
    eject(its, clock)
    trial = its.begin()
    assert its.state == "probing"
    assert its.why == "server"
    trial.failed(failure)
    assert (its.state, its.why, told) == ("ejected", failure, ["ejected"])


def test_a_probe_passes_with_its_first_output() -> None:
    clock = Clock()
    its, told = standing(clock)
    eject(its, clock)
    trial = its.begin()
    trial.begun(0.7)
    assert (its.state, its.in_flight, told) == ("ramping", 1, ["ejected", "ramping"])
    trial.failed("broken_stream")
    assert (its.state, its.in_flight) == ("ramping", 0)


def test_a_probe_that_the_client_leaves_tells_nothing() -> None:
    clock = Clock()
    its, _ = standing(clock)
    eject(its, clock)
    its.begin().cancelled()
    assert its.state == "ejected"
    its.begin().succeeded()
    assert its.state == "ramping"


def test_requests_that_are_left_or_lost_to_a_hedge_count_neither_way() -> None:
    its, _ = standing(Clock())
    for _ in range(4):
        its.begin().failed("server")
    for _ in range(100):
        its.begin().cancelled()
    assert its.state == "in"
    its.begin().failed("server")
    assert its.state == "ejected"


def test_only_the_first_end_of_a_trial_counts() -> None:
    its, _ = standing(Clock())
    for _ in range(3):
        trial = its.begin()
        assert (its.in_flight, its.circuit.in_flight) == (1, 1)
        trial.cancelled()
        trial.failed("quota")
        trial.succeeded(1.0)
        trial.begun(1.0)
        trial.cancelled()
        assert (its.in_flight, its.circuit.in_flight) == (0, 0)
    assert its.state == "in"
    assert its.circuit.expected() == 0.0


def test_all_keys_of_a_target_share_its_circuit_and_none_shares_a_rest() -> None:
    health = Health(clock=Clock())
    first, second = (health.of(target(f"acme/m#{number}", number)) for number in range(2))
    elsewhere = health.of(target("acme/m@http://other#0", 0))
    first.begin().failed("quota")
    assert [each.state for each in (first, second, elsewhere)] == ["resting", "in", "in"]
    for its in (first, second, first, second, second):
        its.begin().failed("server")
    assert [each.state for each in (first, second, elsewhere)] == ["resting", "ejected", "in"]
    trials = [its.begin() for its in (first, second, second)]
    assert (first.in_flight, second.in_flight, second.circuit.in_flight) == (1, 2, 3)
    for trial in trials:
        trial.cancelled()


@pytest.mark.parametrize(
    ("place", "failure", "lines"),
    [
        ("acme/m", "server", ["acme/m: m is ejected for 10 s (server)", "acme/m: m answers again"]),
        ("acme/m#0", "timeout", ["acme/m: m is ejected for 10 s (timeout)", "acme/m: m answers again"]),
        (
            "acme/m#0",
            "credential",
            ["acme/m: m with key 0 is resting for 300 s (credential)", "acme/m: m with key 0 answers again"],
        ),
        ("acme/m", "quota", ["acme/m: m is resting for 300 s (quota)", "acme/m: m answers again"]),
        ("acme/m", "no_model", ["acme/m: the upstream does not know m", "acme/m: m answers again"]),
        ("acme/m", "rate_limit", []),
        ("acme/m", "invalid", []),
    ],
)
def test_one_line_each_way_is_logged(
    place: str, failure: UpstreamFailure, lines: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    its = Health(clock=clock, random=Middle(), on_change=log_change).of(target(place))
    for _ in range(5):
        its.begin().failed(failure)
    for _ in range(3):
        clock.now += 20.0
        its.begin().succeeded()
    assert [record.getMessage() for record in caplog.records] == lines
