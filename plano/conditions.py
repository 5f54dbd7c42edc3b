"""The conditions of targets, limits and shared state, which metrics, `/readyz` and the page at `/ui` tell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any, Protocol, runtime_checkable

from plano.candidates import Candidate, Group
from plano.config import Config
from plano.limits.cells import Counts
from plano.limits.judge import Judge
from plano.observability.access import masked
from plano.observability.instruments import OTHER, Instruments
from plano.routing.models import Entry, ModelIndex
from plano.upstream.breaker import Condition
from plano.upstream.choosing import Choosing
from plano.upstream.standing import STATES

MOST_TOLD = 100
"""The most targets that are told. Callers make up the models of wildcards."""

_AMOUNTS = ("requests", "tokens", "input_tokens", "output_tokens", "in_flight")


@runtime_checkable
class SharedCounts(Protocol):
    """Counts that several processes share.

    Attributes:
        failures: the decisions that were made without the shared state, by what holds meanwhile.
    """

    failures: Mapping[str, int]

    @property
    def degraded(self) -> bool: ...

    async def ready(self) -> bool:
        """Whether requests can be taken."""
        ...


class Conditions:
    """Reads the health of targets, what is used of budgets, and whether shared state answers.

    Args:
        instruments: its gauges are set before each scrape.
        choosing: knows the health of targets.
        counts: what limits count in.
    """

    def __init__(self, instruments: Instruments, choosing: Choosing, counts: Counts) -> None:
        self._on = instruments
        self._choosing = choosing
        self._shared = counts if isinstance(counts, SharedCounts) else None
        self._judge: Judge | None = None
        self._providers: dict[str, str] = {}
        self._seen: set[str] = set()
        instruments.allow("condition", [(state,) for state in STATES])
        if self._shared is not None:
            instruments.allow("mode", [(mode,) for mode in self._shared.failures])
            instruments.begin("unshared", [(mode,) for mode in self._shared.failures])
        instruments.before_scrape(self._refresh)

    def serve(self, config: Config, entries: Sequence[Entry], models: ModelIndex, judge: Judge | None) -> None:
        """Takes in the entries, aliases and limits of a configuration. The series of earlier ones stay."""
        self._judge = judge
        places = {entry.name: entry.provider.name for entry in entries}
        self._providers |= places
        limits = list(_limits(config))
        self._on.allow("move", _moves(config, models))
        self._on.allow("limit", limits)
        self._on.allow("budget", [(budget.name,) for budget in config.budgets])
        self._on.begin("limited", limits)
        self._on.begin("unrepeated", [(provider, entry) for entry, provider in places.items()])

    def told(self) -> list[dict[str, Any]]:
        """The targets that are not in order, as `/readyz` tells them."""
        return [_told(each) for each in self._all() if each.state != "in"][:MOST_TOLD]

    def shown(self) -> list[dict[str, Any]]:
        """All targets that plano watches, for operators; those that are not in order come first."""
        found = sorted(self._all(), key=lambda each: each.state == "in")[:MOST_TOLD]
        return [{**_told(each), "place": masked(each.place), "in_flight": each.in_flight} for each in found]

    async def shared_state(self) -> tuple[bool, str]:
        """Whether requests can be taken, and whether shared state is `reachable`, `degraded` or `none`."""
        if self._shared is None:
            return True, "none"
        ready = await self._shared.ready()
        return ready, "degraded" if self._shared.degraded else "reachable"

    def _all(self) -> list[Condition]:
        return self._choosing.health.snapshot()

    def _refresh(self) -> None:
        on = self._on
        states = Counter((each.entry, each.state) for each in self._all())
        self._seen |= {entry for entry, _ in states}
        for entry, state in product(self._seen, STATES):
            on.target_states[(self._providers.get(entry, OTHER), entry, state)].set(states[entry, state])
        for place, count in list(self._choosing.unrepeated.items()):
            on.unrepeated[place].set(count)
        if self._judge is not None:
            for budget, share in self._judge.used.items():
                on.budgets[(budget,)].set(share)
        if self._shared is not None:
            for mode, count in self._shared.failures.items():
                on.unshared[(mode,)].set(count)


def _told(condition: Condition) -> dict[str, Any]:
    """A target's condition as JSON. A model's name that a caller made up is shortened and masked."""
    return {
        "entry": condition.entry,
        "model": masked(condition.model),
        "key_no": condition.key_no,
        "state": condition.state,
        "why": condition.why,
        "seconds": None if condition.left is None else round(condition.left, 1),
    }


def _limits(config: Config) -> Iterator[tuple[str, str]]:
    """The names of limits, each with the reasons for which it may refuse."""
    for rule in config.rules:
        yield from ((rule.name, amount) for amount in _AMOUNTS if getattr(rule, amount) is not None)
    for budget in config.budgets:
        yield from ((budget.name, reason) for reason in ("budget_spent", "budget_reserved"))
    if config.admission.max_in_flight is not None or config.admission.per_tenant is not None:
        yield "admission", "admission"
    if any(entry.max_in_flight is not None for entry in config.providers):
        yield "max_in_flight", "target_full"


def _moves(config: Config, models: ModelIndex) -> set[tuple[str, str]]:
    """The pairs of entries between which a request may move by the configuration. Those that a client's own
    `fallbacks` add are counted as `other`."""
    found = set()
    for alias in models.aliases():
        groups = models.groups(alias)
        for one, other in product(groups[0].members, _members(groups)):
            if one is not other:
                found.add((one.target.entry, other.target.entry))
    for budget in config.budgets:
        if budget.fallback is not None:
            goals = _members(models.groups(budget.fallback))
            found |= {(entry.name, goal.target.entry) for entry, goal in product(config.providers, goals)}
    return found


def _members(groups: Sequence[Group]) -> list[Candidate]:
    return [member for group in groups for member in group.members]
