"""The targets that a request may go to: never none for want of health, and at most half of several left out."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plano.candidates import Candidate, Group
from plano.errors import UPSTREAM_FAILURES, UpstreamFailure
from plano.operations import Endpoint
from plano.provider import Provider, Target
from plano.types import Secret
from plano.upstream.breaker import Condition, Health, Rest
from plano.upstream.standing import HURTS, Trial

PROVIDER = Provider(name="acme", base_url="http://acme.test", paths={"chat": "/chat/completions"})
ANY: frozenset[UpstreamFailure] = frozenset(UPSTREAM_FAILURES) - {"context_window", "content_filter", "broken_stream"}


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Always(Random):
    """Draws one number."""

    def __init__(self, number: float) -> None:
        super().__init__()
        self.number = number

    def random(self) -> float:
        return self.number


def target(place: str, key_no: int = 0, *, model: str = "m", key: str = "k", host: str = "http://acme.test") -> Target:
    return Target(
        provider=PROVIDER,
        model=model,
        name=f"acme/{model}",
        entry=place.partition("#")[0],
        dialects=("chat",),
        endpoints={("chat", "create"): Endpoint(f"{host}/v1", f"{host}/v1")},
        key=Secret(key),
        place=place,
        key_no=key_no,
    )


def candidate(name: str, keys: int = 1, weight: float = 1.0) -> Candidate:
    if keys == 1:
        return Candidate(name, (target(name),), weight=weight)
    return Candidate(name, tuple(target(f"{name}#{no}", no) for no in range(keys)), (1.0,) * keys, weight)


def group(names: str, *conditions: UpstreamFailure) -> Group:
    """A group with a member for each letter; a fallback after these failures."""
    return Group(tuple(candidate(name) for name in names), conditions=frozenset(conditions) or None)


def health_at(clock: Clock, drawn: float = 0.5) -> Health:
    return Health(clock=clock, random=Always(drawn), on_change=lambda standing: None)


def eject(health: Health, *members: Candidate, failure: UpstreamFailure = "server") -> None:
    for member in members:
        for _ in range(5):
            health.of(member.target).begin().failed(failure)


def rest(health: Health, *members: Candidate, failure: UpstreamFailure, seconds: float | None = None) -> None:
    for member in members:
        for key in member.keys:
            health.of(key).begin().failed(failure, seconds)


def names(tiers: Iterable[Iterable[Candidate]]) -> str:
    """The names in each tier, in the order of the alphabet; tiers that are empty are left out."""
    return " ".join(found for tier in tiers if (found := "".join(sorted(each.name for each in tier))))


def shown(health: Health, *groups: Group) -> str:
    return " | ".join(names(tiers) for tiers in health.tiers(groups))


@pytest.mark.parametrize(
    ("members", "ejected", "left"),
    [
        ("a", "a", "a"),
        ("ab", "a", "b"),
        ("ab", "ab", "ab"),
        ("abc", "a", "bc"),
        ("abc", "ab", "ac"),
        ("abc", "ba", "bc"),
        ("abc", "abc", "abc"),
        ("abcd", "ab", "cd"),
        ("abcd", "bca", "bd"),
        ("abcd", "abcd", "abcd"),
        ("abcde", "ab", "cde"),
        ("abcde", "dabc", "ade"),
    ],
)
def test_at_most_half_of_a_group_is_left_out_and_the_oldest_come_in(members: str, ejected: str, left: str) -> None:
    clock = Clock()
    health = health_at(clock)
    its = group(members)
    by_name = {member.name: member for member in its.members}
    for name in ejected:
        clock.now += 0.1
        eject(health, by_name[name])
    assert shown(health, its) == left


@pytest.mark.parametrize(
    ("groups", "ejected", "left"),
    [
        ([group("a"), group("x", *ANY)], "a", " | x"),
        ([group("a"), group("x", *ANY)], "x", "a | "),
        ([group("a"), group("x", *ANY)], "ax", "a | x"),
        ([group("a"), group("x", *ANY), group("y", *ANY)], "ax", " |  | y"),
        ([group("a"), group("x", "rate_limit")], "a", "a | x"),
        ([group("a"), group("x", "rate_limit"), group("y", "server")], "a", " | x | y"),
        ([group("ab"), group("x", *ANY)], "a", "b | x"),
        ([group("ab"), group("x", *ANY)], "ab", " | x"),
        ([group("abc"), group("x", *ANY)], "ab", "ac | x"),
        ([group("ab"), group("xy", *ANY)], "abxy", "ab | xy"),
    ],
)
def test_a_group_is_left_out_as_a_whole_only_for_a_fallback(groups: list[Group], ejected: str, left: str) -> None:
    clock = Clock()
    health = health_at(clock)
    for member in (member for each in groups for member in each.members if member.name in ejected):
        clock.now += 0.1
        eject(health, member)
    assert shown(health, *groups) == left


def test_a_target_that_broke_streams_off_leaves_the_request_to_any_fallback() -> None:
    health = health_at(Clock())
    groups = group("a"), group("x", *ANY)
    eject(health, groups[0].members[0], failure="broken_stream")
    assert shown(health, *groups) == " | x"


def test_the_only_target_is_tried_by_each_request_however_often_it_fails() -> None:
    clock = Clock()
    health = health_at(clock)
    its = group("a")
    for _ in range(100):
        assert shown(health, its) == "a"
        assert [*health.keys(its.members[0])] == [target("a")]
        health.of(its.members[0].target).begin().failed("server")
        clock.now += 1.0


@pytest.mark.parametrize(
    ("failure", "seconds", "alone", "with_another", "with_a_fallback"),
    [
        ("rate_limit", 60.0, "a", "b", " | x"),
        ("quota", None, "", "b", " | x"),
        ("credential", None, "", "b", " | x"),
        ("no_model", None, "a", "ab", "a | x"),
        ("invalid", None, "a", "ab", "a | x"),
        ("context_window", None, "a", "ab", "a | x"),
        ("content_filter", None, "a", "ab", "a | x"),
    ],
)
def test_a_rest_keeps_requests_away(
    failure: UpstreamFailure, seconds: float | None, alone: str, with_another: str, with_a_fallback: str
) -> None:
    health = health_at(Clock())
    rest(health, candidate("a"), failure=failure, seconds=seconds)
    assert shown(health, group("a")) == alone
    assert shown(health, group("ab")) == with_another
    assert shown(health, group("a"), group("x", *ANY)) == with_a_fallback


def test_with_nothing_else_the_rate_limit_that_ends_first_is_tried_first_and_after_what_is_ejected() -> None:
    health = health_at(Clock())
    its = group("abcd")
    a, b, c, d = its.members
    rest(health, a, failure="rate_limit", seconds=30.0)
    rest(health, b, failure="rate_limit", seconds=20.0)
    rest(health, d, failure="quota")
    eject(health, c)
    assert shown(health, its) == "c b a"


def test_a_target_comes_first_for_one_request_when_its_ejection_is_over() -> None:
    clock = Clock()
    health = health_at(clock)
    its = group("abc")
    a = its.members[0]
    eject(health, a)
    clock.now = health.of(a.target).circuit.until
    assert shown(health, its) == "a bc"
    probe = health.of(a.target).begin()
    assert shown(health, its) == "bc"
    probe.cancelled()
    assert shown(health, its) == "a bc"
    health.of(a.target).begin().failed("timeout")
    assert shown(health, its) == "bc"


@pytest.mark.parametrize(
    ("seconds", "drawn", "alone", "with_another", "with_a_fallback"),
    [
        (0.0, 0.0, "a", "b a", " | x"),
        (3.0, 0.29, "a", "ab", "a | x"),
        (3.0, 0.31, "a", "b a", " | x"),
        (9.0, 0.91, "a", "b a", " | x"),
        (10.0, 0.99, "a", "ab", "a | x"),
    ],
)
def test_a_target_that_is_back_gets_a_share_of_the_requests_that_grows(
    seconds: float, drawn: float, alone: str, with_another: str, with_a_fallback: str
) -> None:
    clock = Clock()
    health = health_at(clock, drawn)
    a = candidate("a")
    eject(health, a)
    clock.now = health.of(a.target).circuit.until
    health.of(a.target).begin().succeeded()
    clock.now += seconds
    assert shown(health, group("a")) == alone
    assert shown(health, group("ab")) == with_another
    assert shown(health, group("a"), group("x", *ANY)) == with_a_fallback


def test_a_member_without_weight_is_not_asked_only_to_probe_it() -> None:
    clock = Clock()
    health = health_at(clock)
    spare = candidate("z", weight=0.0)
    its = Group((candidate("a"), spare))
    eject(health, spare)
    clock.now = health.of(spare.target).circuit.until
    assert [names([tier]) for tier in health.tiers([its])[0] if tier] == ["az"]


def keys(health: Health, member: Candidate) -> list[int]:
    return [key.key_no for key in health.keys(member)]


def test_a_pool_rests_only_when_all_of_its_keys_do() -> None:
    clock = Clock()
    health = health_at(clock)
    pool = candidate("a", keys=3)
    its = Group((pool,))
    assert keys(health, pool) == [0, 1, 2]
    health.of(pool.keys[1]).begin().failed("credential")
    assert (keys(health, pool), shown(health, its)) == ([0, 2], "a")
    health.of(pool.keys[0]).begin().failed("rate_limit", 30.0)
    health.of(pool.keys[2]).begin().failed("rate_limit", 20.0)
    assert (keys(health, pool), shown(health, its)) == ([2], "a")
    assert shown(health, its, group("x", *ANY)) == " | x"
    clock.now += 30.0
    assert keys(health, pool) == [0, 2]
    rest(health, pool, failure="quota")
    assert (keys(health, pool), shown(health, its)) == ([], "")


@pytest.mark.parametrize(
    ("rests", "found"),
    [
        ([("a", "credential", None), ("b", "credential", None)], Rest("credential", 300.0)),
        ([("a", "credential", None), ("b", "quota", None)], Rest("quota", 300.0)),
        ([("a", "rate_limit", 400.0), ("b", "quota", None)], Rest("rate_limit", 400.0)),
        ([("a", "rate_limit", 40.0), ("b", "rate_limit", 20.0)], Rest("rate_limit", 20.0)),
        ([("a", "credential", None)], None),
        ([("a", "server", None), ("b", "invalid", None)], None),
        ([], None),
    ],
)
def test_the_rest_of_all_says_what_a_client_is_told(
    rests: list[tuple[str, UpstreamFailure, float | None]], found: Rest | None
) -> None:
    health = health_at(Clock())
    for name, failure, seconds in rests:
        rest(health, candidate(name), failure=failure, seconds=seconds)
    assert health.resting([group("a"), group("b", *ANY)]) == found


def test_the_soonest_target_back_is_known() -> None:
    clock = Clock()
    health = health_at(clock)
    groups = [group("ab"), group("x", *ANY)]
    assert health.back_in(groups) is None
    rest(health, groups[1].members[0], failure="quota")
    assert health.back_in(groups) == 300.0
    eject(health, groups[0].members[1])
    assert health.back_in(groups) == 10.0
    clock.now += 60.0
    assert health.back_in(groups) == 0.0


def test_a_snapshot_has_a_row_for_each_key() -> None:
    clock = Clock()
    health = health_at(clock)
    pool, single = candidate("p", keys=2), candidate("s")
    open_ = [health.of(pool.keys[1]).begin() for _ in range(3)]
    health.of(pool.keys[0]).begin().failed("quota")
    eject(health, single)
    clock.now += 1.0
    assert health.snapshot() == [
        Condition("p#1", "p", "m", 1, "in", None, None, 3),
        Condition("p#0", "p", "m", 0, "resting", "quota", 299.0, 0),
        Condition("s", "s", "m", 0, "ejected", "server", 9.0, 0),
    ]
    for trial in open_:
        trial.cancelled()


def test_a_reload_keeps_the_state_of_what_has_not_changed() -> None:
    health = health_at(Clock())
    before = [target(place) for place in ("same", "key", "host", "gone", "wild")]
    before[4] = target("wild", model="made-up")
    for each in before:
        health.of(each).begin().failed("quota")
    health.keep(
        [
            target("same"),
            target("key", key="other"),
            target("host", host="http://other.test"),
            target("new"),
            target("wild", model="*"),
        ]
    )
    assert [(each.place, each.model) for each in health.snapshot()] == [("same", "m"), ("wild", "made-up")]
    assert health.of(target("key", key="other")).state == "in"


def test_made_up_models_use_up_no_memory_and_forget_no_trouble() -> None:
    health = Health(clock=Clock(), on_change=lambda standing: None, kept=50)
    trouble = candidate("a")
    eject(health, trouble)
    busy = health.of(target("b")).begin()
    for number in range(1000):
        health.of(target("wild", model=f"m{number}")).begin().succeeded()
    assert len(health.snapshot()) == 50
    assert (health.of(trouble.target).state, health.of(target("b")).in_flight) == ("ejected", 1)
    busy.cancelled()
    assert len(health._circuits) == 50
    for number in range(1000):  # now all of them have a request in flight
        health.of(target("busy", model=f"m{number}")).begin()
    assert len(health.snapshot()) == 50


def test_an_outage_of_the_first_target_costs_few_calls_and_ends_soon() -> None:
    """200 requests a second for ten minutes; the first target is down from the second minute to the fifth."""
    clock = Clock()
    health = Health(clock=clock, random=Random(3), on_change=lambda standing: None)
    groups = [group("a"), group("x", *ANY)]
    wasted, served = 0, {"a": 0, "x": 0}
    for number in range(600 * 200):
        clock.now = 1000.0 + number / 200
        for member in (member for each in health.tiers(groups) for tier in each for member in tier):
            trial = health.of(member.target).begin()
            if member.name == "a" and 60 <= number / 200 < 300:
                trial.failed("server")
                wasted += 1
            else:
                trial.succeeded(0.1)
                served[member.name] += number / 200 >= 540
                break
        else:
            raise AssertionError("a request was not answered")
    assert wasted <= 5 + 6, "five to see it, and a probe each time"
    assert served == {"a": 60 * 200, "x": 0}


Step = tuple[str, int, int]

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["begin", "succeed", "cancel", "wait", *UPSTREAM_FAILURES, *sorted(HURTS)]),
        st.integers(0, 7),
        st.integers(0, 40),
    ),
    max_size=150,
)


@settings(deadline=None, max_examples=150)
@given(
    steps=STEPS, sizes=st.lists(st.integers(1, 4), min_size=1, max_size=3), pool=st.integers(1, 3), seed=st.integers()
)
def test_whatever_happens_requests_have_somewhere_to_go_and_what_recovers_comes_back(
    steps: list[Step], sizes: list[int], pool: int, seed: int
) -> None:
    clock = Clock()
    health = Health(clock=clock, random=Random(seed), on_change=lambda standing: None)
    groups = [
        Group(
            tuple(candidate(f"{number}{letter}", pool) for letter in "abcd"[:size]),
            conditions=ANY if number else None,
        )
        for number, size in enumerate(sizes)
    ]
    members = [member for each in groups for member in each.members]
    open_: list[Trial] = []
    for action, which, seconds in steps:
        member = members[which % len(members)]
        if action == "wait":
            clock.now += seconds
        elif action == "begin" or not open_:
            open_.append(health.of(member.keys[seconds % pool]).begin())
        elif action == "succeed":
            open_.pop(which % len(open_)).succeeded(0.1 * seconds)
        elif action == "cancel":
            open_.pop(which % len(open_)).cancelled()
        else:
            open_.pop(which % len(open_)).failed(action, seconds or None)  # type: ignore[arg-type]
        check(health, groups)
        assert sum(each.in_flight for each in health.snapshot()) == len(open_)
    for trial in open_:
        trial.cancelled()
    recover(health, groups, clock)


def check(health: Health, groups: list[Group]) -> None:
    """Something may be asked unless all rest; a group of which something may be asked has at most half ejected."""
    tiers = health.tiers(groups)
    asked = [[member for tier in each for member in tier] for each in tiers]
    dead = health.resting(groups)
    if dead is None or dead.failure == "rate_limit":
        assert any(asked)
    for group_, its in zip(groups, asked, strict=True):
        assert len({member.name for member in its}) == len(its), "nothing stands in two tiers"
        assert all(health.keys(member) for member in its)
        out = [each for each in group_.members if each not in its and health.resting([Group((each,))]) is None]
        assert len(out) <= len(group_.members) // 2 or not its
        if not its and out:
            assert any(other for other in asked if other is not its), "there is something else to ask"
    assert all(each.in_flight >= 0 for each in health.snapshot())


def recover(health: Health, groups: list[Group], clock: Clock) -> None:
    """All targets answer from now on: after an hour of requests all of them are in."""
    members = [member for each in groups for member in each.members]
    clock.now += 3600.0
    for _ in range(4):
        for member in members:  # one group after the other, as if the others could not be asked
            for tier in health.tiers([Group((member,))])[0]:
                for each in tier:
                    for key in health.keys(each):
                        health.of(key).begin().succeeded(1.0)
        clock.now += 15.0
    assert {each.state for each in health.snapshot()} <= {"in"}
    assert not health.troubled
    assert [names(tiers) for tiers in health.tiers(groups)] == [names([each.members]) for each in groups]


def test_models_that_callers_make_up_push_out_no_target_in_trouble() -> None:
    health = Health(on_change=lambda standing: None, kept=10)
    for _ in range(5):
        health.of(target("a")).begin().failed("server")
    for number in range(50):
        health.of(target("w", model=f"made-up-{number}")).begin().failed("no_model")
    assert health.of(target("a")).state == "ejected"
    assert len(health.snapshot()) == 10
