"""What the page shows: the last requests, and a few minutes of counts by the second. All of it bounded.

Nothing of a request's or a reply's contents is kept, only what is said about them.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import TypeAlias

from msgspec import Struct

from plano.conversation import Usage
from plano.journal import Journal
from plano.losses import LOSS_FIELDS, Loss
from plano.observability.access import asked_model
from plano.observability.prices import Prices
from plano.pipeline import CallNext
from plano.provider import Target
from plano.request import Request
from plano.response import Response
from plano.types import Caller, ClientDialect, UpstreamDialect

REQUESTS = 200
"""How many of the last requests are kept."""

SECONDS = 600
"""How far back the counts go."""

PLACES = 32
"""How many models of how many tenants are counted apart within one second; what is beyond is `other`."""

SHORTEST = 0.001
STEP = 1.1
"""Times are counted in bins: up to a millisecond, and then each a tenth longer than the one before."""

bin_of = partial(bisect_left, [SHORTEST * STEP**n for n in range(200)])
"""The bin of a time, of up to two days."""

_ELSEWHERE = "other"

_Seen: TypeAlias = tuple[
    int,
    float,
    str,
    Caller,
    ClientDialect,
    UpstreamDialect | None,
    str | None,
    Target | None,
    bool,
    int,
    str,
    str | None,
    float,
    float | None,
    Usage | None,
    bool,
    float | None,
    Sequence[str],
]
"""What is kept of a request, in the order that `_row` takes it in."""

Key: TypeAlias = tuple[str, str, str]
"""Tenant, provider, and the configured entry."""


class Row(Struct, frozen=True, gc=False):
    """A request that is over. Times are in seconds, `at` since 1970; dollars are None without a price."""

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


class Count(Struct):
    """One model in one second."""

    requests: int = 0
    errors: int = 0
    input: int = 0
    output: int = 0
    dollars: float = 0.0
    times: dict[int, int] = {}
    first_tokens: dict[int, int] = {}


class Record:
    """Fed by a link of the pipeline, read by the page.

    Args:
        prices: what models cost.
        clock: seconds since 1970.

    Attributes:
        running: how many requests are under way.
    """

    def __init__(self, prices: Prices, clock: Callable[[], float] = time.time) -> None:
        self._prices = prices
        self._clock = clock
        self._number = 0
        self._closers = (self._over,)
        self._seen: deque[_Seen] = deque(maxlen=REQUESTS)
        self._seconds: deque[tuple[int, dict[Key, Count]]] = deque()
        self.running = 0

    def __call__(self, request: Request, call_next: CallNext) -> Awaitable[Response]:
        # Who asks is only known further in, so what runs is counted for all, and shown to operators alone.
        self.running += 1
        request.journal.closers += self._closers
        return call_next(request)

    @property
    def number(self) -> int:
        """Of the latest request."""
        return self._number

    def rows(self, caller: Caller, after: int = 0) -> list[Row]:
        """The requests that `caller` may see, the latest first."""
        found: list[Row] = []
        for seen in reversed(self._seen):
            if seen[0] <= after:
                break
            if _may_see(caller, seen[3].tenant):
                found.append(_row(*seen))
        return found

    def counts(self, caller: Caller, since: int = 0) -> Iterable[list[object]]:
        """A line for each second and model that `caller` may see: second, provider, entry, and a `Count`'s fields."""
        oldest = max(since, int(self._clock()) - SECONDS)
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
        answer, target = journal.answer, journal.target
        usage, first = answer.usage, answer.first_token
        seconds = (journal.ended or journal.started) - journal.started
        first_seconds = None if first is None else first - journal.started
        price = self._prices.of(target) if self._prices.known and target is not None and usage is not None else None
        dollars = None if price is None or usage is None else price.of(usage)
        status, outcome = journal.status, journal.outcome or "failed"
        # Rows are made of these when somebody looks. The journal itself is not kept: an error in it may hold a lot.
        self._seen.append(
            (
                self._number,
                now,
                request.id,
                journal.caller,
                journal.dialect,
                answer.dialect,
                asked_model(request.model, target),
                target,
                request.stream,
                status,
                outcome,
                _error(journal) if journal.error is not None or answer.failure or outcome != "completed" else None,
                seconds,
                first_seconds,
                usage,
                usage is not None and bool(usage.estimated),
                dollars,
                _names(answer.losses) if answer.losses else (),
            )
        )
        count = self._count(int(now), journal)
        count.requests += 1
        if status >= 400 or outcome == "failed":
            count.errors += 1
        if usage is not None:
            count.input += usage.input_tokens
            count.output += usage.output_tokens
            count.dollars += dollars or 0.0
        at = bin_of(seconds)
        count.times[at] = count.times.get(at, 0) + 1
        if first_seconds is not None:
            at = bin_of(first_seconds)
            count.first_tokens[at] = count.first_tokens.get(at, 0) + 1

    def _count(self, second: int, journal: Journal) -> Count:
        seconds = self._seconds
        if not seconds or seconds[-1][0] < second:
            seconds.append((second, {}))
            while seconds[0][0] < second - SECONDS:
                seconds.popleft()
        counts, target = seconds[-1][1], journal.target
        key: Key = (journal.caller.tenant, _ELSEWHERE, _ELSEWHERE)
        if target is not None:
            key = (journal.caller.tenant, target.provider.name, target.entry)
        count = counts.get(key)
        if count is None:
            if len(counts) >= PLACES:
                key = ("", _ELSEWHERE, _ELSEWHERE)
            count = counts.setdefault(key, Count())
        return count


def _names(losses: Sequence[Loss]) -> list[str]:
    """Each once, and those that are made up together."""
    return list(dict.fromkeys(loss.field if loss.field in LOSS_FIELDS else _ELSEWHERE for loss in losses))


def _may_see(caller: Caller, tenant: str) -> bool:
    return caller.operator or caller.tenant == tenant


def _row(
    number: int,
    at: float,
    id: str,
    caller: Caller,
    client: ClientDialect,
    upstream: UpstreamDialect | None,
    asked: str | None,
    target: Target | None,
    stream: bool,
    status: int,
    outcome: str,
    error: str | None,
    seconds: float,
    first_token: float | None,
    usage: Usage | None,
    estimated: bool,
    dollars: float | None,
    losses: Sequence[str],
) -> Row:
    return Row(
        number=number,
        at=at,
        id=id,
        caller=caller.name,
        client=client,
        upstream=upstream,
        asked=asked,
        served=None if target is None else target.name,
        stream=stream,
        status=status,
        outcome=outcome,
        error=error,
        seconds=seconds,
        first_token=first_token,
        input=None if usage is None else usage.input_tokens,
        output=None if usage is None else usage.output_tokens,
        estimated=estimated,
        dollars=dollars,
        losses=list(losses),
    )


def _error(journal: Journal) -> str | None:
    """The kind of error; never its message, which may quote the request."""
    if journal.outcome == "aborted":
        return "aborted"
    if journal.error is not None:
        return journal.error.kind
    if journal.status >= 400 or journal.outcome == "failed":
        return journal.answer.failure
    return None
