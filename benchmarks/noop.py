"""Filters for measurements: one that does nothing, and one that fails."""

from __future__ import annotations

from plano.pipeline import CallNext
from plano.request import Request
from plano.response import Response


async def noop(request: Request, call_next: CallNext) -> Response:
    return await call_next(request)


async def fails(request: Request, call_next: CallNext) -> Response:
    """A filter with a bug that a header triggers."""
    if request.headers.get("x-fail"):
        raise ValueError("a bug")
    return await call_next(request)
