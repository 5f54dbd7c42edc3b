"""How much of each budget is used, by the subject that has used most of it."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct


class _Use(Struct, frozen=True):
    subject: str
    share: float
    until: float


class Used:
    """Knows one subject of each budget. Another one takes its place by a larger share, or when its period is over.

    All times are Unix seconds.
    """

    def __init__(self) -> None:
        self._uses: dict[str, _Use] = {}

    def note(self, budget: str, subject: str, share: float, *, now: float, until: float) -> None:
        """Take in what a decision found.

        Args:
            share: the share of the budget that is spent or reserved.
            until: when nothing of it is used any more, unless more requests come.
        """
        known = self._uses.get(budget)
        if known is None or subject == known.subject or share >= known.share or now >= known.until:
            self._uses[budget] = _Use(subject, share, until)

    def shares(self, now: float) -> Mapping[str, float]:
        """The largest share of each budget; 0 where its period is over."""
        return {budget: use.share if now < use.until else 0.0 for budget, use in self._uses.items()}
