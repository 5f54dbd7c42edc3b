"""The user's filters around what plano answers by itself: one place adds headers to everything that goes out."""

from __future__ import annotations

from typing import Any

import pytest

from plano import CallNext, Plano, Request, Response
from plano.errors import PermissionDenied
from plano.testing import FakeProvider
from plano.types import Caller
from tests.asgi import ask

CHAT = "/v1/chat/completions"
HELLO = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
ENTRY = {"model": "openai/m", "access_key": "k"}
KEYS = {"auth": {"keys": [{"name": "app", "key": "sk-app"}]}}
KEY = {"authorization": "Bearer sk-app"}
FIRST = ("metrics", "intake", "filters", "auth", "alias", "state", "translation")


async def stamping(request: Request, call_next: CallNext) -> Response:
    response = await call_next(request)
    response.set_header("x-stamp", request.operation)
    return response


def gateway(*filters: Any, keyed: bool = False, **more: Any) -> Plano:
    return Plano(
        {"model_providers": [ENTRY], **(KEYS if keyed else {})}, filters=filters, transport=FakeProvider(), **more
    )


EVERYTHING = [
    ("POST", CHAT, HELLO, 200, "create"),
    ("POST", CHAT, HELLO | {"model": "nobody"}, 404, "create"),
    ("POST", CHAT, HELLO | {"stream": True}, 200, "create"),
    ("POST", "/v1/embeddings", {"model": "m", "input": "Hi"}, 200, "embeddings"),
    ("GET", "/v1/models", None, 200, "other"),
    ("HEAD", "/v1/models", None, 200, "other"),
    ("GET", "/v1/models/openai/m", None, 200, "other"),
    ("GET", "/v1/models/nobody", None, 404, "other"),
    ("DELETE", "/v1/models", None, 405, "other"),
    ("GET", "/v1/responses/resp_1", None, 404, "other"),
    ("POST", "/v1/conversations", {}, 200, "other"),
    ("GET", "/", None, 200, "other"),
    ("GET", "/no/such/path", None, 404, "other"),
    ("POST", "/no/such/path", HELLO, 404, "other"),
]


@pytest.mark.parametrize(("method", "path", "body", "status", "operation"), EVERYTHING)
async def test_one_filter_adds_a_header_to_everything(
    method: str, path: str, body: Any, status: int, operation: str
) -> None:
    with_filter = await ask(gateway(stamping), method, path, body)
    without = await ask(gateway(), method, path, body)
    assert (with_filter.status, without.status) == (status, status)
    assert with_filter.headers.pop("x-stamp") == operation
    same = {"content-type", "content-length", "allow"}
    assert {name: with_filter.headers.get(name) for name in same} == {name: without.headers.get(name) for name in same}
    if method == "HEAD":
        assert with_filter.body == b""


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
async def test_what_operators_ask_is_not_the_filters(path: str) -> None:
    answer = await ask(gateway(stamping), "GET", path)
    assert answer.status == 200
    assert "x-stamp" not in answer.headers


@pytest.mark.parametrize(
    ("order", "headers", "status", "stamped"),
    [(None, {}, 401, False), (None, KEY, 200, True), (FIRST, {}, 401, True), (FIRST, KEY, 200, True)],
)
@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/models"), ("POST", CHAT)])
async def test_filters_below_auth_see_no_strangers(
    method: str, path: str, order: Any, headers: dict[str, str], status: int, stamped: bool
) -> None:
    app = gateway(stamping, keyed=True, **({} if order is None else {"order": order}))
    answer = await ask(app, method, path, HELLO if method == "POST" else None, headers)
    assert (answer.status, "x-stamp" in answer.headers) == (status, stamped)


async def test_an_unknown_path_is_stamped_for_strangers_too() -> None:
    answer = await ask(gateway(stamping, keyed=True), "GET", "/no/such/path")
    assert (answer.status, answer.headers["x-stamp"]) == (404, "other")


async def test_they_know_who_asks_and_find_no_conversation() -> None:
    seen: list[Request] = []

    async def look(request: Request, call_next: CallNext) -> Response:
        seen.append(request)
        response = await call_next(request)
        assert not response.ok
        assert response.map_text(str.upper) is response
        return response

    assert (await ask(gateway(look, keyed=True), "GET", "/v1/models", None, KEY)).status == 200
    (request,) = seen
    assert request.caller == Caller(name="app", tenant="app")
    assert request.conversation.messages == ()


@pytest.mark.parametrize(("headers", "form"), [({}, "code"), ({"anthropic-version": "2023-06-01"}, "type")])
async def test_a_filter_may_turn_a_request_away_or_fail(headers: dict[str, str], form: str) -> None:
    async def refusing(request: Request, call_next: CallNext) -> Response:
        raise PermissionDenied("Not today.")

    async def failing(request: Request, call_next: CallNext) -> Response:
        raise ZeroDivisionError

    refused = await ask(gateway(refusing), "GET", "/v1/models", None, headers)
    assert (refused.status, refused.json()["error"]["message"]) == (403, "Not today.")
    assert form in refused.json()["error"]
    failed = await ask(gateway(failing), "GET", "/v1/models", None, headers)
    assert failed.status == 500
    assert "`failing`" in failed.json()["error"]["message"]


async def test_what_a_filter_hangs_on_the_end_runs() -> None:
    over: list[int] = []

    async def watching(request: Request, call_next: CallNext) -> Response:
        response = await call_next(request)
        response.on_close(lambda: over.append(response.status))
        return response

    await ask(gateway(watching), "GET", "/v1/models")
    assert over == [200]
