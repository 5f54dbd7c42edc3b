"""What asks no model passes the user's filters too."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from plano import CallNext, Plano, Request, Response
from plano.types import Caller, Message, Scope
from tests.asgi import Answer, Exchange, ask, scope

MODELS, CONVERSATIONS, NOWHERE = "/v1/models", "/v1/conversations", "/v1/nowhere"
SAID = {"items": [{"type": "message", "role": "user", "content": "Hi"}]}
CALLS = [("GET", MODELS, b"", 200), ("POST", CONVERSATIONS, json.dumps(SAID).encode(), 200), ("GET", NOWHERE, b"", 404)]
EVERY_CALL = pytest.mark.parametrize(("method", "path", "body", "status"), CALLS)


def gateway(*filters: Any, **more: Any) -> Plano:
    entry = {"model": "openai/m", "access_key": "k"}
    return Plano({"model_providers": [entry], "state_storage": {"type": "memory"}, **more}, filters=filters)


async def passes(request: Request, call_next: CallNext) -> Response:
    return await call_next(request)


async def asks_twice(request: Request, call_next: CallNext) -> Response:
    await call_next(request)
    return await call_next(request)


async def shouts(request: Request, call_next: CallNext) -> Response:
    response = await call_next(request)

    async def pieces() -> AsyncIterator[bytes]:
        for part in (response.body or b"").split():
            yield part.upper()

    return response.with_pieces(pieces())


async def breaks_off(request: Request, call_next: CallNext) -> Response:
    response = await call_next(request)

    async def pieces() -> AsyncIterator[bytes]:
        yield b"{"
        raise ZeroDivisionError

    return response.with_pieces(pieces())


class Audits:
    """Notes how each response that passes it ended."""

    def __init__(self, answer: bytes | None = None) -> None:
        self.seen: list[tuple[int, int, str | None]] = []
        self._answer = answer

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        response = await call_next(request)
        response.on_close(lambda: self._close(response))
        return response if self._answer is None else Response(request, body=self._answer)

    def _close(self, response: Response) -> None:
        journal = response.journal
        assert journal.ended is not None
        self.seen.append((response.status, journal.status, journal.outcome))


async def answered(app: Any, method: str, path: str, body: bytes) -> Answer:
    answer = await ask(app, method, path, body, {"x-request-id": "r-1"})
    assert answer.headers["x-request-id"] == "r-1"
    return answer


@EVERY_CALL
async def test_filters_that_change_nothing_change_nothing(method: str, path: str, body: bytes, status: int) -> None:
    plain, filtered = [await answered(gateway(*filters), method, path, body) for filters in ((), (passes,))]
    assert (plain.status, filtered.status) == (status, status)
    assert filtered.headers == plain.headers
    if path != CONVERSATIONS:  # whose ids are made up
        assert filtered.body == plain.body


@EVERY_CALL
async def test_what_is_mounted_is_filtered_the_same(method: str, path: str, body: bytes, status: int) -> None:
    app = Starlette(routes=[Mount("/llm", app=gateway(passes))])
    assert (await answered(app, method, f"/llm{path}", body)).status == status


@EVERY_CALL
async def test_a_filter_may_ask_more_than_once(method: str, path: str, body: bytes, status: int) -> None:
    """Also where the request has a body, which the server gives once."""
    answer = await answered(gateway(asks_twice), method, path, body)
    assert answer.status == status
    assert "id" in answer.json() or "data" in answer.json() or "error" in answer.json()


@EVERY_CALL
async def test_a_filter_learns_how_it_ended(method: str, path: str, body: bytes, status: int) -> None:
    audits = Audits()
    await answered(gateway(audits), method, path, body)
    assert audits.seen == [(status, status, "completed")]


@EVERY_CALL
async def test_a_response_that_is_dropped_is_over_with_its_request(
    method: str, path: str, body: bytes, status: int
) -> None:
    audits = Audits(answer=b"{}")
    assert (await answered(gateway(audits), method, path, body)).body == b"{}"
    assert audits.seen == [(status, 200, "completed")]


@EVERY_CALL
async def test_a_stream_goes_out_as_a_body(method: str, path: str, body: bytes, status: int) -> None:
    answer = await answered(gateway(shouts), method, path, body)
    assert answer.status == status
    assert answer.body.isupper()
    assert int(answer.headers["content-length"]) == len(answer.body)


@EVERY_CALL
async def test_a_stream_that_breaks_is_the_filters_error(
    method: str, path: str, body: bytes, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await answered(gateway(breaks_off), method, path, body)
    assert answer.status == 500
    assert answer.json()["error"]["message"] == "The gateway's filter `breaks_off` failed."
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError


async def test_a_client_that_leaves_in_its_body_is_told_nothing() -> None:
    audits, exchange = Audits(), Exchange(b"{", complete=False)
    exchange.leave()
    await gateway(audits)(scope("POST", CONVERSATIONS), exchange.receive, exchange.send)
    assert exchange.answer == Answer()
    assert audits.seen == [(500, 0, "aborted")]


async def test_a_client_that_leaves_before_its_answer_is_noted() -> None:
    async def gone(message: Message) -> None:
        raise OSError

    audits, exchange = Audits(), Exchange(b"")
    await gateway(audits)(scope("GET", MODELS), exchange.receive, gone)
    assert audits.seen == [(200, 200, "aborted")]


async def test_a_body_that_does_not_come_is_a_time_out() -> None:
    app, exchange = gateway(passes, limits={"body_seconds": 0.05}), Exchange(b"{", complete=False)
    await app(scope("POST", CONVERSATIONS), exchange.receive, exchange.send)
    assert exchange.answer.status == 408


@pytest.mark.parametrize("path", [MODELS, NOWHERE])
async def test_a_head_request_has_the_headers_of_a_get(path: str) -> None:
    asked, got = [await answered(gateway(shouts), method, path, b"") for method in ("HEAD", "GET")]
    assert (asked.status, asked.headers, asked.body) == (got.status, got.headers, b"")


@EVERY_CALL
@pytest.mark.parametrize("filters", [(), (passes,), (asks_twice,)])
async def test_a_host_is_asked_once_who_is_calling(
    filters: tuple[Any, ...], method: str, path: str, body: bytes, status: int
) -> None:
    asked: list[str] = []

    def caller(scope: Scope) -> Caller:
        asked.append(scope["path"])
        return Caller(name="alice", tenant="a")

    entry = {"model": "openai/m", "access_key": "k"}
    app = Plano({"model_providers": [entry], "state_storage": {"type": "memory"}}, filters=filters, caller=caller)
    assert (await answered(app, method, path, body)).status == status
    assert asked == ([] if not filters and path == NOWHERE else [path])


@EVERY_CALL
async def test_who_is_not_signed_in_is_turned_away_with_and_without_filters(
    method: str, path: str, body: bytes, status: int
) -> None:
    entry = {"model": "openai/m", "access_key": "k"}
    config = {"model_providers": [entry], "state_storage": {"type": "memory"}}
    plain, filtered = [
        await answered(Plano(config, filters=filters, caller=lambda scope: None), method, path, body)
        for filters in ((), (passes,))
    ]
    assert (filtered.status, filtered.body) == (plain.status, plain.body)
    assert plain.status == (404 if path == NOWHERE else 401)
