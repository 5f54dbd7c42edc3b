"""Candidates: the targets that a name resolved to, in the order and with the weights in which they may be tried."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

from plano.errors import UpstreamFailure
from plano.provider import Target

Algorithm: TypeAlias = Literal["weighted", "round_robin", "least_connections", "latency"]
"""How the first of several targets is chosen: by weight, in turn, by the fewest requests in flight, or the better of
two by time to first output."""


class Candidate(Struct, frozen=True):
    """A target that may be tried.

    Attributes:
        name: the name of a model by which the configuration, or the request, named it.
        keys: the target, once with each of its keys; at least one.
        key_weights: the weight of each key.
        weight: its share among the members of its group.
    """

    name: str
    keys: tuple[Target, ...]
    key_weights: tuple[float, ...] = (1.0,)
    weight: float = 1.0

    @property
    def target(self) -> Target:
        """The target with its first key."""
        return self.keys[0]


class Group(Struct, frozen=True):
    """Targets among which one is chosen.

    Attributes:
        members: at least one.
        algorithm: the way of choosing.
        conditions: the failures after which a request goes on to this group; None for the first group of a name.
    """

    members: tuple[Candidate, ...]
    algorithm: Algorithm = "weighted"
    conditions: frozenset[UpstreamFailure] | None = None


class Candidates(Struct, frozen=True):
    """Everything that may answer for a name.

    Attributes:
        name: the name that was asked for.
        groups: the primary targets, then the fallbacks in order.
        filters: whether a fallback is there for what a provider's content filter ends.
        simple: whether the first try needs no plan, because there is one primary target with one key, and what its
            content filter ends is not tried again.
    """

    name: str
    groups: tuple[Group, ...]
    filters: bool = False
    simple: bool = False

    @classmethod
    def of(cls, name: str, groups: tuple[Group, ...]) -> Candidates:
        """The candidates in these groups."""
        filters = any(group.conditions is not None and "content_filter" in group.conditions for group in groups)
        members = groups[0].members
        return cls(name, groups, filters, not filters and len(members) == 1 and len(members[0].keys) == 1)

    @property
    def first(self) -> Target:
        """The first primary target."""
        return self.groups[0].members[0].keys[0]
