"""Holds callers to the rules that name no model."""

from __future__ import annotations

from collections.abc import Awaitable
from functools import partial

from plano.journal import Journal
from plano.limits.grants import Grant, used_by
from plano.limits.judge import Judge
from plano.pipeline import CallNext
from plano.request import Request
from plano.response import Response


class Limits:
    """Judges each request once by the rules for all models, and settles with what all of its attempts used. Places are
    given back as soon as the request is over, also when its client left.

    Args:
        judge: has the rules. Those that name a model, and budgets, are judged for each attempt.

    Raises:
        RateLimited: 429 in the client's dialect, with `retry-after`. Nothing was counted.
        InvalidRequest: 400 if a header that a rule requires is absent.
    """

    def __init__(self, judge: Judge) -> None:
        self._judge = judge

    def __call__(self, request: Request, call_next: CallNext) -> Awaitable[Response]:
        journal, judge = request.journal, self._judge
        if journal.judged:  # a filter asks again; the request's grant is settled with what all attempts used
            return call_next(request)
        if not judge.at_once:
            return _judged(judge, request, call_next)
        _hold(judge.for_request_now(request), journal)
        return call_next(request)


async def _judged(judge: Judge, request: Request, call_next: CallNext) -> Response:
    _hold(await judge.for_request(request), request.journal)
    return await call_next(request)


def _hold(grant: Grant, journal: Journal) -> None:
    journal.judged = True
    if grant.holds:
        journal.releases += (grant.release,)
    if grant.reserves:
        journal.closers += (partial(_settle, grant),)


def _settle(grant: Grant, request: Request) -> None:
    grant.settle(used_by(request.journal))


__all__ = ["Limits"]
