"""Filters that a configuration of a test can name."""

from __future__ import annotations

from plano import CallNext, Request, Response


async def first(request: Request, call_next: CallNext) -> Response:
    return await call_next(request)


async def second(request: Request, call_next: CallNext) -> Response:
    return await call_next(request)
