"""The class that an attempt's record has after a failure, in every dialect, streamed or not, native and translated."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from plano import CallNext, Plano, Request, Response
from plano.attempt import Attempt
from plano.errors import UpstreamError
from plano.journal import Journal
from plano.testing import WAYS, FakeProvider, ask
from plano.types import CLIENT_DIALECTS as DIALECTS
from plano.types import Dialect
from tests.asgi import ask as asked
from tests.servers import free_port
from tests.test_pairs import PATHS
from tests.test_response import gateway
from tests.test_vendor_rules import asked_in
from tests.transport.wire import Peer, Server, answering

JSON = {"content-type": "application/json"}
STREAM = {"content-type": "text/event-stream"}

EVERY_WAY = pytest.mark.parametrize(("client", "stream"), WAYS)
EVERY_UPSTREAM = pytest.mark.parametrize("upstream", DIALECTS)


class Watches:
    """Waits for the beginning of a reply, as a fallback would, and keeps the records of the attempts."""

    def __init__(self) -> None:
        self.journal = Journal()
        self.raised: UpstreamError | None = None
        self.filtered = False

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        self.journal = request.journal
        response = await call_next(request)
        try:
            await response.begun()
        except UpstreamError as error:
            self.raised = error
        self.filtered = response.filtered
        return response

    @property
    def attempt(self) -> Attempt:
        (attempt,) = self.journal.attempts
        return attempt


async def watched(provider: FakeProvider, upstream: Dialect, client: Dialect, stream: bool) -> Watches:
    watches = Watches()
    await ask(gateway(watches, provider=provider, upstream=upstream), client, "Hi", stream=stream)
    return watches


RESPONSES: list[tuple[str, int, dict[str, str], Any, float | None]] = [
    ("rate_limit", 429, {"retry-after": "2"}, {"error": {"message": "m"}}, 2.0),
    ("rate_limit", 429, {"retry-after-ms": "1500"}, {"error": {"message": "Please try again in 20s."}}, 1.5),
    ("rate_limit", 429, {}, {"error": {"message": "Please try again in 20s."}}, 20.0),
    ("quota", 400, {}, {"error": {"message": "Your credit balance is too low to access the API."}}, None),
    ("quota", 402, {}, {"error": {"message": "Insufficient Balance"}}, None),
    ("quota", 403, {}, {"error": "You have run out of credits."}, None),
    ("credential", 401, {}, {"error": {"message": "m"}}, None),
    ("credential", 400, {}, {"error": {"message": "m", "details": [{"reason": "API_KEY_INVALID"}]}}, None),
    ("credential", 403, {}, {"error": {"message": "You may not use the file with id 'file-1'."}}, None),
    ("content_filter", 403, {}, {"error": {"message": "m", "code": "content_filter"}}, None),
    ("no_model", 404, {}, {"error": {"message": "The model `m` does not exist."}}, None),
    ("no_model", 403, {}, {"error": {"message": "m", "code": "model_not_found"}}, None),
    ("context_window", 400, {}, {"error": {"message": "prompt is too long: 9 tokens > 8 maximum"}}, None),
    ("content_filter", 400, {}, {"error": {"message": "m", "code": "content_filter"}}, None),
    ("overloaded", 529, {"retry-after": "1"}, {"error": {"message": "m"}}, 1.0),
    ("server", 503, {}, {"error": {"message": "m"}}, None),
    ("invalid", 400, {}, {"error": {"message": "m"}}, None),
]


@EVERY_WAY
@EVERY_UPSTREAM
@pytest.mark.parametrize(("failure", "status", "headers", "body", "wait"), RESPONSES)
async def test_an_error_response_leaves_its_class_and_its_wait(
    failure: str,
    status: int,
    headers: dict[str, str],
    body: Any,
    wait: float | None,
    upstream: Dialect,
    client: Dialect,
    stream: bool,
) -> None:
    provider = FakeProvider()
    provider.raw(status, JSON | headers, json.dumps(body).encode())
    watches = await watched(provider, upstream, client, stream)
    assert (watches.attempt.failure, watches.attempt.retry_after) == (failure, wait)
    assert watches.raised is not None


WHOLE: list[tuple[str, dict[str, str], bytes]] = [
    ("protocol", JSON, b'{"error":{"message":"m"}}'),
    ("protocol", JSON, b'{"error":{"message":"m","type":"server_error"}}'),
    ("overloaded", JSON, b'{"error":{"message":"m","type":"overloaded_error"}}'),
    ("context_window", JSON, b'{"error":{"message":"m","code":"context_length_exceeded"}}'),
    ("protocol", JSON, b"{}"),
    ("protocol", JSON, b'"a text"'),
    ("protocol", JSON, b""),
    ("protocol", JSON, b"{"),
    ("protocol", {"content-type": "text/html"}, b"<html>Hello</html>"),
    ("protocol", JSON, b'{"choices":[],"content":[],"output":[]}'),
    ("protocol", JSON, b'{"choices":[{"message":{"content":null},"finish_reason":null}],"content":[],"output":[]}'),
]


@pytest.mark.parametrize("client", DIALECTS)
@EVERY_UPSTREAM
@pytest.mark.parametrize(("failure", "headers", "body"), WHOLE)
async def test_a_200_that_is_no_reply_leaves_its_class(
    failure: str, headers: dict[str, str], body: bytes, upstream: Dialect, client: Dialect
) -> None:
    provider = FakeProvider()
    provider.raw(200, headers, body)
    watches = await watched(provider, upstream, client, stream=False)
    assert watches.attempt.failure == failure
    assert watches.raised is not None


def frame(document: Any, event: str | None = None) -> bytes:
    name = b"" if event is None else b"event: %b\n" % event.encode()
    return name + b"data: %b\n\n" % json.dumps(document).encode()


def chunk(**choice: Any) -> bytes:
    return frame({"object": "chat.completion.chunk", "id": "c", "choices": [{"index": 0, "delta": {}, **choice}]})


ROLE = chunk(delta={"role": "assistant", "content": ""})
ANNOTATED = frame({"choices": [], "prompt_filter_results": [{"prompt_index": 0}], "id": "", "object": ""})
STARTED = frame({"type": "message_start", "message": {"id": "m", "content": [], "usage": {"input_tokens": 3}}})
PING = frame({"type": "ping"}, "ping")
CREATED = frame({"type": "response.created", "response": {"id": "resp_1", "output": []}}, "response.created")
COMMENT = b": OPENROUTER PROCESSING\n\n"

STREAMS: list[tuple[str, Dialect, list[bytes]]] = [
    ("server", "chat", [frame({"error": {"message": "m"}})]),
    ("context_window", "chat", [frame({"error": {"message": "m", "code": "context_length_exceeded"}})]),
    ("overloaded", "chat", [ANNOTATED, ROLE, frame({"error": {"message": "m", "type": "overloaded_error"}})]),
    ("rate_limit", "chat", [COMMENT, COMMENT, frame({"error": {"message": "m", "code": 429}})]),
    ("protocol", "chat", [ROLE]),
    ("protocol", "chat", [COMMENT, ROLE, COMMENT]),
    ("protocol", "chat", [ROLE, b"data: [DONE]\n\n"]),
    ("protocol", "chat", []),
    ("server", "chat", [ROLE, chunk(finish_reason="error")]),
    (
        "overloaded",
        "messages",
        [STARTED, PING, frame({"error": {"type": "overloaded_error", "message": "m"}}, "error")],
    ),
    ("quota", "messages", [frame({"type": "error", "error": {"type": "billing_error", "message": "m"}}, "error")]),
    ("protocol", "messages", [STARTED, PING]),
    ("protocol", "messages", [STARTED, frame({"type": "message_stop"})]),
    (
        "rate_limit",
        "responses",
        [CREATED, frame({"type": "response.failed", "response": {"error": {"code": "rate_limit_exceeded"}}})],
    ),
    ("overloaded", "responses", [CREATED, frame({"type": "error", "code": "server_is_overloaded", "message": "m"})]),
    ("protocol", "responses", [CREATED]),
]


@pytest.mark.parametrize("client", DIALECTS)
@pytest.mark.parametrize("cut", [None, 7])
@pytest.mark.parametrize(("failure", "upstream", "frames"), STREAMS)
async def test_a_stream_that_fails_before_any_output_leaves_its_class(
    failure: str, upstream: Dialect, frames: list[bytes], cut: int | None, client: Dialect
) -> None:
    whole = b"".join(frames)
    pieces = frames if cut is None else [whole[at : at + cut] for at in range(0, len(whole), cut)]
    provider = FakeProvider()
    provider.raw(200, STREAM, pieces)
    watches = await watched(provider, upstream, client, stream=True)
    assert watches.attempt.failure == failure
    assert watches.raised is not None


SAID: list[tuple[Dialect, bytes]] = [
    ("chat", chunk(delta={"content": "Hello"})),
    ("messages", frame({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}})),
    ("responses", frame({"type": "response.output_text.delta", "item_id": "i", "delta": "Hello"})),
]


@pytest.mark.parametrize("client", DIALECTS)
@pytest.mark.parametrize(("upstream", "said"), SAID)
async def test_a_stream_that_fails_after_its_first_output_is_a_broken_one(
    upstream: Dialect, said: bytes, client: Dialect
) -> None:
    provider = FakeProvider()
    opening = {"chat": [ROLE], "messages": [STARTED, PING], "responses": [CREATED]}[upstream]
    provider.raw(200, STREAM, [*opening, said])
    watches = await watched(provider, upstream, client, stream=True)
    assert watches.raised is None
    assert watches.attempt.failure == "broken_stream"


FILTERED: list[tuple[Dialect, bytes, bytes]] = [
    (
        "chat",
        chunk(finish_reason="content_filter"),
        b'{"id":"c","choices":[{"message":{"role":"assistant","content":null},"finish_reason":"content_filter"}]}',
    ),
    (
        "messages",
        frame({"type": "message_delta", "delta": {"stop_reason": "refusal"}, "usage": {"output_tokens": 0}}),
        b'{"id":"m","type":"message","content":[],"stop_reason":"refusal","usage":{}}',
    ),
    (
        "responses",
        frame(
            {
                "type": "response.incomplete",
                "response": {
                    "id": "r",
                    "status": "incomplete",
                    "incomplete_details": {"reason": "content_filter"},
                    "output": [],
                },
            }
        ),
        b'{"id":"r","status":"incomplete","incomplete_details":{"reason":"content_filter"},"output":[]}',
    ),
]


@EVERY_WAY
@pytest.mark.parametrize(("upstream", "end", "body"), FILTERED)
async def test_a_reply_that_a_filter_ended_before_any_output_is_told_and_passes(
    upstream: Dialect, end: bytes, body: bytes, client: Dialect, stream: bool
) -> None:
    provider = FakeProvider()
    opening = {"chat": [ANNOTATED, ROLE], "messages": [STARTED], "responses": [CREATED]}[upstream]
    provider.raw(200, STREAM if stream else JSON, [*opening, end] if stream else body)
    watches = await watched(provider, upstream, client, stream=stream)
    assert watches.raised is None
    assert watches.filtered
    assert watches.attempt.failure is None


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [200, 400, 401])
async def test_the_gateways_key_stands_in_no_error_that_is_raised(status: int, stream: bool) -> None:
    watches, provider = Watches(), FakeProvider()
    said = json.dumps(
        {"error": {"message": "The key sk-of-the-gateway is tired.", "type": "overloaded_error"}}
    ).encode()
    if status == 200 and stream:
        provider.raw(200, STREAM, [ROLE, b"data: %b\n\n" % said])
    else:
        provider.raw(status, JSON, said)
    app = Plano(entry("http://u.test", access_key="sk-of-the-gateway"), filters=[watches], transport=provider)
    answer = await asked(app, "POST", PATHS["chat"], asked_in("chat", model="openai/m") | {"stream": stream})
    assert watches.raised is not None
    assert "sk-of-the-gateway" not in repr(vars(watches.raised)) + str(watches.raised)
    assert b"sk-of-the-gateway" not in answer.body
    assert watches.attempt.failure == "overloaded"


@pytest.mark.parametrize("status", [401, 403])
@EVERY_UPSTREAM
async def test_a_key_of_the_callers_own_is_the_callers_to_correct(status: int, upstream: Dialect) -> None:
    watches, provider = Watches(), FakeProvider()
    provider.raw(status, JSON, b'{"error":{"message":"m","code":"invalid_api_key"}}')
    row = {"model": "openai/m", "base_url": "http://u.test/v1", "apis": [upstream], "passthrough_auth": True}
    app = Plano({"model_providers": [row]}, filters=[watches], transport=provider)
    answer = await asked(app, "POST", PATHS[upstream], asked_in(upstream, model="openai/m"))
    assert answer.status == status
    assert watches.attempt.failure == "invalid"


async def test_a_wait_for_output_that_takes_too_long_is_given_up_and_the_connection_closed() -> None:
    """As a limit on the time to the first output does it."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    async with Server() as server:

        async def impatient(request: Request, call_next: CallNext) -> Response:
            response = await call_next(request)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await response.begun()
            assert server.open == 1
            await response.aclose()
            await server.all_gone()
            return Response.of(request, "mine")

        server.plays(answering(head + b"%x\r\n%b\r\n" % (len(ROLE), ROLE)))
        app = Plano(entry(server.url), filters=[impatient])
        answer = await asked(app, "POST", PATHS["chat"], asked_in("chat", model="openai/m") | {"stream": True})
        await app.aclose()
    assert b"mine" in answer.body


def entry(url: str, **more: Any) -> dict[str, Any]:
    return {"model_providers": [{"model": "openai/m", "access_key": "k", "base_url": f"{url}/v1", **more}]}


async def hangs_up(peer: Peer) -> None:
    await peer.request()
    peer.close()


async def test_it_is_known_whether_an_upstream_may_have_seen_the_request() -> None:
    found: list[bool] = []

    async def looks(request: Request, call_next: CallNext) -> Response:
        response = await call_next(request)
        assert isinstance(response.error, UpstreamError)
        found.append(response.error.sent)
        return response

    async with Server() as server:
        server.plays(hangs_up)
        for url in (server.url, f"http://127.0.0.1:{free_port()}"):
            app = Plano(entry(url), filters=[looks])
            await asked(app, "POST", PATHS["chat"], asked_in("chat", model="openai/m"))
            await app.aclose()
    assert found == [True, False]
