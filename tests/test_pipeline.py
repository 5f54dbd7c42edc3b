"""Links folded into one callable: whose error is whose, and for how many requests a timed one stands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from plano.errors import ConfigError, FilterError, GatewayFailed, InvalidRequest
from plano.journal import Journal
from plano.pipeline import APART, CallNext, Link, fold, name_of
from plano.request import Request
from plano.response import Response


def asked(started: float = 0.0) -> Request:
    journal = Journal()
    journal.started = started
    return Request(dialect="chat", journal=journal)


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

NEAR, FAR = APART / 4, APART * 1.5
STARTS: dict[str, tuple[list[float], list[int | None]]] = {
    "one": ([5.0], [1]),
    "far apart": ([5.0, 5.0 + FAR, 5.0 + 2 * FAR], [1, 1, 1]),
    "just apart": ([5.0, 5.0 + APART], [1, 1]),
    "close together": ([5.0, 5.0 + NEAR, 5.0 + 2 * NEAR, 5.0 + FAR], [1, None, None, 3]),
    "at once": ([5.0, 5.0, 5.0, 9.0, 9.0, 19.0], [1, None, None, 3, None, 2]),
    "counted from the one that was timed": (
        [5.0, 5.0 + APART * 0.9, 5.0 + APART * 1.1, 5.0 + APART * 1.9, 5.0 + APART * 2.2],
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


# -- Whose error it is --


async def buggy(request: Request, call_next: CallNext) -> Response:
    raise ZeroDivisionError


async def forgetful(request: Request, call_next: CallNext) -> Any:
    await call_next(request)


async def refusing(request: Request, call_next: CallNext) -> Response:
    raise InvalidRequest("no")


def synchronous(request: Request, call_next: CallNext) -> Any:
    return Response(request, body=b"")


ERRORS: list[tuple[Callable[..., Any], bool, type[Exception]]] = [
    (buggy, False, FilterError),
    (buggy, True, ZeroDivisionError),
    (forgetful, False, FilterError),
    (synchronous, False, FilterError),
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


@pytest.mark.parametrize("timed", [False, True])
@pytest.mark.parametrize(("call", "trusted", "error"), ERRORS)
async def test_where_an_error_meets_a_filter_it_is_a_response(
    call: Callable[..., Any], trusted: bool, error: type[Exception], timed: bool
) -> None:
    async def stamping(request: Request, call_next: CallNext) -> Response:
        response = await call_next(request)
        response.set_header(b"x-stamp", b"yes")
        return response

    links = [Link("above", stamping), Link("the one", call, trusted), Link("below", Tagging("b"))]
    response = await fold(links, last, [0.0] * 5 if timed else None)(asked())
    expected = GatewayFailed if error is ZeroDivisionError else error
    assert type(response.error) is expected
    assert response.status == response.error.status
    assert (b"x-stamp", b"yes") in response.headers


def test_what_cannot_be_called_is_found_at_the_start() -> None:
    with pytest.raises(ConfigError, match="filter `a`: 3 is not callable"):
        fold([Link("a", 3)], last)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"filter `b`: a class; pass an instance, `Link\(...\)`"):
        fold([Link("b", Link)], last)  # type: ignore[arg-type]


def test_a_filter_is_called_by_its_function_or_class() -> None:
    assert name_of(buggy) == "buggy"
    assert name_of(Tagging("a")) == "Tagging"
