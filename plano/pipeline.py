"""A pipeline: filters folded, once, into one callable."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter
from typing import NamedTuple, Protocol, TypeAlias

from plano.errors import ConfigError, FilterError, PlanoError
from plano.request import Request
from plano.response import Response

CallNext: TypeAlias = Callable[[Request], Awaitable[Response]]


class Filter(Protocol):
    """Anything that can be called like this: a function, or an instance with `__call__`.

    It may change the request before `await call_next(request)`, the response after it, answer by itself
    without calling on, or call on more than once. Below it, everything runs once for each call.
    """

    def __call__(self, request: Request, call_next: CallNext, /) -> Awaitable[Response]: ...


class Link(NamedTuple):
    """A filter and the name that errors and `plano check` call it."""

    name: str
    filter: Filter


def fold(links: Sequence[Link], last: CallNext, spent: list[float] | None = None) -> CallNext:
    """One callable of a list of filters, outermost first, and the link that ends them.

    Args:
        spent: where the seconds in each link add up, over all requests, with all that is below it: one more
            number than there are links, the last one for `last`.

    Raises:
        ConfigError: an entry is not callable.
    """
    spent = [0.0] * (len(links) + 1) if spent is None else spent
    chain = _timed(spent, last)
    for position, link in reversed(list(enumerate(links))):
        if not callable(link.filter):
            raise ConfigError(f"filter `{link.name}`: {link.filter!r} is not callable; pass a function or an instance")
        chain = _link(spent, position, link, chain)
    return chain


def _link(spent: list[float], position: int, link: Link, call_next: CallNext) -> CallNext:
    name, call = link

    async def linked(request: Request) -> Response:
        started = perf_counter()
        try:
            response = await call(request, call_next)
        except PlanoError:
            raise
        except Exception as error:
            raise FilterError(name) from error
        finally:
            spent[position] += perf_counter() - started
        if not isinstance(response, Response):
            raise FilterError(name) from TypeError(f"it returned {type(response).__name__}, not a Response")
        return response

    return linked


def _timed(spent: list[float], call: CallNext) -> CallNext:
    """The last link; its time is taken like the others', so that theirs is known without it."""

    async def timed(request: Request) -> Response:
        started = perf_counter()
        try:
            return await call(request)
        finally:
            spent[-1] += perf_counter() - started

    return timed


def name_of(call: object) -> str:
    """What a filter without a configured name is called: its function's or class's name."""
    return getattr(call, "__name__", None) or type(call).__name__
