"""The data behind the page: the last requests, and the counts of the last minutes by the second. Both are bounded.

Nothing of a request's or a reply's content is kept, only figures and names.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import TypeAlias

from msgspec import Struct

from plano.attempt import Attempt
from plano.conversation import Usage
from plano.journal import Journal
from plano.losses import LOSS_FIELDS, Loss
from plano.observability.access import Tried, asked_model, tried
from plano.observability.prices import Prices
from plano.pipeline import CallNext
from plano.provider import Target
from plano.request import Request
from plano.response import Response
from plano.types import Caller

KEPT_REQUESTS = 200
"""The number of the last requests that are kept."""

WINDOW_SECONDS = 600
"""How far back the counts go."""

MODELS_PER_SECOND = 32
"""How many models, by tenant, have a count of their own within one second; the rest is counted as `other`."""

FIRST_BIN_SECONDS = 0.001
BIN_RATIO = 1.1
"""Times are counted in bins. The first ends at a millisecond, and each of the others is a tenth longer than the one
before."""

bin_of = partial(bisect_left, [FIRST_BIN_SECONDS * BIN_RATIO**n for n in range(200)])
"""The bin of a time of up to two days."""

_OTHER = "other"

Key: TypeAlias = tuple[str, str, str]
"""Tenant, provider, and the configured entry."""


class Row(Struct, frozen=True, gc=False):
    """A request that is over. Times are in seconds, and `at` counts from 1970; `dollars` is None without a price.

    Attributes:
        attempts: none if the first one answered at once.
        moved: the failure for which another target answered than the first one.
    """

    number: int
    at: float
    id: str
    caller: str
    client: str
    upstream: str | None
    asked: str | None
    served: str | None
    stream: bool
    status: int
    outcome: str
    error: str | None
    seconds: float
    first_token: float | None
    input: int | None
    output: int | None
    estimated: bool
    dollars: float | None
    losses: list[str]
    attempts: list[Tried]
    moved: str | None
    limited_by: str | None


class Count(Struct):
    """The requests to one model that ended in one second.

    Attributes:
        times: the number of requests by bin of duration.
        first_tokens: the number of requests by bin of the time to their first token.
    """

    requests: int = 0
    errors: int = 0
    input: int = 0
    output: int = 0
    dollars: float = 0.0
    times: dict[int, int] = {}
    first_tokens: dict[int, int] = {}

    def add(self, row: Row) -> None:
        """Counts a request."""
        self.requests += 1
        if row.status >= 400 or row.outcome == "failed":
            self.errors += 1
        self.input += row.input or 0
        self.output += row.output or 0
        self.dollars += row.dollars or 0.0
        at = bin_of(row.seconds)
        self.times[at] = self.times.get(at, 0) + 1
        if row.first_token is not None:
            at = bin_of(row.first_token)
            self.first_tokens[at] = self.first_tokens.get(at, 0) + 1


class Record:
    """Records requests as a link of the pipeline, and is read by the page.

    Args:
        prices: the prices of models.
        clock: seconds since 1970.

    Attributes:
        running: the number of requests in progress.
    """

    def __init__(self, prices: Prices, clock: Callable[[], float] = time.time) -> None:
        self._prices = prices
        self._clock = clock
        self._number = 0
        self._closers = (self._over,)
        self._rows: deque[tuple[str, Row]] = deque(maxlen=KEPT_REQUESTS)  # each with its caller's tenant
        self._seconds: deque[tuple[int, dict[Key, Count]]] = deque()
        self.running = 0

    def __call__(self, request: Request, call_next: CallNext) -> Awaitable[Response]:
        # The caller is not known yet, so running requests have one count for all callers. Only operators see it.
        self.running += 1
        request.journal.closers += self._closers
        return call_next(request)

    @property
    def number(self) -> int:
        """The number of the latest request."""
        return self._number

    def rows(self, caller: Caller, after: int = 0) -> list[Row]:
        """The requests that `caller` may see, the latest first."""
        found: list[Row] = []
        for tenant, row in reversed(self._rows):
            if row.number <= after:
                break
            if _may_see(caller, tenant):
                found.append(row)
        return found

    def counts(self, caller: Caller, since: int = 0) -> Iterable[list[object]]:
        """The counts that `caller` may see, as lists of second, provider, entry, and the fields of a `Count`."""
        oldest = max(since, int(self._clock()) - WINDOW_SECONDS)
        for second, counts in self._seconds:
            if second < oldest:
                continue
            for (tenant, provider, entry), count in counts.items():
                if _may_see(caller, tenant):
                    yield [
                        second,
                        provider,
                        entry,
                        count.requests,
                        count.errors,
                        count.input,
                        count.output,
                        count.dollars,
                        count.times,
                        count.first_tokens,
                    ]

    def _over(self, request: Request) -> None:
        journal, now = request.journal, self._clock()
        self.running -= 1
        self._number += 1
        spent = [self._dollars(journal.target, journal.usage)]
        spent += [
            self._add_attempt(int(now), journal, attempt)
            for attempt in journal.attempts
            if attempt is not journal.answer
        ]
        known = [dollars for dollars in spent if dollars is not None]
        # The journal is not kept, because an error in it may hold a lot of memory.
        row = _row(self._number, now, request, sum(known) if known else None)
        self._rows.append((journal.caller.tenant, row))
        self._count(int(now), journal, journal.target).add(row)

    def _dollars(self, target: Target | None, usage: Usage | None) -> float | None:
        if target is None or usage is None:
            return None
        price = self._prices.of(target)
        return None if price is None else price.of(usage)

    def _add_attempt(self, second: int, journal: Journal, attempt: Attempt) -> float | None:
        """Counts what an attempt used that did not answer. Returns its cost."""
        usage = attempt.said()
        if usage is None:
            return None
        dollars = self._dollars(attempt.target, usage)
        count = self._count(second, journal, attempt.target)
        count.input += usage.input_tokens
        count.output += usage.output_tokens
        count.dollars += dollars or 0.0
        return dollars

    def _count(self, second: int, journal: Journal, target: Target | None = None) -> Count:
        seconds = self._seconds
        if not seconds or seconds[-1][0] < second:
            seconds.append((second, {}))
            while seconds[0][0] < second - WINDOW_SECONDS:
                seconds.popleft()
        counts = seconds[-1][1]
        key: Key = (journal.caller.tenant, _OTHER, _OTHER)
        if target is not None:
            key = (journal.caller.tenant, target.provider.name, target.entry)
        count = counts.get(key)
        if count is None:
            if len(counts) >= MODELS_PER_SECOND:
                key = ("", _OTHER, _OTHER)
            count = counts.setdefault(key, Count())
        return count


def _names(losses: Sequence[Loss]) -> list[str]:
    """The lost fields, each once; names that a client made up become `other`."""
    return list(dict.fromkeys(loss.field if loss.field in LOSS_FIELDS else _OTHER for loss in losses))


def _may_see(caller: Caller, tenant: str) -> bool:
    return caller.operator or caller.tenant == tenant


def _row(number: int, at: float, request: Request, dollars: float | None) -> Row:
    journal = request.journal
    answer, target = journal.answer, journal.target
    usage, first = answer.usage, answer.first_token
    outcome, started = journal.outcome or "failed", journal.started
    went_wrong = journal.error is not None or answer.failure is not None or outcome != "completed"
    return Row(  # by position, because names would take ten times as long
        number,
        at,
        request.id,
        journal.caller.name,
        journal.dialect,
        answer.dialect,
        asked_model(request.model, target),
        None if target is None else target.name,
        request.stream,
        journal.status,
        outcome,
        _error(journal) if went_wrong else None,
        (journal.ended or started) - started,
        None if first is None else first - started,
        None if usage is None else usage.input_tokens,
        None if usage is None else usage.output_tokens,
        usage is not None and bool(usage.estimated),
        dollars,
        _names(answer.losses) if answer.losses else [],
        tried(journal) or [],
        journal.moved,
        journal.limited_by,
    )


def _error(journal: Journal) -> str | None:
    """The kind of the error. Its message is left out because it may quote the request."""
    if journal.outcome == "aborted":
        return "aborted"
    if journal.error is not None:
        return journal.error.kind
    if journal.status >= 400 or journal.outcome == "failed":
        return journal.answer.failure
    return None
