"""A client may name its request in `x-request-id`, within bounds: the name goes into logs, headers and upstreams."""

from __future__ import annotations

import json
import re
from typing import Any

import anthropic
import openai
import pytest

from plano import CallNext, Plano, Request, Response
from plano.testing import FakeProvider, ask, serve
from plano.types import CLIENT_DIALECTS, ClientDialect, Dialect
from tests.asgi import Exchange, scope
from tests.asgi import ask as raw_ask
from tests.observability.test_logs import PATHS, body, gateway, lines, logged
from tests.test_pairs import config

MADE_HERE = re.compile(r"[0-9a-f]{32}")

TAKEN = {
    "a letter": b"a",
    "a UUID": b"8f14e45f-ceea-467f-a0e6-2d5d5e4c7b1a",
    "every kind of character": b"Az09_.:-",
    "the longest": b"x" * 128,
}
REPLACED = {
    "empty": b"",
    "one too long": b"x" * 129,
    "very long": b"x" * 60_000,
    "a space": b"a b",
    "a space at the end": b"a ",
    "a tab": b"a\tb",
    "a line end": b"a\nb",
    "a line end at the end": b"a\n",
    "a carriage return": b"a\rb",
    "a NUL": b"a\0b",
    "an escape": b"a\x1b[31mb",
    "a delete": b"a\x7fb",
    "UTF-8": "é".encode(),
    "a digit of another script": "٣".encode(),
    "Latin-1": b"\xe9",
    "a header of its own": b"a\r\nset-cookie: b",
    "markup": b"<b>",
    "a path": b"../a",
    "JSON": b'{"a"}',
}


async def asked(headers: list[tuple[bytes, bytes]]) -> tuple[dict[str, str], str, str]:
    """The reply's headers, and the id that the upstream and the log have."""
    provider = FakeProvider()
    provider.reply("Hello", headers={"x-request-id": "of-the-upstream"})
    app = gateway(provider)
    exchange = Exchange(json.dumps(body("chat")).encode())
    with logged() as stream:
        await app(scope("POST", PATHS["chat"]) | {"headers": headers}, exchange.receive, exchange.send)
        await app.aclose()
    (line,) = lines(stream)
    return exchange.answer.headers, provider.last.headers["x-request-id"], line["id"]


@pytest.mark.parametrize("given", TAKEN)
async def test_an_id_within_bounds_is_the_requests_everywhere(given: str) -> None:
    headers, upstream, log = await asked([(b"x-request-id", TAKEN[given])])
    assert headers["x-request-id"].encode() == upstream.encode() == log.encode() == TAKEN[given]
    assert headers["x-plano-upstream-request-id"] == "of-the-upstream"


@pytest.mark.parametrize("given", REPLACED)
async def test_an_id_out_of_bounds_is_replaced_everywhere(given: str) -> None:
    headers, upstream, log = await asked([(b"x-request-id", REPLACED[given])])
    assert MADE_HERE.fullmatch(upstream)
    assert headers["x-request-id"] == upstream == log
    assert headers["x-plano-upstream-request-id"] == "of-the-upstream"


async def test_without_one_the_reply_has_the_upstreams() -> None:
    headers, upstream, log = await asked([])
    assert headers["x-request-id"] == "of-the-upstream"
    assert "x-plano-upstream-request-id" not in headers
    assert MADE_HERE.fullmatch(upstream)
    assert log == upstream


async def test_no_two_requests_have_the_same_id() -> None:
    ids = {(await asked([]))[1] for _ in range(20)}
    assert len(ids) == 20


# --- one id for each client -------------------------------------------------------------------------

UPSTREAMS_IDS = {
    "none": {},
    "x-request-id": {"x-request-id": "up-x"},
    "request-id": {"request-id": "up-r"},
    "both": {"x-request-id": "up-x", "request-id": "up-r"},
}
MODEL = "fake_chat/m-1"
NATIVE_ERROR = {"type": "error", "error": {"type": "overloaded_error", "message": "m"}, "request_id": "up-r"}


@pytest.mark.parametrize("status", [200, 529, 502], ids=["reply", "error", "page"])
@pytest.mark.parametrize("named", [False, True], ids=["unnamed", "named"])
@pytest.mark.parametrize("said", UPSTREAMS_IDS)
@pytest.mark.parametrize("upstream", CLIENT_DIALECTS)
@pytest.mark.parametrize("client", CLIENT_DIALECTS)
async def test_a_client_sees_one_id(
    client: ClientDialect, upstream: Dialect, said: str, named: bool, status: int
) -> None:
    provider = FakeProvider()
    app = Plano(config("http://upstream.test"), transport=provider)
    body = (await ask(Plano(config("http://other.test"), transport=FakeProvider()), upstream, "Hi", model=MODEL)).body
    if status == 529:
        body = json.dumps(NATIVE_ERROR).encode()
    elif status == 502:
        body = b"<html><title>Down</title></html>"
    provider.raw(status, {"content-type": "application/json"} | UPSTREAMS_IDS[said], body)
    headers = {"x-request-id": "mine"} if named else {}
    received = await ask(app, client, "Hi", model=f"fake_{upstream}/m-1", headers=headers)
    assert received.status == status
    upstreams = UPSTREAMS_IDS[said].get("x-request-id") or UPSTREAMS_IDS[said].get("request-id")
    sent_on = provider.last.headers["x-request-id"]
    assert received.headers["x-request-id"] == ("mine" if named else upstreams or sent_on)
    assert received.headers.get("x-plano-upstream-request-id") == (upstreams if named else None)
    if client == "messages":
        own = UPSTREAMS_IDS[said].get("request-id") or received.headers["x-request-id"]
        assert received.headers["request-id"] == own
        if status != 200 and not (status == 529 and upstream == client):
            assert received.json["request_id"] == own
    elif status != 200 and not (status == 529 and upstream == client):
        assert "request_id" not in received.json


@pytest.mark.parametrize("named", [False, True], ids=["unnamed", "named"])
@pytest.mark.parametrize("case", ["no such model", "not JSON", "GET", "no such path", "a broken stream", "a filter's"])
async def test_what_plano_says_itself_has_the_id_in_headers_and_body(case: str, named: bool) -> None:
    async def fails(request: Request, call_next: CallNext) -> Response:
        if case == "a filter's":
            raise ZeroDivisionError
        return await call_next(request)

    provider = FakeProvider()
    if case == "a broken stream":
        provider.breaks_after(0)
    app = Plano(config("http://upstream.test"), transport=provider, filters=[fails])
    body: dict[str, Any] = {"model": "fake_chat/m-1", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
    if case == "no such model":
        body["model"] = "nobody"
    headers = {"x-request-id": "mine"} if named else {}
    path = "/v1/messages/nowhere" if case == "no such path" else "/v1/messages"
    said = b"{" if case == "not JSON" else body | {"stream": case == "a broken stream"}
    answer = await raw_ask(app, "GET" if case == "GET" else "POST", path, said, headers)
    assert answer.status >= 400
    shown = answer.headers["x-request-id"]
    assert shown == "mine" or not named
    assert answer.headers["request-id"] == answer.json()["request_id"] == shown


@pytest.mark.parametrize("anthropics", [False, True])
@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/fake_chat/m-1", "/v1/models/nobody", "/healthz", "/readyz"])
async def test_answers_that_ask_no_model_have_an_id(path: str, anthropics: bool) -> None:
    app = Plano(config("http://upstream.test"))
    headers = {"anthropic-version": "2023-06-01"} if anthropics else {}
    answer = await raw_ask(app, "GET", path, b"", headers)
    assert MADE_HERE.fullmatch(answer.headers["x-request-id"])
    assert answer.headers.get("request-id") == (answer.headers["x-request-id"] if anthropics else None)
    assert (await raw_ask(app, "GET", path, b"", headers | {"x-request-id": "a"})).headers["x-request-id"] == "a"


@pytest.mark.parametrize("upstream", CLIENT_DIALECTS)
async def test_the_sdks_show_the_id(upstream: Dialect) -> None:
    provider = FakeProvider()
    with serve(provider) as url, serve(Plano(config(url))) as there:
        asked: dict[str, Any] = {"model": f"fake_{upstream}/m-1", "messages": [{"role": "user", "content": "Hi"}]}
        async with anthropic.AsyncAnthropic(base_url=there, api_key="k", max_retries=0) as claude:
            reply = await claude.messages.create(max_tokens=9, **asked)
            assert reply._request_id == "req_fake_1"
            provider.fail(400)
            with pytest.raises(anthropic.BadRequestError) as caught:
                await claude.messages.create(max_tokens=9, **asked)
            assert caught.value.request_id == provider.last.headers["x-request-id"]
            if upstream != "messages":
                assert caught.value.body["request_id"] == caught.value.request_id  # type: ignore[index]
            with pytest.raises(anthropic.NotFoundError) as missing:
                await claude.messages.create(max_tokens=9, **asked | {"model": "nobody"})
            assert missing.value.request_id == missing.value.body["request_id"]  # type: ignore[index]
        async with openai.AsyncOpenAI(base_url=f"{there}/v1", api_key="k", max_retries=0) as gpt:
            provider.reply("Hello")
            completion = await gpt.chat.completions.create(**asked)
            assert completion._request_id == f"req_fake_{len(provider.requests)}"
