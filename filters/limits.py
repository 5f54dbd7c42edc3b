"""Holds callers to the rules that name no model."""

from __future__ import annotations

from functools import partial

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

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        journal = request.journal
        if journal.judged:  # a filter asks again; the request's grant is settled with what all attempts used
            return await call_next(request)
        grant = await self._judge.for_request(request)
        journal.judged = True
        if grant.holds:
            journal.releases += (grant.release,)
        if grant.reserves:
            journal.closers += (partial(_settle, grant),)
        return await call_next(request)


def _settle(grant: Grant, request: Request) -> None:
    grant.settle(used_by(request.journal))


__all__ = ["Limits"]
