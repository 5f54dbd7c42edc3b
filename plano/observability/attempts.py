"""Counts the attempts of finished requests: those that failed, were repeated or broken off, and what they cost."""

from __future__ import annotations

from plano.attempt import Attempt
from plano.journal import Journal
from plano.observability.instruments import OTHER, Instruments
from plano.observability.prices import Prices
from plano.operations import OPERATIONS
from plano.provider import Target
from plano.request import Request

FLAG = {True: "true", False: "false"}


class AttemptCounts:
    """Counts all attempts of a request, and what else the loop that makes them has noted.

    It is not needed for a request whose only attempt answered without the loop.

    Args:
        instruments: the metrics.
        prices: the prices of models.
    """

    def __init__(self, instruments: Instruments, prices: Prices) -> None:
        self._on = instruments
        self._prices = prices

    def count(self, request: Request) -> None:
        """Count a request that is over."""
        on, journal = self._on, request.journal
        gen_ai = OPERATIONS[request.operation].gen_ai
        for number, attempt in enumerate(journal.attempts):
            on.attempts[(*_place(attempt.target), attempt.outcome)].inc()
            if number and attempt.because is not None:
                on.retries[(attempt.because,)].inc()
            if attempt is not journal.answer:
                self._count_usage(gen_ai, attempt)
        if journal.moved is not None:
            on.fallbacks[(_first(journal), _place(journal.target)[1], journal.moved)].inc()
        if journal.limited_by is not None and journal.limited_for is not None:
            on.limited[(journal.limited_by, journal.limited_for)].inc()
        for hedge in journal.hedges:
            on.hedges[(hedge,)].inc()
        first = journal.answer.first_piece
        if request.stream and journal.committed is not None and first is not None:
            on.hold[()].observe(max(0.0, journal.committed - first))

    def _count_usage(self, gen_ai: str, attempt: Attempt) -> None:
        """Count the tokens and the cost of an attempt that did not answer."""
        usage, target = attempt.said(), attempt.target
        if usage is None or target is None or not (usage.input_tokens or usage.output_tokens):
            return
        place, tokens = _place(target), self._on.tokens
        for kind, count in (
            ("input", usage.input_tokens),
            ("output", usage.output_tokens),
            ("cached_input", usage.cached_tokens),
            ("cache_creation", usage.cache_creation_tokens),
            ("reasoning", usage.reasoning_tokens),
        ):
            if count:
                tokens[(gen_ai, *place, kind, FLAG[kind in usage.estimated])].observe(count)
        price = self._prices.of(target)
        if price is not None:
            self._on.cost[(*place, FLAG[bool(usage.estimated)])].inc(price.of(usage))


def _place(target: Target | None) -> tuple[str, str]:
    return (OTHER, OTHER) if target is None else (target.provider.name, target.entry)


def _first(journal: Journal) -> str:
    """The entry that was asked first, or would have been."""
    first = journal.attempts[0].target if len(journal.attempts) > 1 else journal.resolved
    return _place(first)[1]
