"""Counts requests. It is the outermost link, so that it sees every request, and counts when a request is over."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

from plano.attempt import NOT_ASKED
from plano.conversation import Usage
from plano.errors import Kind
from plano.journal import Journal
from plano.observability.attempts import FLAG, AttemptCounts
from plano.observability.instruments import NONE, OTHER, Instruments
from plano.observability.prices import Prices
from plano.observability.series import Number
from plano.operations import OPERATIONS
from plano.pipeline import CallNext
from plano.request import Request
from plano.response import Response
from plano.types import CLIENT_DIALECTS

Count: TypeAlias = Callable[[float], None]

Place: TypeAlias = tuple[str, str]
"""The names of a provider and of an entry."""

_FOLD = 256
"""The number of requests after which observed values are sorted into their bins."""

_UNRESOLVED: Place = (OTHER, OTHER)

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
"""The kind of an upstream's own error, by status."""


class _Tally:
    """The series in which requests of one kind are counted; they are looked up once for all of them."""

    __slots__ = (
        "answered",
        "duration",
        "first_token",
        "input",
        "model",
        "output",
        "overhead",
        "per_token",
        "place",
        "requests",
    )

    def __init__(self, on: Instruments, request: Request, journal: Journal, outcome: str, error: str) -> None:
        target = journal.target
        upstream = journal.upstream_dialect or NONE
        stream = FLAG[request.stream]
        place = self.place = _UNRESOLVED if target is None else (target.provider.name, target.entry)
        model = self.model = (OPERATIONS[request.operation].gen_ai, *place)
        result = (_status_class(journal), outcome)
        self.requests: Number = on.requests[(journal.dialect, request.operation, *place, upstream, stream, *result)]
        answered = journal.answer is not NOT_ASKED
        self.answered: Number = on.attempts[(*place, "answered")] if answered else Number()
        self.duration = on.duration[(*model, error)].observe
        self.overhead = on.overhead[(journal.dialect, upstream, stream)].observe
        self.first_token = on.first_token[model].observe if request.stream else None
        self.per_token = on.per_token[model].observe if request.stream else None
        self.input: Count | None = None
        self.output: Count | None = None


class Metrics:
    """Counts every request once, when its last byte is out or its client has left.

    Args:
        instruments: the metrics.
        prices: the prices of models.
    """

    def __init__(self, instruments: Instruments, prices: Prices) -> None:
        self._on = instruments
        self._prices = prices
        self._attempts = AttemptCounts(instruments, prices)
        self._tallies: dict[tuple[object, ...], _Tally] = {}
        self._in_flight = dict.fromkeys(CLIENT_DIALECTS, 0)
        self._links: list[str] = []
        self._spent: list[float] = []
        self._reported: list[float] = []
        self._unfolded = 0
        self._closers = (self._over,)
        instruments.before_scrape(self._flush)

    def time_links(self, names: Sequence[str]) -> list[float]:
        """Takes the names of all links of the pipeline, outermost first, under which their times are counted. Returns
        the list in which `plano.pipeline.fold` adds the times up."""
        self._flush()
        self._tallies.clear()  # they count for entries of the configuration before
        self._links = [*names, "upstream"]
        self._spent = [0.0] * (len(self._links) + 1)
        self._reported = [0.0] * len(self._links)
        return self._spent

    def __call__(self, request: Request, call_next: CallNext) -> Awaitable[Response]:
        self._in_flight[request.journal.dialect] += 1
        request.journal.closers += self._closers
        return call_next(request)

    def _over(self, request: Request) -> None:
        journal = request.journal
        self._in_flight[journal.dialect] -= 1
        answer = journal.answer
        target = answer.target or journal.resolved
        outcome, status, started = journal.outcome or "failed", journal.status, journal.started
        # Every part of the key is from a bounded set: entries of the configuration, or words of plano's own.
        error = "" if outcome == "completed" and status < 400 and journal.error is None else _error(journal)
        key = (
            None if target is None else target.entry,
            journal.dialect,
            answer.dialect,
            request.operation,
            request.stream,
            0 if outcome == "aborted" and not journal.bytes_out else status // 100,
            outcome,
            error,
        )
        tally = self._tallies.get(key)
        if tally is None:
            tally = self._tallies[key] = _Tally(self._on, request, journal, outcome, error)
        tally.requests.value += 1.0
        ended = journal.ended or started
        tally.duration(ended - started)
        received = journal.received
        if received is not None and outcome != "aborted":
            overhead = ended - received - journal.waited - journal.waited_in_stream - journal.sending
            tally.overhead(overhead if overhead > 0.0 else 0.0)
        usage = answer.usage
        if usage is not None:
            if tally.input is not None and tally.output is not None and not usage.estimated:
                tally.input(usage.input_tokens)
                tally.output(usage.output_tokens)
            else:
                self._count_tokens(tally, usage)
            if usage.cached_tokens or usage.cache_creation_tokens or usage.reasoning_tokens:
                self._count_details(tally, usage)
            if target is not None:
                price = self._prices.of(target)
                if price is not None:
                    self._on.cost[(*tally.place, FLAG[bool(usage.estimated)])].inc(price.of(usage))
        if tally.first_token is not None and status < 400:
            _count_tokens_times(journal, tally.first_token, tally.per_token)
        others = len(journal.attempts) != (answer is not NOT_ASKED)  # attempts besides the one that answered
        if answer.failure or answer.losses or others or journal.store_failed or outcome == "aborted":
            self._count_mishaps(journal, tally.place)
        looped = journal.committed is not None or journal.limited_by is not None
        if looped or others or answer.failure or outcome == "aborted":
            self._attempts.count(request)
        else:
            tally.answered.value += 1.0
        self._unfolded += 1
        if self._unfolded >= _FOLD:
            self._unfolded = 0
            self._on.fill_bins()

    def _count_tokens(self, tally: _Tally, usage: Usage) -> None:
        estimated, tokens, model = usage.estimated, self._on.tokens, tally.model
        count_input: Count = tokens[(*model, "input", FLAG["input" in estimated])].observe
        count_output: Count = tokens[(*model, "output", FLAG["output" in estimated])].observe
        count_input(usage.input_tokens)
        count_output(usage.output_tokens)
        if estimated:
            self._on.usage_missing[tally.place].inc()
        else:
            tally.input, tally.output = count_input, count_output

    def _count_details(self, tally: _Tally, usage: Usage) -> None:
        tokens, model = self._on.tokens, tally.model
        if usage.cached_tokens:
            tokens[(*model, "cached_input", "false")].observe(usage.cached_tokens)
        if usage.cache_creation_tokens:
            tokens[(*model, "cache_creation", "false")].observe(usage.cache_creation_tokens)
        if usage.reasoning_tokens:
            tokens[(*model, "reasoning", "false")].observe(usage.reasoning_tokens)

    def _count_mishaps(self, journal: Journal, place: Place) -> None:
        on = self._on
        for failed, how in journal.failures:
            on.upstream_errors[(failed.provider.name, failed.entry, how)].inc()
        for loss in journal.losses:
            on.losses[(journal.dialect, journal.upstream_dialect or NONE, loss.field)].inc(loss.count)
        if journal.store_failed:
            on.not_stored[(journal.dialect,)].inc()
        if journal.outcome == "aborted":
            on.aborts[(journal.dialect, *place, "during_reply" if journal.bytes_out else "before_reply")].inc()

    def _flush(self) -> None:
        """Sets the metrics that are added up in plain lists, because a list costs a request less than a metric."""
        for dialect, count in self._in_flight.items():
            self._on.in_flight[(dialect,)].set(count)
        for position, name in enumerate(self._links):
            own = self._spent[position] - self._spent[position + 1]
            if own > self._reported[position]:  # running requests can make it smaller for a moment
                self._on.filter_seconds[(name,)].inc(own - self._reported[position])
                self._reported[position] = own


def _count_tokens_times(journal: Journal, first_token: Count, per_token: Count | None) -> None:
    answer = journal.answer
    first = answer.first_token or answer.first_piece
    if first is None:
        return
    first_token(first - journal.started)
    usage = answer.usage
    if journal.outcome == "completed" and answer.last_piece is not None and usage is not None:
        following = usage.output_tokens - 1
        if following > 0 and not usage.estimated and per_token is not None:
            per_token((answer.last_piece - first) / following)


def _status_class(journal: Journal) -> str:
    """The class of the status that the client saw; `none` if it left before the first byte."""
    if journal.status < 100 or (journal.outcome == "aborted" and not journal.bytes_out):
        return NONE
    return f"{journal.status // 100}xx"


def _error(journal: Journal) -> str:
    """The kind of a request's error, or "" if there was none."""
    if journal.outcome == "aborted":
        return "aborted"
    if journal.error is not None:
        return journal.error.kind
    if journal.status < 400:
        return "upstream" if journal.outcome == "failed" else ""
    return _KINDS.get(journal.status, "invalid_request" if journal.status < 500 else "upstream")
