"""Counting requests, where nothing is left out: outermost, and only when a request is over."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from plano.errors import Kind
from plano.instruments import NONE, OPERATIONS, OTHER, Instruments
from plano.journal import Journal
from plano.pipeline import CallNext
from plano.prices import Prices
from plano.request import Request
from plano.response import Response

_UNRESOLVED = (OTHER, OTHER)
_FLAG = {True: "true", False: "false"}
_STATUS = {2: "2xx", 3: "3xx", 4: "4xx", 5: "5xx"}

_KINDS: dict[int, Kind] = {
    401: "authentication",
    403: "permission",
    404: "not_found",
    408: "timeout",
    413: "too_large",
    429: "rate_limit",
    503: "overloaded",
    504: "timeout",
    529: "overloaded",
}
"""What an upstream's own error is about, by its status."""


class Metrics:
    """Counts every request once, when its last byte is out or its client has left.

    Args:
        instruments: what to count in.
        prices: what models cost.
    """

    def __init__(self, instruments: Instruments, prices: Prices) -> None:
        self._on = instruments
        self._prices = prices
        self._links: list[str] = []

    def name_links(self, names: Sequence[str]) -> None:
        """The links of the pipeline, outermost first, once it is complete; times are counted under these names."""
        self._links = [*names, "upstream"]

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        self._on.in_flight[(request.dialect,)].inc()
        request.journal.closers.append(partial(self._over, request))
        return await call_next(request)

    def _over(self, request: Request) -> None:
        on, journal = self._on, request.journal
        target = journal.target
        place = _UNRESOLVED if target is None else (target.provider.name, target.entry)
        upstream = journal.upstream_dialect or NONE
        outcome = journal.outcome or "failed"
        stream = _FLAG[request.stream]
        on.in_flight[(journal.dialect,)].dec()
        on.requests[
            (journal.dialect, request.operation, *place, upstream, stream, _status_class(journal), outcome)
        ].inc()
        operation = OPERATIONS[request.operation]
        model = (operation, *place)
        ended = journal.ended or journal.started
        on.duration[(*model, _error_type(journal))].observe(ended - journal.started)
        if outcome == "aborted":
            on.aborts[(journal.dialect, *place, "during_reply" if journal.bytes_out else "before_reply")].inc()
        else:
            self._count_times(journal, (journal.dialect, upstream, stream), ended)
        if request.stream and journal.status < 400:
            self._count_tokens_times(journal, model)
        if journal.usage is not None:
            self._count_usage(journal, model, place)
        if journal.failures:
            for failed, how in journal.failures:
                on.upstream_errors[(failed.provider.name, failed.entry, how)].inc()
        if journal.store_failed:
            on.not_stored[(journal.dialect,)].inc()
        if journal.losses:
            for loss in journal.losses:
                on.losses[(journal.dialect, upstream, loss.field)].inc()

    def _count_times(self, journal: Journal, key: tuple[str, str, str], ended: float) -> None:
        """What was plano's own. Requests that were never read in full say nothing of it."""
        if journal.received is not None:
            waited = journal.waited + journal.waited_in_stream + journal.sending
            self._on.overhead[key].observe(max(0.0, ended - journal.received - waited))
        children, spent = self._on.filter_seconds, journal.spent
        last = len(self._links) - 1
        for position, name in enumerate(self._links):
            inclusive = spent.get(position)
            if inclusive is None:
                break
            below = spent.get(position + 1, 0.0) if position < last else journal.waited
            children[(name,)].inc(max(0.0, inclusive - below))

    def _count_tokens_times(self, journal: Journal, model: tuple[str, str, str]) -> None:
        first = journal.first_token or journal.first_piece
        if first is None:
            return
        self._on.first_token[model].observe(first - journal.started)
        usage = journal.usage
        if journal.outcome == "completed" and journal.last_piece is not None and usage is not None:
            following = usage.output_tokens - 1
            if following > 0 and not journal.estimated:
                self._on.per_token[model].observe((journal.last_piece - first) / following)

    def _count_usage(self, journal: Journal, model: tuple[str, str, str], place: tuple[str, str]) -> None:
        usage, estimated, tokens = journal.usage, journal.estimated, self._on.tokens
        assert usage is not None, "asked before"
        tokens[(*model, "input", _FLAG["input" in estimated])].observe(usage.input_tokens)
        if usage.output_tokens or model[0] != "embeddings":
            tokens[(*model, "output", _FLAG["output" in estimated])].observe(usage.output_tokens)
        if usage.cached_tokens:
            tokens[(*model, "cached_input", "false")].observe(usage.cached_tokens)
        if usage.cache_creation_tokens:
            tokens[(*model, "cache_creation", "false")].observe(usage.cache_creation_tokens)
        if usage.reasoning_tokens:
            tokens[(*model, "reasoning", "false")].observe(usage.reasoning_tokens)
        if estimated:
            self._on.usage_missing[place].inc()
        if self._prices and journal.target is not None:
            price = self._prices.of(journal.target)
            if price is not None:
                self._on.cost[(*place, _FLAG[bool(estimated)])].inc(price.of(usage))


def _status_class(journal: Journal) -> str:
    """That of what the client got to see: nothing, if it left before the first byte."""
    if journal.outcome == "aborted" and not journal.bytes_out:
        return NONE
    return _STATUS.get(journal.status // 100, NONE)


def _error_type(journal: Journal) -> str:
    """What went wrong, or "" where nothing did."""
    if journal.outcome == "aborted":
        return "aborted"
    if journal.error is not None:
        return journal.error.kind
    if journal.status < 400:
        return "upstream" if journal.outcome == "failed" else ""
    return _KINDS.get(journal.status, "invalid_request" if journal.status < 500 else "upstream")
