"""A filter that does nothing, to see what a filter costs."""

from __future__ import annotations

from plano.pipeline import CallNext
from plano.request import Request
from plano.response import Response


async def noop(request: Request, call_next: CallNext) -> Response:
    return await call_next(request)
