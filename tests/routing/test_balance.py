"""The order in which targets and keys are tried."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import inf
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plano.candidates import Algorithm, Candidate
from plano.provider import Provider, Target
from plano.routing.balance import Balance

PROVIDER = Provider(name="acme", base_url="http://acme.test", paths={"chat": "/chat/completions"})
ALGORITHMS: tuple[Algorithm, ...] = ("weighted", "round_robin", "least_connections", "latency")


class Load:
    def __init__(self, in_flight: int = 0, expected: float = 0.0) -> None:
        self.in_flight = in_flight
        self.picked = 0
        self.seconds = expected

    def expected(self) -> float:
        return self.seconds


def target(place: str, key_no: int = 0) -> Target:
    return Target(
        provider=PROVIDER,
        model="m",
        name="acme/m",
        entry=place,
        dialects=("chat",),
        endpoints={},
        place=place,
        key_no=key_no,
    )


def candidate(name: str, weight: float = 1.0) -> Candidate:
    return Candidate(name, (target(name),), weight=weight)


def candidates(weights: dict[str, float]) -> list[Candidate]:
    return [candidate(name, weight) for name, weight in weights.items()]


def balance(loads: dict[str, Load] | None = None, seed: int = 7) -> Balance:
    known = {} if loads is None else loads
    return Balance(lambda target: known.setdefault(target.entry, Load()), Random(seed))


def firsts(
    its: Balance, algorithm: Algorithm, members: Sequence[Candidate], times: int, prefer: str | None = None
) -> Counter[str]:
    return Counter(its.order(algorithm, [members], prefer)[0].name for _ in range(times))


def named(members: Sequence[Candidate]) -> str:
    return "".join(member.name for member in members)


@pytest.mark.parametrize(
    "weights",
    [{"a": 80, "b": 20}, {"a": 1, "b": 1}, {"a": 0.5, "b": 0.3, "c": 0.2}, {"a": 1, "b": 0}, {"a": 5, "b": 0, "c": 5}],
)
def test_weights_are_shares_of_the_requests(weights: dict[str, float]) -> None:
    members = candidates(weights)
    found = firsts(balance(), "weighted", members, 10_000)
    for name, weight in weights.items():
        assert found[name] == pytest.approx(10_000 * weight / sum(weights.values()), abs=200 if weight else 0)


def test_the_others_follow_by_their_weights_too() -> None:
    its, members = balance(), candidates({"a": 1_000_000, "b": 3, "c": 1})
    seconds = Counter(its.order("weighted", [members])[1].name for _ in range(10_000))
    assert seconds["b"] == pytest.approx(7500, abs=200)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_weight_zero_means_only_if_nothing_else_is_left(algorithm: Algorithm) -> None:
    its = balance()
    for _ in range(100):
        assert named(its.order(algorithm, [candidates({"z": 0, "a": 1, "b": 1})]))[-1] == "z"
        assert named(its.order(algorithm, [candidates({"z": 0}), candidates({"a": 1})])) == "az"
        assert sorted(named(its.order(algorithm, [candidates({"y": 0, "z": 0})]))) == ["y", "z"]


def test_turns_go_round_and_each_group_has_its_own() -> None:
    its = balance()
    group, other = candidates({"a": 1, "b": 9, "c": 1}), candidates({"x": 1, "y": 1})
    assert "".join(named(its.order("round_robin", [group]))[0] for _ in range(7)) == "abcabca"
    assert (
        "".join(
            named(its.order("round_robin", [group]))[0] + named(its.order("round_robin", [other]))[0] for _ in range(4)
        )
        == "bxcyaxby"
    )


def test_turns_go_round_among_those_that_are_there() -> None:
    its, members = balance(), candidates({"a": 1, "b": 1, "c": 1})
    assert "".join(named(its.order("round_robin", [members[::2]]))[0] for _ in range(4)) == "acac"
    assert "".join(named(its.order("round_robin", [members]))[0] for _ in range(4)) == "bacb"


def test_turns_go_on_after_a_reload() -> None:
    loads: dict[str, Load] = {}
    members = candidates({"a": 1, "b": 1, "c": 1})
    turns = "".join(named(balance(loads).order("round_robin", [members]))[0] for _ in range(6))
    assert turns == "abcabc"


@pytest.mark.parametrize(
    ("in_flight", "weights", "order"),
    [
        ({"a": 3, "b": 1, "c": 2}, {}, "bca"),
        ({"a": 7, "b": 4}, {"a": 2}, "ab"),
        ({"a": 9, "b": 4}, {"a": 2.1}, "ab"),
        ({"a": 0, "b": 0}, {"a": 2}, "ab"),
        ({"a": 50, "b": 0, "z": 0}, {"z": 0}, "baz"),
    ],
)
def test_the_fewest_in_flight_by_weight_come_first(
    in_flight: dict[str, int], weights: dict[str, float], order: str
) -> None:
    its = balance({name: Load(count) for name, count in in_flight.items()})
    members = [candidate(name, weights.get(name, 1.0)) for name in in_flight]
    assert named(its.order("least_connections", [members])) == order


@pytest.mark.parametrize("algorithm", ["least_connections", "latency"])
def test_equal_ones_share_the_requests(algorithm: Algorithm) -> None:
    found = firsts(balance(), algorithm, candidates({"a": 1, "b": 1, "c": 1}), 3000)
    assert all(count == pytest.approx(1000, abs=120) for count in found.values())


@pytest.mark.parametrize(
    ("seconds", "first"),
    [
        ({"a": 0.3, "b": 3.0}, {"a": 1.0}),
        ({"a": 0.3, "b": 0.0}, {"b": 1.0}),
        ({"a": 0.3, "b": inf}, {"a": 1.0}),
        ({"a": 0.3, "b": 1.0, "c": 2.0}, {"a": 2 / 3, "b": 1 / 3}),
        ({"a": 0.3, "b": 1.0, "c": 2.0, "d": inf}, {"a": 3 / 6, "b": 2 / 6, "c": 1 / 6}),
        ({"a": 0.3, "b": 1.0, "c": 2.0, "d": 0.0}, {"d": 1.0}),
    ],
)
def test_the_faster_of_two_comes_first_and_unknown_ones_are_found_out(
    seconds: dict[str, float], first: dict[str, float]
) -> None:
    its = balance({name: Load(expected=each) for name, each in seconds.items()})
    found = firsts(its, "latency", candidates(dict.fromkeys(seconds, 1.0)), 6000)
    assert found == pytest.approx({name: 6000 * share for name, share in first.items()}, abs=200)


def test_after_the_first_the_fastest_follow() -> None:
    its = balance({name: Load(expected=each) for name, each in {"a": 0.3, "b": 1.0, "c": 2.0}.items()})
    orders = {named(its.order("latency", [candidates({"c": 1, "b": 1, "a": 1})])) for _ in range(100)}
    assert orders == {"abc", "bac"}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_sessions_target_comes_first_if_it_is_among_them(algorithm: Algorithm) -> None:
    its, members = balance(), candidates({"a": 1, "b": 1, "c": 100})
    assert firsts(its, algorithm, members, 100, prefer="b") == {"b": 100}
    assert set(firsts(its, algorithm, members, 300, prefer="elsewhere")) >= {"c"}
    assert named(its.order(algorithm, [members[:1], members[1:2]], "b")) == "ba"


def pool(*weights: float) -> Candidate:
    return Candidate("p", tuple(target(f"p#{number}", number) for number in range(len(weights))), weights)


def test_keys_are_chosen_by_weight_among_those_that_may_be_used() -> None:
    its, keys = balance(), pool(1, 2, 1)
    found = Counter(its.keys(keys, keys.keys)[0].key_no for _ in range(8000))
    assert found == pytest.approx({0: 2000, 1: 4000, 2: 2000}, abs=200)
    found = Counter(its.keys(keys, [keys.keys[0], keys.keys[1]])[0].key_no for _ in range(6000))
    assert found == pytest.approx({0: 2000, 1: 4000}, abs=200)
    assert [key.key_no for key in its.keys(pool(0, 1), pool(0, 1).keys)] == [1, 0]
    assert its.keys(keys, ()) == ()


def test_a_sessions_key_comes_first_and_so_does_its_target() -> None:
    its, keys = balance(), pool(1, 1000, 1)
    assert {its.keys(keys, keys.keys, "p#2")[0].key_no for _ in range(50)} == {2}
    assert named(its.order("weighted", [[candidate("a", 1000), keys]], "p#2")) == "pa"


@given(
    algorithm=st.sampled_from(ALGORITHMS),
    tiers=st.lists(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9), st.floats(0, 9)), max_size=4), max_size=3),
    prefer=st.sampled_from([None, "0.0", "1.1", "nowhere"]),
    seed=st.integers(0, 999),
)
def test_every_member_stands_in_the_order_once_and_chance_is_the_generators(
    algorithm: Algorithm, tiers: list[list[tuple[int, int, float]]], prefer: str | None, seed: int
) -> None:
    loads: dict[str, Load] = {}
    members: list[list[Candidate]] = []
    for number, tier in enumerate(tiers):
        members.append([])
        for place, (weight, in_flight, seconds) in enumerate(tier):
            members[-1].append(candidate(f"{number}.{place}", float(weight)))
            loads[f"{number}.{place}"] = Load(in_flight, seconds)
    found, again = (balance(loads, seed).order(algorithm, members, prefer) for _ in range(2))
    assert sorted(each.name for each in found) == sorted(loads)
    rank = {each.name: number for number, tier in enumerate(members) for each in tier}
    rest = [(each.weight == 0, rank[each.name]) for each in found if each.name != prefer]
    assert rest == sorted(rest)
    assert algorithm == "round_robin" or found == again
