"""Chooses among targets, by their health, their load and their weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from plano.candidates import Candidate, Group
from plano.errors import PlanoError, UpstreamFailure, UpstreamRefusedKey, UpstreamStatus
from plano.limits.admission import EntrySlots
from plano.provider import Target
from plano.routing.balance import Balance
from plano.upstream.breaker import Health, Tiers
from plano.upstream.standing import Trial


class Choosing:
    """The health of targets together with the balance among them. It outlives a reload of the configuration.

    Args:
        health: which targets may be asked.
        slots: the requests that entries may have at once.
        share: the share of a target's requests that may be repeated at it.

    Attributes:
        unrepeated: the repetitions that retry budgets did not allow, by provider and entry.
    """

    def __init__(self, health: Health, slots: EntrySlots, share: float) -> None:
        self.health = health
        self.slots = slots
        self.share = share
        self.unrepeated: Counter[tuple[str, str]] = Counter()
        self._balance = Balance(health.load_of)

    @property
    def all_well(self) -> bool:
        """Whether no target is, or was a short time ago, in trouble."""
        return not self.health.troubled

    def tiers(self, groups: Sequence[Group]) -> list[Tiers]:
        """The members of each group that may be tried now; see `Health.tiers`."""
        return self.health.tiers(groups)

    def order(self, group: Group, tiers: Tiers) -> list[Candidate]:
        """The members of a group, best first."""
        return self._balance.order(group.algorithm, tiers)

    def cause(self, group: Group) -> UpstreamFailure:
        """The failure for which the members of a group are left out."""
        whys = [self.health.of(key).why for member in group.members for key in member.keys]
        known: list[UpstreamFailure] = [why for why in whys if why is not None and why != "broken_stream"]
        return known[0] if known else "server"

    def keys(self, candidate: Candidate) -> list[Target]:
        """A candidate with those of its keys that may be used now, best first."""
        return list(self._balance.keys(candidate, self.health.keys(candidate)))

    def begin(self, target: Target, *, again: bool) -> Trial:
        """Counts an attempt that is sent now."""
        standing = self.health.of(target)
        if not again:
            standing.circuit.budget.earn(self.share)
        return standing.begin()

    def may_repeat(self, target: Target) -> bool:
        """Takes one repetition out of the target's retry budget. Returns whether there was one."""
        allowed = self.health.load_of(target).budget.take()
        if not allowed:
            self.unrepeated[target.provider.name, target.entry] += 1
        return allowed

    def refusal(self, groups: Sequence[Group]) -> PlanoError:
        """The error if all keys rest, so that no target can be asked."""
        rest = self.health.resting(groups)
        name = groups[0].members[0].target.name
        if rest is not None and rest.failure != "credential":
            return UpstreamStatus(
                f"The gateway's account has no quota left for {name}.",
                status=429,
                kind="rate_limit",
                code="insufficient_quota",
                retry_after=rest.left,
            )
        return UpstreamRefusedKey(
            f"The gateway's credentials for {name} were refused a short time ago. Fix the gateway's configuration; "
            "your request is fine."
        )
