"""A grant: what limits let a request have, until it is settled by what the request used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from plano.conversation import Usage
from plano.journal import Journal
from plano.limits.cells import Cell, Lease, Rate, Sum
from plano.limits.measures import Measure
from plano.limits.needs import Price
from plano.limits.upkeep import Upkeep

_NOTHING_USED = Usage()


class Grant:
    """The cells that one request, or one attempt of it, took from its limits.

    Args:
        taken: the cells that were taken, each with its measure; none of those that are never given back.
        journal: the request's record, which is told what was reserved and settled.
        upkeep: looks after the cells; None if there are none.
        price: the price of the attempt's target, where dollars are counted.

    Attributes:
        holds: whether it has places to give back.
        reserves: whether it has anything to settle.
    """

    __slots__ = ("_journal", "_leases", "_price", "_upkeep", "_used", "holds", "reserves")

    def __init__(
        self,
        taken: Sequence[tuple[Measure, Cell]],
        journal: Journal,
        upkeep: Upkeep | None,
        price: Price | None = None,
    ) -> None:
        self._journal = journal
        self._upkeep = upkeep
        self._price = price
        self._leases: list[Lease] = []
        self._used: list[tuple[Measure, Rate | Sum]] = []
        for measure, cell in taken:
            if isinstance(cell, Lease):
                self._leases.append(cell)
            else:
                self._used.append((measure, cell))
        self.holds = bool(self._leases)
        self.reserves = bool(self._used)
        if upkeep is not None and self._leases:
            upkeep.hold(self._leases)
        if self._used:
            self._note_reserved()

    def settle(self, usage: Usage | None) -> None:
        """Put what was used in the place of what was reserved; None for nothing, which gives all of it back but the
        request itself. Only the first call counts. It may come in any thread."""
        if not self.reserves or self._upkeep is None:
            return
        self.reserves = False
        used = _NOTHING_USED if usage is None else usage
        corrections = []
        for measure, cell in self._used:
            difference = measure.amount(used, self._price) - cell.cost
            if difference or isinstance(cell, Sum):  # a budget counts its running requests: it is told of each
                corrections.append((cell, difference))
        self._upkeep.settle(corrections)
        self._note_settled(used)

    async def release(self) -> None:
        """Give back the places that it holds. To call this again changes nothing."""
        leases, self._leases = self._leases, []
        self.holds = False
        if leases and self._upkeep is not None:
            self._upkeep.release(leases)

    def _note_reserved(self) -> None:
        most = dict(self._journal.reserved or _NONE)
        for measure, cell in self._used:
            kind = "dollars" if measure.counts == "dollars" else "tokens"
            if cell.cost > most[kind]:
                most[kind] = cell.cost
        self._journal.reserved = most

    def _note_settled(self, used: Usage) -> None:
        before = self._journal.settled or _NONE
        total = used_by(self._journal)
        self._journal.settled = {
            "tokens": 0 if total is None else total.input_tokens + total.output_tokens,
            "dollars": before["dollars"] + (0.0 if self._price is None else self._price.of(used)),
        }


NOTHING = Grant((), Journal(), None)
"""The grant of a request that holds nothing and has nothing to settle."""

_NONE: Mapping[str, float] = {"tokens": 0, "dollars": 0.0}


def used_by(journal: Journal) -> Usage | None:
    """The tokens that all attempts of a request used; None if none used any."""
    attempts = journal.attempts
    if len(attempts) == 1:
        return attempts[0].said()
    found = [usage for attempt in attempts if (usage := attempt.said()) is not None]
    if not found:
        return None
    return Usage(
        input_tokens=sum(usage.input_tokens for usage in found),
        output_tokens=sum(usage.output_tokens for usage in found),
    )
