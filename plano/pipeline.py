"""A pipeline: filters folded, once, into one callable."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter
from typing import NamedTuple, Protocol, TypeAlias

from plano.errors import ConfigError, FilterError, PlanoError
from plano.request import Request
from plano.response import Response, failed_response

CallNext: TypeAlias = Callable[[Request], Awaitable[Response]]


class Filter(Protocol):
    """Anything that can be called like this: a function, or an instance with `__call__`.

    It may change the request before `await call_next(request)`, the response after it, answer by itself
    without calling on, or call on more than once. Below it, everything runs once for each call.
    """

    def __call__(self, request: Request, call_next: CallNext, /) -> Awaitable[Response]: ...


class Link(NamedTuple):
    """A filter and the name that errors and `plano check` call it.

    `trusted` is for plano's own: that one returns a response is not checked, and what it raises is not put down to it
    but to plano.
    """

    name: str
    filter: Filter
    trusted: bool = False


APART = 0.01
"""Seconds between two requests that are timed, link by link: a timed link takes several times as long as one that is
not. Under less load than that all of them are."""


def fold(links: Sequence[Link], last: CallNext, spent: list[float] | None = None) -> CallNext:
    """One callable of a list of filters, outermost first, and the link that ends them.

    Args:
        spent: where the seconds in each link, with all that is below it, add up: a number for each, one for `last`, and
            one for what of that was waiting for the upstream. A request that is timed counts for those before it that
            were not. None times nothing.

    Raises:
        ConfigError: an entry is not callable, or a class.
    """
    for link in links:
        if isinstance(link.filter, type):  # calling it would make one, in the middle of a request
            raise ConfigError(f"filter `{link.name}`: a class; pass an instance, `{link.filter.__name__}(...)`")
        if not callable(link.filter):
            raise ConfigError(f"filter `{link.name}`: {link.filter!r} is not callable; pass a function or an instance")
    plain = _folded(links, last)
    if spent is None:
        return plain
    timed = _folded(
        [Link(link.name, _timed(spent, at, link.filter), link.trusted) for at, link in enumerate(links)],
        _last_timed(spent, last),
    )
    due, untimed = 0.0, 0

    def folded(request: Request) -> Awaitable[Response]:
        nonlocal due, untimed
        journal = request.journal
        if journal.started < due:
            untimed += 1
            return plain(request)
        journal.weight = untimed + 1
        due, untimed = journal.started + APART, 0
        return timed(request)

    return folded


def _folded(links: Sequence[Link], last: CallNext) -> CallNext:
    chain = last
    for link in reversed(links):
        chain = _trusted(link, chain) if link.trusted else _checked(link, chain)
    return chain


def _trusted(link: Link, call_next: CallNext) -> CallNext:
    call = link.filter.__call__  # looked up once

    def linked(request: Request) -> Awaitable[Response]:
        return call(request, call_next)

    return linked


def _checked(link: Link, call_next: CallNext) -> CallNext:
    name, call, call_next = link.name, link.filter, _awaited(call_next)

    async def linked(request: Request) -> Response:
        try:
            response = await call(request, call_next)
        except PlanoError:
            raise
        except Exception as error:
            raise FilterError(name) from error
        if not isinstance(response, Response):
            raise FilterError(name) from TypeError(f"it returned {type(response).__name__}, not a Response")
        return response

    return linked


def _awaited(call_next: CallNext) -> CallNext:
    """What a filter of somebody else's calls: everything happens when it is awaited, and every error from below is a
    response."""

    async def onward(request: Request) -> Response:
        try:
            return await call_next(request)
        except Exception as error:
            return failed_response(request, error)

    return onward


def _timed(spent: list[float], position: int, call: Filter) -> Filter:
    async def timed(request: Request, call_next: CallNext) -> Response:
        started = perf_counter()
        try:
            return await call(request, call_next)
        finally:
            spent[position] += (perf_counter() - started) * request.journal.weight

    return timed


def _last_timed(spent: list[float], call: CallNext) -> CallNext:
    async def timed(request: Request) -> Response:
        journal = request.journal
        started, waited = perf_counter(), journal.waited
        try:
            return await call(request)
        finally:
            spent[-2] += (perf_counter() - started) * journal.weight
            spent[-1] += (journal.waited - waited) * journal.weight

    return timed


def name_of(call: object) -> str:
    """What a filter without a configured name is called: its function's or class's name."""
    return getattr(call, "__name__", None) or type(call).__name__
