"""The health of all targets and keys: which of them a request may go to.

Targets that are ejected, and those whose keys all rest, are left out while there is something else to ask:

- At most half of a group's members are left out because they are ejected; if there are more, those that have been out
  for the longest come in again.
- If nothing in a group can be asked, the request goes on to a fallback whose conditions allow it. Without one, all of
  the group counts as in, except keys without quota and with a wrong credential.
- A target that was ejected long enough comes first for one request, which probes it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import TypeAlias
from urllib.parse import urlsplit
from weakref import WeakSet, WeakValueDictionary

from msgspec import Struct

from plano.candidates import Candidate, Group
from plano.errors import UpstreamFailure
from plano.provider import Target
from plano.upstream.circuit import Circuit
from plano.upstream.standing import Standing, State

logger = logging.getLogger("plano")

KEPT = 1000
"""The most standings that are kept. Callers make up the models of wildcards."""

Tiers: TypeAlias = Sequence[Sequence[Candidate]]
"""Members of a group: those of a later tier are tried after all of the earlier ones."""


class Condition(Struct, frozen=True):
    """The condition of a target with one of its keys, for people and metrics.

    Attributes:
        place: see `Target.place`; several rows of one entry, model and key differ in it.
        entry, model, key_no: as in `Target`.
        state: see `State`.
        why: the class of the failure that led to it, None if the state is `in`.
        left: seconds until the next request may be tried; None if it may be tried now.
        in_flight: the requests that are open.
    """

    place: str
    entry: str
    model: str
    key_no: int
    state: State
    why: UpstreamFailure | None
    left: float | None
    in_flight: int


class Rest(Struct, frozen=True):
    """A rest of all keys: `failure` is the class of the failure that led to it, `left` the seconds until it ends."""

    failure: UpstreamFailure
    left: float


def log_change(standing: Standing) -> None:
    """Writes a line about a target that gets no more requests, or gets them again."""
    target, state = standing.target, standing.state
    pooled = target.place.endswith(f"#{target.key_no}") and state not in ("ejected", "ramping")
    name = f"{target.model} with key {target.key_no}" if pooled else target.model
    if state in ("in", "ramping"):
        logger.warning("%s: %s answers again", target.entry, name)
    elif state == "no_model":
        logger.warning("%s: the upstream does not know %s", target.entry, name)
    else:
        logger.warning("%s: %s is %s for %.0f s (%s)", target.entry, name, state, standing.left or 0.0, standing.why)


class Health:
    """The standings of all targets. It outlives a reload of the configuration.

    Args:
        clock: monotonic seconds.
        random: spreads the times of ejection, and decides which requests a target gets that has just come back.
        on_change: called when a target or key is left out, is unknown, or is back; not for rests of a few seconds.
        kept: the most standings that are kept.

    Attributes:
        troubled: the circuits and standings for which not all is well, or was not when they were used last.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        random: Random | None = None,
        on_change: Callable[[Standing], None] = log_change,
        kept: int = KEPT,
    ) -> None:
        self.clock = clock
        self.on_change = on_change
        self.troubled: WeakSet[object] = WeakSet()
        self._random = random or Random()
        self._kept = kept
        self._standings: dict[tuple[str, str], Standing] = {}
        self._circuits: WeakValueDictionary[tuple[str, str], Circuit] = WeakValueDictionary()

    def of(self, target: Target) -> Standing:
        """The standing of a target with its key."""
        standing = self._standings.get((target.place, target.model))
        return self._add(target) if standing is None else standing

    def load_of(self, target: Target) -> Circuit:
        """The circuit of a target, which knows how busy and how fast it is."""
        return self.of(target).circuit

    def tiers(self, groups: Sequence[Group]) -> list[Tiers]:
        """The members of each group that a request may go to now, in tiers; the module says which are left out."""
        if not self.troubled:
            return [(group.members,) for group in groups]
        now = self.clock()
        views = [self._view(group, now) for group in groups]
        return [self._tiers(number, groups, views) for number in range(len(groups))]

    def keys(self, candidate: Candidate) -> Sequence[Target]:
        """A candidate's target, with each key that may be used now. If all rest, that is the one whose rate limit ends
        first; none if no rest is for a rate limit."""
        if not self.troubled:
            return candidate.keys
        now = self.clock()
        awake = [target for target in candidate.keys if self.of(target).rests_until <= now]
        if awake:
            return awake
        limited = [target for target in candidate.keys if self.of(target).rests_for == "rate_limit"]
        return sorted(limited, key=lambda target: self.of(target).rests_until)[:1]

    def resting(self, groups: Sequence[Group]) -> Rest | None:
        """The rest that all keys of all members share; None if one of them does not rest."""
        now = self.clock()
        rests = [self._rest(member, now) for group in groups for member in group.members]
        found = [rest for rest in rests if rest is not None]
        return _joint(found) if len(found) == len(rests) else None

    def back_in(self, groups: Sequence[Group]) -> float | None:
        """Seconds until the first of the targets that are left out is back; None if there are none."""
        lefts = [self.of(key).left for group in groups for member in group.members for key in member.keys]
        return min((left for left in lefts if left is not None), default=None)

    def snapshot(self) -> list[Condition]:
        """The conditions of all targets that are known, which are those that could have been asked."""
        return [
            Condition(
                place=each.target.place,
                entry=each.target.entry,
                model=each.target.model,
                key_no=each.target.key_no,
                state=each.state,
                why=each.why,
                left=each.left,
                in_flight=each.in_flight,
            )
            for each in self._standings.values()
        ]

    def keep(self, targets: Iterable[Target]) -> None:
        """Forgets all standings but those of these targets' places, for a reload. A place that has another key or host
        now is forgotten too, because its failures were those of the old one. The target of a wildcard stands for all of
        its models."""
        marks = {target.place: _mark(target) for target in targets}
        for standing in list(self._standings.values()):
            if marks.get(standing.target.place) != _mark(standing.target):
                del self._standings[standing.target.place, standing.target.model]

    def _view(self, group: Group, now: float) -> _View:
        view = _View()
        for member in group.members:
            rest, circuit = self._rest(member, now), self.load_of(member.target)
            if rest is not None:
                view.whys.add(rest.failure)
                if rest.failure == "rate_limit":
                    view.limited.append((rest.left, member))
            elif circuit.due(now) and member.weight > 0:
                view.probes.append(member)
            elif circuit.phase == "in" or circuit.due(now) or circuit.share(now) > self._random.random():
                view.ready.append(member)
            else:
                # No condition of a fallback names broken streams.
                view.whys.add("server" if circuit.why in (None, "broken_stream") else circuit.why)
                if circuit.phase == "ramping":
                    view.ramping.append(member)
                else:
                    view.out.append((circuit.since, member))
        surplus = len(view.out) - len(group.members) // 2
        if surplus > 0 and len(view.out) < len(group.members):
            view.out.sort(key=_first)
            view.ready += [member for _, member in view.out[:surplus]]
            del view.out[:surplus]
        return view

    def _tiers(self, number: int, groups: Sequence[Group], views: Sequence[_View]) -> Tiers:
        view = views[number]
        if view.open:
            return view.probes, view.ready, view.ramping
        for other, (group, its) in enumerate(zip(groups, views, strict=True)):
            if its.open and (other < number or group.conditions is None or view.whys <= group.conditions):
                return ()
        limited = [member for _, member in sorted(view.limited, key=_first)]
        return [member for _, member in view.out] + view.ramping, *([member] for member in limited)

    def _rest(self, candidate: Candidate, now: float) -> Rest | None:
        """The rest that all keys of a candidate share."""
        rests = []
        for target in candidate.keys:
            standing = self.of(target)
            if standing.rests_until <= now or standing.rests_for is None:
                return None
            rests.append(Rest(standing.rests_for, standing.rests_until - now))
        return _joint(rests)

    def _add(self, target: Target) -> Standing:
        if len(self._standings) >= self._kept:
            del self._standings[self._least_missed()]
        # All keys of a place ask the same server. Its name ends with the key's number if there are several.
        server = (target.place.removesuffix(f"#{target.key_no}"), target.model)
        circuit = self._circuits.get(server)
        if circuit is None:
            circuit = self._circuits[server] = Circuit(self.clock, self._random, self.troubled)
        standing = self._standings[target.place, target.model] = Standing(
            target, circuit, clock=self.clock, troubled=self.troubled, on_change=self.on_change
        )
        return standing

    def _least_missed(self) -> tuple[str, str]:
        """The standing to forget: one with which nothing is lost, or else one that has only an alarm, which callers
        can cause by models that they make up."""
        known = self._standings.items()
        idle = (key for key, each in known if each.idle)
        alarmed = (key for key, each in known if each.state == "no_model" and not each.in_flight)
        return next(idle, None) or next(alarmed, None) or next(iter(self._standings))


class _View(Struct):
    """One look at a group: the members that a request may go to, and those that it is kept from, with the reasons."""

    probes: list[Candidate] = []
    ready: list[Candidate] = []
    ramping: list[Candidate] = []
    out: list[tuple[float, Candidate]] = []
    limited: list[tuple[float, Candidate]] = []
    whys: set[UpstreamFailure] = set()

    @property
    def open(self) -> bool:
        """Whether a request may go to a member."""
        return bool(self.probes or self.ready)


def _joint(rests: Sequence[Rest]) -> Rest | None:
    """The rest of several that rest: until the first is back, for the failure that is the easiest to get over."""
    failures = {rest.failure for rest in rests}
    found = next((each for each in ("rate_limit", "quota", "credential") if each in failures), None)
    return None if found is None else Rest(found, min(rest.left for rest in rests if rest.failure == found))


def _first(pair: tuple[float, Candidate]) -> float:
    return pair[0]


def _mark(target: Target) -> object:
    hosts = {urlsplit(each.url)[:2] for each in target.endpoints.values()}
    return target.key, target.proxy, target.host_header, hosts
