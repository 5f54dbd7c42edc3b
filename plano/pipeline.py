"""A pipeline: filters folded, once, into one callable."""

from __future__ import annotations

import inspect
import re
from collections.abc import AsyncIterable, Awaitable, Callable, Coroutine, Sequence
from functools import partial
from time import perf_counter
from types import CoroutineType
from typing import Any, NamedTuple, Protocol, TypeAlias, get_origin, get_type_hints
from weakref import ref

import msgspec

from plano.conversation_json import conversation_of, to_json
from plano.error_response import failed_response
from plano.errors import ConfigError, PlanoError
from plano.faults import PLANO, Makers, fault, maker_of
from plano.request import Request
from plano.response import Response
from plano.streams.stages import Flow

CallNext: TypeAlias = Callable[[Request], Awaitable[Response]]


class Filter(Protocol):
    """An async function, or an instance with such a `__call__`, that takes `(request, call_next)` and gives a Response.

    It may change the request before `await call_next(request)` and the response after it; it may answer by itself
    without calling `call_next`, or call it more than once. Everything below it runs once for each of these calls.
    """

    def __call__(self, request: Request, call_next: CallNext, /) -> Awaitable[Response]: ...


class Link(NamedTuple):
    """A filter, and its name in errors and in the output of `plano check`.

    `trusted` marks plano's own: its result is not checked to be a response, and plano is blamed for an exception that
    it raises.
    """

    name: str
    filter: Filter
    trusted: bool = False


MIN_SECONDS_BETWEEN_TIMED = 0.01
"""Time the links of at most one request per this many seconds; below that rate, of every one. A timed link takes
several times as long as another."""


def fold(links: Sequence[Link], last: CallNext, spent: list[float] | None = None) -> CallNext:
    """Fold a list of filters, outermost first, and the innermost link into one callable.

    Args:
        spent: a list in which seconds are summed up: one number for each link, everything below it included, one for
            `last`, and one for the part of that which was spent waiting for the upstream. A timed request stands for
            the untimed ones before it too. None times nothing.

    Raises:
        ConfigError: names every entry that cannot be a filter, and why; see `objection`.
    """
    wrong = [
        f"filter `{link.name}`: {why}"
        for link in links
        if not link.trusted and (why := objection(link.filter)) is not None
    ]
    if wrong:
        raise ConfigError(wrong)
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
        due, untimed = journal.started + MIN_SECONDS_BETWEEN_TIMED, 0
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
    name, call = link.name, link.filter

    async def linked(request: Request) -> Response:
        onward = _Onward(call_next, name, request)
        try:
            response = await call(request, onward)
            if not isinstance(response, Response):
                raise TypeError(_not_a_response(response))
            if response.body is None:
                response = await _stream_of(name, request, response)
            elif response.holds:
                response.made_by(name)
            if onward.waiting and onward.dropped:
                raise TypeError(_NOT_AWAITED)
            for key, value in response.headers:
                if key.__class__ is not bytes or value.__class__ is not bytes:
                    raise TypeError(_not_bytes(key, value))
            if (
                response.body.__class__ is not bytes
                or response.status.__class__ is not int
                or not 200 <= response.status <= 599
            ):
                _judge(response)
        except PlanoError:
            raise
        except Exception as error:
            raise _failure(error, name, onward) from error
        return response

    return linked


class _Onward:
    """`call_next` as a user's filter gets it, for one request.

    Nothing runs before its result is awaited, and every error from below is a response.

    Attributes:
        waiting: the number of calls that are not awaited yet.
        makers: the makers of the stream that came back last; None without one.
    """

    waiting = 0
    makers: Makers | None = None
    _latest: ref[Coroutine[Any, Any, Response]] | None = None

    def __init__(self, call_next: CallNext, name: str, given: Request) -> None:
        self._call_next = call_next
        self._name = name
        self._edited = given.edited

    def __call__(self, request: Request) -> Awaitable[Response]:
        self.waiting += 1
        asking = self._ask(request)
        self._latest = ref(asking)
        return asking

    async def _ask(self, request: Request) -> Response:
        self.waiting -= 1
        if request.edited is not self._edited:
            request.journal.editor = self._name
        try:
            response = await self._call_next(request)
        except Exception as error:
            return failed_response(request, _put_down(error, request))
        if response.body is None:
            response.made_by(PLANO)
            self.makers = response.makers
        return response

    @property
    def dropped(self) -> bool:
        """Whether the latest call was thrown away. A call that a task will await still lives."""
        return self._latest is not None and self._latest() is None


def _put_down(error: Exception, request: Request) -> Exception:
    """The error, or a FilterError if a filter made a conversation that caused it."""
    edited, editor = request.edited, request.journal.editor
    if isinstance(error, PlanoError) or edited is None or editor is None:
        return error
    try:
        sound, why = conversation_of(to_json(edited)) == edited, "a part of it is of another type"
    except (TypeError, msgspec.MsgspecError) as mistake:
        sound, why = False, str(mistake)
    if sound:
        return error
    told = TypeError(f"it passed on a conversation that no API can say: {why}")
    told.__cause__ = error
    return fault(told, editor)


async def _stream_of(name: str, request: Request, response: Response) -> Response:
    """A filter's stream as it goes on. Raises TypeError if it was read, because the client would get it empty."""
    response.made_by(name)
    response = await response.ready_for(request)
    if response.was_read:
        raise TypeError(_READ)
    return response


_READ = (
    "it read the stream of the response that it returned, so nothing is left to send: return "
    "`response.with_events(...)` after `response.events()`, `response.with_pieces(...)` after reading "
    "`response.pieces`, or read with `await response.read()`, which keeps the stream"
)
_NOT_AWAITED = "it called `call_next` and did not await it: write `response = await call_next(request)`"


def _not_bytes(key: object, value: object) -> str:
    return (
        f"the header {key!r}: {value!r} is not bytes: use `response.set_header(...)`, which takes strings, "
        'or append `(b"name", b"value")`'
    )


def _judge(response: Response) -> None:
    """Raises TypeError for a status, a body or a stream that no server can send."""
    status: object = response.status
    body: object = response.body
    pieces: object = response.pieces
    if not isinstance(status, int) or not 200 <= status <= 599:
        raise TypeError(f"the status of its response is {status!r}, which is not a number from 200 to 599")
    if body is not None and not isinstance(body, bytes):
        raise TypeError(f"the body of its response is of type {type(body).__name__}: give it bytes")
    if pieces is not None and not isinstance(pieces, Flow | AsyncIterable):
        kind = type(pieces).__name__
        raise TypeError(f"the stream of its response is of type {kind}: give `with_pieces` an async generator")


def _not_a_response(returned: object) -> str:
    """The message for a filter that returned something other than a response."""
    if inspect.iscoroutine(returned):
        returned.close()
        return f"it returned what has to be awaited: write `return await {_call_of(returned)}`"
    if returned is None:
        return "it returned None: every path through a filter has to end in `return response`"
    return f"it returned {type(returned).__name__}, not a Response; `Response.of(request, ...)` makes one of a text"


def _failure(error: Exception, name: str, onward: _Onward) -> PlanoError:
    """The error for an exception out of a filter. In a stream that it read, another filter or plano may be to blame."""
    maker = maker_of(error, onward.makers)
    if isinstance(error, AttributeError) and inspect.iscoroutine(error.obj):
        error.add_note(f"`await` is missing: write `await {_call_of(error.obj)}`")
        error.obj.close()
    return fault(error, name if maker is None else maker)


def _call_of(coroutine: CoroutineType[Any, Any, Any]) -> str:
    """The call that made a coroutine, as a filter's author wrote it."""
    own = coroutine.cr_code is _Onward._ask.__code__
    return "call_next(request)" if own else f"{coroutine.__qualname__}(...)"


def _timed(spent: list[float], position: int, call: Filter) -> Filter:
    async def timed(request: Request, call_next: CallNext) -> Response:
        journal = request.journal
        started, waited = perf_counter(), journal.waited_in_stream
        try:
            return await call(request, call_next)
        finally:  # a filter may wait for a stream, which is the upstream's time and not its own
            spent[position] += (perf_counter() - started - journal.waited_in_stream + waited) * journal.weight

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
    """The name of a filter that has none in the configuration: its function's or class's."""
    while isinstance(call, partial):
        call = call.func
    return getattr(call, "__name__", None) or type(call).__name__


def objection(call: object) -> str | None:
    """The reason why something cannot be a filter, and how to fix it; None if no reason is found.

    A plain `def` passes if its annotation says that it returns an awaitable, or if it wraps (`functools.wraps`) an
    `async def`; a lambda passes because it can say neither.
    """
    if isinstance(call, type):  # calling it would make an instance, in the middle of a request
        return f"a class; pass an instance, `{call.__name__}(...)`"
    if not callable(call):
        return f"a {type(call).__name__}, which is not callable; pass a function, or an instance of a class that is"
    try:
        signature = inspect.signature(call)
    except (TypeError, ValueError):  # some callables that are written in C have none
        return None
    try:
        signature.bind(None, None)
    except TypeError:
        return f"it takes {signature}, and is called with two arguments, `(request, call_next)`"
    return _objection_to_how_it_is_called(call)


def _objection_to_how_it_is_called(call: Callable[..., Any]) -> str | None:
    function = _function_of(call)
    if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
        return "it has a `yield`; write `async def` and `return` a Response"
    if any(map(inspect.iscoroutinefunction, (call, function, inspect.unwrap(call), inspect.unwrap(function)))):
        return None
    if getattr(function, "__name__", None) == "<lambda>" or _gives_an_awaitable(function):
        return None
    return (
        "a plain function; write `async def`, or, if what it returns is to be awaited, say so: `-> Awaitable[Response]`"
    )


def _function_of(call: Callable[..., Any]) -> Callable[..., Any]:
    """The function behind a partial, or the `__call__` of an instance."""
    while isinstance(call, partial):
        call = call.func
    if inspect.isroutine(call) or isinstance(call, type):
        return call
    return type(call).__call__


def _gives_an_awaitable(function: Callable[..., Any]) -> bool:
    try:
        said = get_type_hints(function).get("return")
    except Exception:  # names that only type checkers know
        return _AWAITABLE.search(str(getattr(function, "__annotations__", {}).get("return"))) is not None
    said = get_origin(said) or said
    return isinstance(said, type) and issubclass(said, Awaitable)


_AWAITABLE = re.compile(r"\b(?:Awaitable|Coroutine|Future|Task)\b")
