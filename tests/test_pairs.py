"""Every client dialect with every upstream dialect, streamed and not, with the real SDKs over real sockets.

A cell counts only when the upstream was spoken to in its own dialect, at its own path.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
from anthropic.types import Message, RawMessageStreamEvent
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from plano import Plano
from plano.frames import sse
from plano.testing import FakeProvider, Usage, ask, redacted_thinking, serve, thinking, tool_call
from plano.types import CLIENT_DIALECTS as DIALECTS
from plano.types import Dialect
from tests.clients import CLIENTS
from tests.test_cli import up

PATHS = {"chat": "/v1/chat/completions", "messages": "/v1/messages", "responses": "/v1/responses"}
FINISHES = {
    "stop": {"chat": "stop", "messages": "end_turn", "responses": "completed"},
    "length": {"chat": "length", "messages": "max_tokens", "responses": "max_output_tokens"},
    "tool_calls": {"chat": "tool_calls", "messages": "tool_use", "responses": "completed"},
    "content_filter": {"chat": "content_filter", "messages": "refusal", "responses": "content_filter"},
}


def config(url: str) -> dict[str, Any]:
    return {
        "model_providers": [
            {
                "model": f"fake_{dialect}/m-1",
                "provider_interface": "openai",
                "base_url": url,
                "apis": [dialect],
                "access_key": "sk-upstream",
            }
            for dialect in DIALECTS
        ]
    }


@pytest.fixture
def provider() -> FakeProvider:
    return FakeProvider()


@pytest.fixture
def gateway(provider: FakeProvider) -> Iterator[str]:
    with serve(provider) as upstream, serve(Plano(config(upstream))) as url:
        yield url


@pytest.fixture(params=DIALECTS)
def upstream(request: pytest.FixtureRequest) -> Dialect:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(params=DIALECTS)
async def client(request: pytest.FixtureRequest, gateway: str) -> AsyncIterator[Any]:
    found = CLIENTS[request.param](gateway)
    yield found
    await found.aclose()


@pytest.fixture(params=[False, True], ids=["whole", "streamed"])
def stream(request: pytest.FixtureRequest) -> bool:
    return request.param  # type: ignore[no-any-return]


async def test_text_and_usage_come_back(client: Any, upstream: Dialect, stream: bool, provider: FakeProvider) -> None:
    provider.reply("Grüße aus Köln\u2028 – alles gut?", usage=Usage(input_tokens=50, output_tokens=7, cached_tokens=20))
    got = await client.ask(f"fake_{upstream}/m-1", "Hallo!", stream=stream)
    assert got.text == "Grüße aus Köln\u2028 – alles gut?"
    assert got.finish == FINISHES["stop"][client.dialect]
    assert (got.input_tokens, got.output_tokens, got.cached_tokens) == (50, 7, 20)
    assert provider.last.path == PATHS[upstream]
    assert provider.last.json["model"] == "m-1"
    assert bool(provider.last.json.get("stream")) is stream
    assert "Hallo!" in json.dumps(provider.last.json)


async def test_tool_calls_come_back_whole(client: Any, upstream: Dialect, stream: bool, provider: FakeProvider) -> None:
    provider.reply(
        "Let me look.",
        tool_call("get_weather", {"city": "Paris"}, id="call_1"),
        tool_call("get_weather", {"city": 'Köln "am Rhein"'}, id="call_2"),
    )
    got = await client.ask(f"fake_{upstream}/m-1", "Weather?", stream=stream, tools=True)
    assert got.text == "Let me look."
    assert [(id, name) for id, name, _ in got.calls] == [("call_1", "get_weather"), ("call_2", "get_weather")]
    arguments = [json.loads(a) if isinstance(a, str) else a for _, _, a in got.calls]
    assert arguments == [{"city": "Paris"}, {"city": 'Köln "am Rhein"'}]
    assert got.finish == FINISHES["tool_calls"][client.dialect]
    tool = provider.last.json["tools"][0]
    schema = tool.get("input_schema") or tool.get("parameters") or tool["function"]["parameters"]
    assert schema == {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


async def test_thinking_stays_thinking(client: Any, upstream: Dialect, stream: bool, provider: FakeProvider) -> None:
    provider.reply(thinking("Let me think.", seal="c2lnbmF0dXJl"), "42")
    got = await client.ask(f"fake_{upstream}/m-1", "Why?", stream=stream)
    assert got.text == "42"
    assert got.thinking == "Let me think."


@pytest.mark.parametrize("finish", ["length", "content_filter"])
async def test_the_reason_for_stopping_is_kept(
    client: Any, upstream: Dialect, stream: bool, finish: Any, provider: FakeProvider
) -> None:
    provider.reply("So far", finish=finish)
    got = await client.ask(f"fake_{upstream}/m-1", "Go on", stream=stream)
    assert got.finish == FINISHES[finish][client.dialect]


@pytest.mark.parametrize(
    ("status", "openai_error", "anthropic_error"),
    [
        (400, openai.BadRequestError, anthropic.BadRequestError),
        (429, openai.RateLimitError, anthropic.RateLimitError),
        (500, openai.InternalServerError, anthropic.InternalServerError),
        (503, openai.InternalServerError, anthropic.InternalServerError),
    ],
)
async def test_an_upstreams_error_keeps_its_status_and_takes_the_clients_form(
    client: Any,
    upstream: Dialect,
    stream: bool,
    status: int,
    openai_error: Any,
    anthropic_error: Any,
    provider: FakeProvider,
) -> None:
    provider.fail(status, "That went wrong.", headers={"retry-after": "3", "request-id": "req_7"})
    expected = anthropic_error if client.dialect == "messages" else openai_error
    with pytest.raises(expected) as caught:
        await client.ask(f"fake_{upstream}/m-1", "Hi", stream=stream)
    assert caught.value.status_code == status
    assert "That went wrong." in str(caught.value)
    assert caught.value.response.headers["retry-after"] == "3"
    assert caught.value.response.headers["request-id"] == "req_7"
    body = caught.value.response.json()
    assert set(body) >= ({"type", "error"} if client.dialect == "messages" else {"error"})


@pytest.mark.parametrize("how", ["lost", "incomplete", "error"])
async def test_a_stream_that_breaks_ends_in_an_error(
    client: Any, upstream: Dialect, how: Any, provider: FakeProvider
) -> None:
    provider.breaks_after(6, how=how)
    with pytest.raises((openai.APIError, anthropic.APIError)):
        await client.ask(f"fake_{upstream}/m-1", "Hi", stream=True)


async def test_a_seal_goes_back_to_the_vendor_that_made_it(provider: FakeProvider, gateway: str) -> None:
    """Turn one thinks; the client hands everything back; the upstream gets its own seal, byte for byte."""
    seal = "EqoB" + "x+/=" * 20
    client = CLIENTS["responses"](gateway)
    provider.reply(thinking("Hm.", seal=seal), redacted_thinking("cmVkYWN0ZWQ="), tool_call("f", {}, id="c1"))
    tools = [{"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": False}]
    first = await client.sdk.responses.create(
        model="fake_messages/m-1",
        input="Go",
        tools=tools,
        reasoning={"effort": "low"},
        include=["reasoning.encrypted_content"],
    )
    provider.reply("Done.")
    history: list[Any] = [
        {"role": "user", "content": "Go"},
        *(item.model_dump(exclude_none=True) for item in first.output),
        {"type": "function_call_output", "call_id": "c1", "output": "42"},
    ]
    await client.sdk.responses.create(
        model="fake_messages/m-1", input=history, tools=tools, reasoning={"effort": "low"}
    )
    blocks = [block for message in provider.last.json["messages"] for block in message["content"]]
    assert {"type": "thinking", "thinking": "Hm.", "signature": seal} in blocks
    assert {"type": "redacted_thinking", "data": "cmVkYWN0ZWQ="} in blocks
    await client.aclose()


async def test_a_foreign_seal_is_left_out_with_a_report(provider: FakeProvider, gateway: str) -> None:
    client = CLIENTS["responses"](gateway)
    provider.reply(thinking("Hm.", seal="c2VhbA=="), "Hello")
    first = await client.sdk.responses.create(
        model="fake_messages/m-1", input="Go", include=["reasoning.encrypted_content"]
    )
    history: list[Any] = [
        {"role": "user", "content": "Go"},
        *(item.model_dump(exclude_none=True) for item in first.output),
        {"role": "user", "content": "On"},
    ]
    answer = await client.sdk.responses.with_raw_response.create(model="fake_responses/m-1", input=history)
    assert "thinking" in answer.headers["x-plano-dropped"]
    assert "c2VhbA==" not in provider.last.body.decode()
    await client.aclose()


async def test_plano_up_serves_every_pair(provider: FakeProvider, tmp_path: Path) -> None:
    """The same from the command line: a process of its own, both SDKs, a recording upstream."""
    with serve(provider) as url:
        (tmp_path / "config.json").write_text(json.dumps(config(url)))
        with up("config.json", cwd=tmp_path) as (_, gateway, _):
            for dialect in DIALECTS:
                client = CLIENTS[dialect](gateway)
                for target, stream in product(DIALECTS, (False, True)):
                    provider.reply("Look:", tool_call("get_weather", {"city": "Paris"}), usage=Usage(input_tokens=9))
                    got = await client.ask(f"fake_{target}/m-1", "Hi", stream=stream, tools=True)
                    assert (got.text, got.calls[0][1], got.input_tokens) == ("Look:", "get_weather", 9)
                    assert provider.last.path == PATHS[target]
                    assert bool(provider.last.json.get("stream")) is stream
                await client.aclose()


STRICT: dict[Dialect, tuple[TypeAdapter[Any], TypeAdapter[Any]]] = {
    "chat": (TypeAdapter(ChatCompletion), TypeAdapter(ChatCompletionChunk)),
    "messages": (TypeAdapter(Message), TypeAdapter(RawMessageStreamEvent)),
    "responses": (TypeAdapter(Response), TypeAdapter(ResponseStreamEvent)),
}
"""The SDKs' types of a reply and of an event."""

PARTS: dict[str, tuple[Any, dict[str, Any]]] = {
    "text": (("Hello.",), {}),
    "thinking": ((thinking("Let me see.", seal="c2VhbA=="), "42"), {}),
    "calls": (("Two.", tool_call("get_weather", {"city": "Paris"}), tool_call("get_weather", {"city": "Rome"})), {}),
    "cut": (("cut",), {"finish": "length"}),
    "full window": (("cut",), {"finish": "context_window"}),
    "no usage": (("Hello.",), {"usage": None}),
}


@pytest.mark.parametrize("case", PARTS)
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_the_sdks_strict_types_take_every_reply(
    dialect: Dialect, upstream: Dialect, stream: bool, case: str
) -> None:
    provider = FakeProvider()
    parts, options = PARTS[case]
    provider.reply(*parts, **options)
    got = await ask(
        Plano(config("http://upstream.test"), transport=provider),
        dialect,
        "hi",
        model=f"fake_{upstream}/m-1",
        stream=stream,
    )
    assert provider.last.dialect == upstream
    whole, event = STRICT[dialect]
    if not stream:
        whole.validate_json(got.body, strict=True)
        return
    data = [frame.data for frame in sse.frames(got.body) if frame.data not in (b"[DONE]", b'{"type":"ping"}')]
    assert len(data) > 2
    for each in data:
        event.validate_json(each, strict=True)
