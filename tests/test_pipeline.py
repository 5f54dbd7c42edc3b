"""Links folded into one callable: whose error is whose, which mistakes are named, which requests are timed."""

from __future__ import annotations

import asyncio
import functools
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from plano.conversation import Conversation, Reply, Text
from plano.dialects import CODECS
from plano.errors import ConfigError, FilterError, GatewayFailed, InvalidRequest
from plano.journal import Journal
from plano.losses import Losses
from plano.pipeline import MIN_SECONDS_BETWEEN_TIMED, CallNext, Link, fold, name_of
from plano.request import Request
from plano.response import Response


def asked(started: float = 0.0) -> Request:
    journal = Journal()
    journal.started = started
    return Request(dialect="chat", raw=b'{"messages":[]}', journal=journal)


async def last(request: Request) -> Response:
    request.journal.waited += 1.0
    return Response(request, body=b"{}")


class Tagging:
    """Puts its name before and after what is below it."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        request.state.setdefault("seen", []).append(self.name)
        response = await call_next(request)
        request.state["seen"].append(self.name)
        return response


@pytest.mark.parametrize("spent", [None, [0.0] * 4])
@pytest.mark.parametrize("trusted", [False, True])
async def test_the_first_link_is_the_outermost(spent: list[float] | None, trusted: bool) -> None:
    links = [Link("a", Tagging("a"), trusted), Link("b", Tagging("b"), not trusted)]
    request = asked()
    response = await fold(links, last, spent)(request)
    assert response.body == b"{}"
    assert request.state["seen"] == ["a", "b", "b", "a"]


# -- Timing: each request's start against whether it is timed, and for how many it stands --

NEAR, FAR = MIN_SECONDS_BETWEEN_TIMED / 4, MIN_SECONDS_BETWEEN_TIMED * 1.5
STARTS: dict[str, tuple[list[float], list[int | None]]] = {
    "one": ([5.0], [1]),
    "far apart": ([5.0, 5.0 + FAR, 5.0 + 2 * FAR], [1, 1, 1]),
    "just apart": ([5.0, 5.0 + MIN_SECONDS_BETWEEN_TIMED], [1, 1]),
    "close together": ([5.0, 5.0 + NEAR, 5.0 + 2 * NEAR, 5.0 + FAR], [1, None, None, 3]),
    "at once": ([5.0, 5.0, 5.0, 9.0, 9.0, 19.0], [1, None, None, 3, None, 2]),
    "counted from the one that was timed": (
        [5.0 + MIN_SECONDS_BETWEEN_TIMED * times for times in (0, 0.9, 1.1, 1.9, 2.2)],
        [1, None, 2, None, 2],
    ),
    "one that began earlier and comes later": ([5.0, 4.0, 6.0], [1, None, 2]),
}


@pytest.mark.parametrize("case", STARTS)
async def test_a_timed_request_stands_for_those_before_it_that_were_not(case: str) -> None:
    starts, weights = STARTS[case]
    spent = [0.0, 0.0, 0.0]
    run = fold([Link("a", Tagging("a"))], last, spent)
    for start, weight in zip(starts, weights, strict=True):
        request, before = asked(start), list(spent)
        await run(request)
        # `last` waits a second, by its own account, which is what is added for each that this one stands for
        assert spent[-1] - before[-1] == (weight or 0)
        assert (spent == before) is (weight is None)
        assert request.journal.weight == (weight or 1)
    assert spent[-1] == len(starts) - _untimed_at_the_end(weights)


def _untimed_at_the_end(weights: list[int | None]) -> int:
    return next(number for number, weight in enumerate(reversed(weights)) if weight is not None)


async def test_a_link_counts_with_all_that_is_below_it_also_where_it_fails() -> None:
    async def failing(request: Request) -> Response:
        request.journal.waited += 2.0
        raise InvalidRequest("no")

    spent = [0.0] * 4
    run = fold([Link("a", Tagging("a")), Link("b", Tagging("b"), trusted=True)], failing, spent)
    for start in (5.0, 5.0, 6.0):
        assert isinstance((await run(asked(start))).error, InvalidRequest)
    outer, inner, end, waited = spent
    assert outer >= inner >= end > 0
    assert waited == 6.0


async def test_waiting_for_a_stream_is_not_a_filters_own_time() -> None:
    async def waits(request: Request, call_next: CallNext) -> Response:
        response = await call_next(request)
        request.journal.waited_in_stream += 1000.0
        return response

    spent = [0.0] * 4
    await fold([Link("a", Tagging("a")), Link("waits", waits)], last, spent)(asked(5.0))
    assert spent[0] == pytest.approx(-1000, abs=100)  # because those seconds did not pass
    assert spent[1] == pytest.approx(-1000, abs=100)


# -- Whose error it is --


async def buggy(request: Request, call_next: CallNext) -> Response:
    raise ZeroDivisionError


async def forgetful(request: Request, call_next: CallNext) -> Any:
    await call_next(request)


async def refusing(request: Request, call_next: CallNext) -> Response:
    raise InvalidRequest("no")


ERRORS: list[tuple[Callable[..., Any], bool, type[Exception]]] = [
    (buggy, False, FilterError),
    (buggy, True, ZeroDivisionError),
    (forgetful, False, FilterError),
    (refusing, False, InvalidRequest),
    (refusing, True, InvalidRequest),
]


@pytest.mark.parametrize("timed", [False, True])
@pytest.mark.parametrize(("call", "trusted", "error"), ERRORS)
async def test_an_error_is_put_down_to_whoever_made_it(
    call: Callable[..., Any], trusted: bool, error: type[Exception], timed: bool
) -> None:
    """Neither the links around a bad one nor timing change that."""
    links = [Link("above", Tagging("a"), True), Link("the one", call, trusted), Link("below", Tagging("b"))]
    run = fold(links, last, [0.0] * 5 if timed else None)
    with pytest.raises(error) as caught:
        await run(asked())
    if error is FilterError:
        assert "the one" in str(caught.value)
        assert caught.value.__cause__ is not None


async def test_a_bug_of_planos_own_is_not_put_down_to_the_filter_above_it() -> None:
    run = fold([Link("above", Tagging("a")), Link("own", buggy, trusted=True)], last)
    error = (await run(asked())).error
    assert isinstance(error, GatewayFailed)
    assert isinstance(error.__cause__, ZeroDivisionError)


@pytest.mark.parametrize("timed", [False, True])
@pytest.mark.parametrize(("call", "trusted", "error"), ERRORS)
async def test_where_an_error_meets_a_filter_it_is_a_response(
    call: Callable[..., Any], trusted: bool, error: type[Exception], timed: bool
) -> None:
    async def stamping(request: Request, call_next: CallNext) -> Response:
        response = await call_next(request)
        response.set_header("x-stamp", "yes")
        return response

    links = [Link("above", stamping), Link("the one", call, trusted), Link("below", Tagging("b"))]
    response = await fold(links, last, [0.0] * 5 if timed else None)(asked())
    expected = GatewayFailed if error is ZeroDivisionError else error
    assert type(response.error) is expected
    assert response.status == response.error.status
    assert (b"x-stamp", b"yes") in response.headers


# -- Mistakes that show while a request runs: what a filter does, and what its error says --


async def no_await_in_the_return(request: Request, call_next: CallNext) -> Any:
    return call_next(request)


async def no_await_before_use(request: Request, call_next: Any) -> Any:
    response = call_next(request)
    return response.map_text(str.upper)


async def look_up(request: Request) -> str:
    return request.id


async def no_await_of_something_else(request: Request, call_next: CallNext) -> Any:
    if look_up(request).startswith("x"):  # type: ignore[attr-defined]
        return None
    return await call_next(request)


async def something_else_in_the_return(request: Request, call_next: CallNext) -> Any:
    return look_up(request)


async def no_await_at_all(request: Request, call_next: CallNext) -> Response:
    call_next(request)
    return Response.of(request, "Hello")


async def no_await_and_kept_to_the_end(request: Request, call_next: CallNext) -> Response:
    asking = call_next(request)
    assert asking is not None
    return Response.of(request, "Hello")


async def a_text_as_the_answer(request: Request, call_next: CallNext) -> Any:
    return "Hello"


async def a_text_function_without_a_return(request: Request, call_next: CallNext) -> Response:
    return (await call_next(request)).map_text(lambda text: None)  # type: ignore[arg-type, return-value]


async def a_text_function_that_is_async(request: Request, call_next: CallNext) -> Response:
    async def shout(text: str) -> str:
        return text.upper()

    return (await call_next(request)).rewrite_text(shout, window=5)  # type: ignore[arg-type]


async def a_string_in_the_headers(request: Request, call_next: CallNext) -> Response:
    response = await call_next(request)
    response.headers.insert(0, ("x-served-by", b"plano"))  # type: ignore[arg-type]
    return response


async def a_string_as_a_headers_value(request: Request, call_next: CallNext) -> Response:
    return Response(request, headers=[(b"content-type", "text/plain")], body=b"")  # type: ignore[list-item]


async def an_answer_to_another_operation(request: Request, call_next: CallNext) -> Response:
    return Response.of(request.replace(operation="embeddings"), "Hello")


async def a_text_as_a_body(request: Request, call_next: CallNext) -> Response:
    return Response(request, body="Hello")  # type: ignore[arg-type]


async def an_object_in_place_of_the_body(request: Request, call_next: CallNext) -> Response:
    return (await call_next(request)).with_body({"error": "no"})  # type: ignore[arg-type]


async def a_list_as_a_stream(request: Request, call_next: CallNext) -> Response:
    return (await call_next(request)).with_pieces([b"data: 1"])  # type: ignore[arg-type]


async def a_status_that_is_text(request: Request, call_next: CallNext) -> Response:
    return Response(request, status="200", body=b"")  # type: ignore[arg-type]


async def a_status_out_of_range(request: Request, call_next: CallNext) -> Response:
    return Response(request, status=700, body=b"")


async def a_number_as_a_model(request: Request, call_next: CallNext) -> Response:
    return await call_next(request.replace(model=5))


async def a_text_as_a_request(request: Request, call_next: CallNext) -> Response:
    return await call_next(request.replace(raw="{}"))


async def a_dictionary_as_headers(request: Request, call_next: CallNext) -> Response:
    return await call_next(request.replace(headers={"x-served-by": "plano"}))


MISTAKES: dict[Callable[..., Any], str] = {
    a_text_as_a_body: "is of type str: give it bytes",
    an_object_in_place_of_the_body: "is of type dict: give it bytes",
    a_list_as_a_stream: "is of type list: give `with_pieces` an async generator",
    a_status_that_is_text: "'200', which is not a number from 200 to 599",
    a_status_out_of_range: "700, which is not a number from 200 to 599",
    a_number_as_a_model: "`model` of a request cannot be of type int",
    a_text_as_a_request: "`raw` of a request cannot be of type str",
    a_dictionary_as_headers: "`headers` of a request cannot be of type dict",
    forgetful: "returned None",
    no_await_in_the_return: "write `return await call_next(request)`",
    no_await_before_use: "write `await call_next(request)`",
    no_await_of_something_else: "write `await look_up(...)`",
    something_else_in_the_return: "write `return await look_up(...)`",
    no_await_at_all: "response = await call_next(request)",
    no_await_and_kept_to_the_end: "response = await call_next(request)",
    a_text_as_the_answer: "returned str, not a Response",
    a_text_function_without_a_return: "gave NoneType for a text",
    a_text_function_that_is_async: "gave coroutine for a text",
    a_string_in_the_headers: "'x-served-by'",
    a_string_as_a_headers_value: "'text/plain'",
    an_answer_to_another_operation: "one for `embeddings`",
}

REPLY = CODECS["chat"].write_reply(Reply(id="1", parts=(Text(text="Hello there"),)), Conversation(), Losses())


async def replying(request: Request) -> Response:
    return Response(request, body=REPLY)


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.__name__)
async def test_a_mistake_is_named_together_with_how_to_mend_it(mistake: Callable[..., Any]) -> None:
    run = fold([Link("mine", mistake), Link("below", Tagging("b"))], replying)
    with pytest.raises(FilterError) as caught:
        await run(asked())
    assert caught.value.filter_name == "mine"
    assert MISTAKES[mistake] in "".join(traceback.format_exception(caught.value.__cause__))


async def test_a_call_that_a_task_awaits_later_is_no_mistake() -> None:
    tasks: list[asyncio.Task[Response]] = []

    async def shadowing(request: Request, call_next: CallNext) -> Response:
        response = await call_next(request)
        tasks.append(asyncio.ensure_future(call_next(request)))
        return response

    response = await fold([Link("mine", shadowing)], replying)(asked())
    assert response.body == (await tasks[0]).body


async def test_a_header_may_be_set_with_strings() -> None:
    async def serving(request: Request, call_next: CallNext) -> Response:
        response = await call_next(request)
        response.set_header("X-Served-By", "plano")
        response.set_header(b"x-served-by", b"plano too")
        return response

    response = await fold([Link("mine", serving)], replying)(asked())
    assert response.headers == [(b"x-served-by", b"plano too")]


# -- Mistakes that show at the start --


def synchronous(request: Request, call_next: CallNext) -> Any:
    return Response(request, body=b"")


def forwarding(request: Request, call_next: CallNext) -> Awaitable[Response]:
    return call_next(request)


def forwarding_with_a_name_for_type_checkers(request: Request, call_next: CallNext) -> Awaitable[Unknown]:  # type: ignore[name-defined]  # noqa: F821
    return call_next(request)


async def generating(request: Request, call_next: CallNext) -> Any:
    yield await call_next(request)


async def of_one(request: Request) -> Response:
    return Response(request, body=b"")


async def of_three(request: Request, call_next: CallNext, window: int) -> Response:
    return await call_next(request)


@functools.wraps(refusing)
def wrapping(*arguments: Any) -> Any:
    return refusing(*arguments)


class Synchronous:
    def __call__(self, request: Request, call_next: CallNext) -> Response:
        return Response(request, body=b"")


class WithMethod:
    async def run(self, request: Request, call_next: CallNext) -> Response:
        return await call_next(request)


OBJECTIONS: list[tuple[Any, str | None]] = [
    (3, "a int, which is not callable"),
    (Link, r"a class; pass an instance, `Link\(...\)`"),
    (synchronous, "a plain function; write `async def`"),
    (Synchronous(), "a plain function; write `async def`"),
    (generating, "has a `yield`"),
    (of_one, r"takes \(request: .*, and is called with two arguments"),
    (of_three, r"takes \(request: .*, window: .*, and is called with two arguments"),
    (functools.partial(synchronous), "a plain function"),
    (WithMethod(), "not callable"),
    (buggy, None),
    (Tagging("a"), None),
    (WithMethod().run, None),
    (functools.partial(of_three, window=3), None),
    (forwarding, None),
    (forwarding_with_a_name_for_type_checkers, None),
    (wrapping, None),
    (lambda request, call_next: call_next(request), None),
]


@pytest.mark.parametrize(("call", "expected"), OBJECTIONS)
def test_what_cannot_be_a_filter_is_found_at_the_start(call: Any, expected: str | None) -> None:
    if expected is None:
        assert callable(fold([Link("mine", call)], last))
        return
    with pytest.raises(ConfigError, match=f"filter `mine`: .*{expected}"):
        fold([Link("mine", call)], last)


def test_all_that_cannot_be_filters_are_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        fold([Link("a", 3), Link("b", refusing), Link("c", synchronous)], last)  # type: ignore[arg-type]
    assert [problem.partition(": ")[0] for problem in caught.value.problems] == ["filter `a`", "filter `c`"]


def test_planos_own_links_may_be_plain_functions() -> None:
    assert callable(fold([Link("own", synchronous, trusted=True)], last))


@pytest.mark.parametrize(
    ("call", "name"),
    [(buggy, "buggy"), (Tagging("a"), "Tagging"), (functools.partial(of_three, window=3), "of_three")],
)
def test_a_filter_is_called_by_its_function_or_class(call: object, name: str) -> None:
    assert name_of(call) == name
