"""The order in which several targets, or several keys of one, are tried for a request."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf, log
from random import Random
from typing import Protocol, TypeVar

from plano.candidates import Algorithm, Candidate
from plano.provider import Target

T = TypeVar("T")


class Load(Protocol):
    """The facts about a target's work that decide between it and others.

    Attributes:
        in_flight: the requests that are open at it.
        picked: the number of its last turn; the balance writes it.
    """

    in_flight: int
    picked: int

    def expected(self) -> float:
        """Seconds to the first output; 0 if it should be found out, infinite while it is being found out."""


class Balance:
    """Puts targets and keys into the order in which they should be tried.

    Args:
        load_of: gives the load of a target, which all of its keys share.
        random: the source of all choices.
    """

    def __init__(self, load_of: Callable[[Target], Load], random: Random | None = None) -> None:
        self._load_of = load_of
        self._random = random or Random()
        self._orders: dict[Algorithm, Callable[[Sequence[Candidate]], list[Candidate]]] = {
            "weighted": self._weighted,
            "round_robin": self._round_robin,
            "least_connections": self._least_connections,
            "latency": self._latency,
        }

    def order(
        self, algorithm: Algorithm, tiers: Sequence[Sequence[Candidate]], prefer: str | None = None
    ) -> list[Candidate]:
        """The members of a group, the best first. Those with weight 0 come last.

        Args:
            algorithm: the way of choosing within a tier.
            tiers: the members, those that should be tried first in the first tier.
            prefer: the place of the target that answered the session before; it comes first if it is among them.
        """
        if len(tiers) == 1 and len(tiers[0]) == 1:
            return list(tiers[0])
        found: list[Candidate] = []
        for tier in tiers:
            found += self._orders[algorithm](tier) if len(tier) > 1 else tier
        found.sort(key=_unwanted)
        if prefer is not None:
            found.sort(key=lambda member: all(target.place != prefer for target in member.keys))
        if found and algorithm == "round_robin":
            loads = [self._load_of(member.target) for member in found]
            loads[0].picked = 1 + max(load.picked for load in loads)
        return found

    def keys(self, candidate: Candidate, usable: Sequence[Target], prefer: str | None = None) -> Sequence[Target]:
        """A candidate's target with its usable keys, the first chosen by weight, or because a session has used it."""
        if len(usable) < 2:
            return usable
        weights = candidate.key_weights
        found = self._by_weight([(weights[target.key_no], target) for target in usable])
        if prefer is not None:
            found.sort(key=lambda target: target.place != prefer)
        return found

    def _by_weight(self, weighted: Sequence[tuple[float, T]]) -> list[T]:
        """A random order in which each comes first as often as its weight says (Efraimidis and Spirakis, "Weighted
        random sampling with a reservoir"). Those with weight 0 come last."""
        random = self._random.random
        drawn = [(-log(1.0 - random()) / weight if weight > 0 else inf, each) for weight, each in weighted]
        drawn.sort(key=_draw)
        return [each for _, each in drawn]

    def _weighted(self, members: Sequence[Candidate]) -> list[Candidate]:
        return self._by_weight([(member.weight, member) for member in members])

    def _round_robin(self, members: Sequence[Candidate]) -> list[Candidate]:
        return sorted(members, key=lambda member: self._load_of(member.target).picked)

    def _least_connections(self, members: Sequence[Candidate]) -> list[Candidate]:
        return self._ranked(
            members,
            lambda member: (self._load_of(member.target).in_flight + 1) / member.weight if member.weight > 0 else inf,
        )

    def _latency(self, members: Sequence[Candidate]) -> list[Candidate]:
        """The better of two that are drawn comes first, so that not all go to the one that was the fastest a moment
        ago (Mitzenmacher, "The power of two choices in randomized load balancing")."""
        ranked = self._ranked(members, self._expected)
        wanted = [number for number, member in enumerate(ranked) if member.weight > 0]
        if len(wanted) > 2 and self._expected(ranked[0]) > 0:
            ranked.insert(0, ranked.pop(min(self._random.sample(wanted, 2))))
        return ranked

    def _expected(self, member: Candidate) -> float:
        return self._load_of(member.target).expected()

    def _ranked(self, members: Sequence[Candidate], cost: Callable[[Candidate], float]) -> list[Candidate]:
        """The cheapest first, in random order where they are equal."""
        drawn = list(members)
        self._random.shuffle(drawn)
        drawn.sort(key=cost)
        return drawn


def _unwanted(member: Candidate) -> bool:
    return member.weight <= 0


def _draw(drawn: tuple[float, object]) -> float:
    return drawn[0]
