"""The HTTP tests of Open Responses' compliance suite, against upstreams of every dialect, streamed and not.

Source: openresponses/openresponses, `src/lib/compliance-tests.ts`. The tests have their names there, ask the same, and
check the same: the schema of the reply and of each event, a status, and kinds of items. The two that need a vendor's
own search (`file-search`, `offline-web-search`) are optional there and not here. OpenAI's strict types come on top.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from plano import Plano
from plano.frames import sse
from plano.testing import FakeProvider, Usage, refusal, thinking, tool_call
from plano.types import CLIENT_DIALECTS as DIALECTS
from plano.types import Dialect
from tests.asgi import ask
from tests.open_responses import event_faults, faults
from tests.test_pairs import config

SDK_EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)

PNG = "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()
PDF = "data:application/pdf;base64," + base64.b64encode(b"%PDF-1.1\n%%EOF").decode()
WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "Get the current weather for a location",
    "parameters": {
        "type": "object",
        "properties": {"location": {"type": "string", "description": "The city and state"}},
        "required": ["location"],
    },
}
CALL = tool_call("get_weather", {"location": "San Francisco, CA"}, id="call_1")


def said(role: str, content: Any) -> dict[str, Any]:
    return {"type": "message", "role": role, "content": content}


def user(*content: dict[str, Any]) -> dict[str, Any]:
    return said("user", [{"type": "input_text", "text": "What is this?"}, *content])


TEXTS: dict[str, list[Any]] = {
    "basic-response": [said("user", "Say hello in exactly 3 words.")],
    "streaming-response": [said("user", "Count from 1 to 5.")],
    "system-prompt": [said("system", "You are a pirate."), said("user", "Say hello.")],
    "image-input": [user({"type": "input_image", "image_url": PNG})],
    "file-input": [user({"type": "input_file", "filename": "fixture.pdf", "file_data": PDF})],
    "multi-turn": [
        said("user", "My name is Alice."),
        said("assistant", "Hello Alice! How can I help you today?"),
        said("user", "What is my name?"),
    ],
}


class Conversation:
    """One gateway with one upstream, asked one thing after another."""

    def __init__(self, upstream: Dialect, stream: bool) -> None:
        self.provider = FakeProvider()
        self._app = Plano(config("http://upstream.test/v1"), transport=self.provider)
        self._model = f"fake_{upstream}/m-1"
        self._upstream = upstream
        self._stream = stream
        self.events: list[dict[str, Any]] = []

    async def create(self, **fields: Any) -> dict[str, Any]:
        """The reply, whose schema and events were checked."""
        body = {"model": self._model, "stream": self._stream, **fields}
        answer = await ask(self._app, "POST", "/v1/responses", json.dumps(body).encode())
        assert answer.status == 200, answer.body
        assert self.provider.last.dialect == self._upstream
        whole = self._last(answer.body) if self._stream else answer.body
        found: dict[str, Any] = json.loads(whole)
        assert faults(found, "ResponseResource") == []
        Response.model_validate_json(whole, strict=True)
        return found

    def _last(self, stream: bytes) -> bytes:
        frames = [frame for frame in sse.frames(stream) if frame.data != b"[DONE]"]
        self.events = [json.loads(frame.data) for frame in frames]
        for frame, event in zip(frames, self.events, strict=True):
            assert frame.event == event["type"]
            assert event_faults(event) == []
            SDK_EVENT.validate_json(frame.data, strict=True)
        assert [event["sequence_number"] for event in self.events] == list(range(len(self.events)))
        return json.dumps(self.events[-1]["response"]).encode()

    async def aclose(self) -> None:
        await self._app.aclose()


@pytest.fixture(params=DIALECTS)
def upstream(request: pytest.FixtureRequest) -> Dialect:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(params=[False, True], ids=["whole", "streamed"])
def stream(request: pytest.FixtureRequest) -> bool:
    return request.param  # type: ignore[no-any-return]


def kinds(reply: dict[str, Any]) -> list[str]:
    return [item["type"] for item in reply["output"]]


@pytest.mark.parametrize("name", TEXTS)
async def test_text_replies(name: str, upstream: Dialect, stream: bool) -> None:
    talk = Conversation(upstream, stream)
    talk.provider.reply("Hello to you.", usage=Usage(input_tokens=9, output_tokens=4))
    reply = await talk.create(input=TEXTS[name])
    assert (reply["status"], kinds(reply)) == ("completed", ["message"])
    assert isinstance(reply["completed_at"], int)
    assert not stream or talk.events[0]["response"]["completed_at"] is None
    await talk.aclose()


async def test_tool_calling(upstream: Dialect, stream: bool) -> None:
    """`tool-calling` and `tool-calling-streaming`."""
    talk = Conversation(upstream, stream)
    talk.provider.reply(CALL)
    reply = await talk.create(input=[said("user", "What's the weather like?")], tools=[WEATHER])
    assert kinds(reply) == ["function_call"]
    assert upstream == "responses" or reply["tools"] == [{**WEATHER, "strict": None}]
    if stream:
        of_calls = [event["type"] for event in talk.events if event.get("item", {}).get("type") == "function_call"]
        assert of_calls == ["response.output_item.added", "response.output_item.done"]
        types = {event["type"] for event in talk.events}
        assert {"response.function_call_arguments.delta", "response.function_call_arguments.done"} <= types
    await talk.aclose()


async def test_function_call_roundtrip(upstream: Dialect, stream: bool) -> None:
    talk = Conversation(upstream, stream)
    talk.provider.reply(CALL)
    talk.provider.reply("64 degrees.")
    forced = {"type": "function", "name": "get_weather"}
    first = await talk.create(input="Use the weather tool.", tools=[WEATHER], tool_choice=forced)
    (call,) = first["output"]
    result = {"type": "function_call_output", "call_id": call["call_id"], "output": "64 degrees and clear"}
    second = await talk.create(input=[result], previous_response_id=first["id"])
    assert (second["status"], kinds(second), second["previous_response_id"]) == ("completed", ["message"], first["id"])
    await talk.aclose()


async def test_previous_response_id(upstream: Dialect, stream: bool) -> None:
    talk = Conversation(upstream, stream)
    talk.provider.reply("OK")
    first = await talk.create(input="Remember this code word: papaya. Reply with only OK.")
    second = await talk.create(input="What code word did I ask you to remember?", previous_response_id=first["id"])
    assert (second["status"], kinds(second)) == ("completed", ["message"])
    assert b"papaya" in talk.provider.last.body
    await talk.aclose()


@pytest.mark.parametrize(
    ("parts", "options", "status"),
    [
        ((thinking("Let me see.", summary=True), "42"), {}, "completed"),
        ((thinking("Let me see.", seal="c2VhbA==", summary=True), CALL), {}, "completed"),
        (("cut",), {"finish": "length"}, "incomplete"),
        (("cut",), {"finish": "content_filter"}, "incomplete"),
        (("no usage",), {"usage": None}, "completed"),
    ],
    ids=str,
)
async def test_replies_of_other_kinds(
    parts: Any, options: dict[str, Any], status: str, upstream: Dialect, stream: bool
) -> None:
    talk = Conversation(upstream, stream)
    talk.provider.reply(*parts, **options)
    more = {"tools": [WEATHER], "reasoning": {"effort": "low", "summary": "auto"}, "temperature": 0}
    reply = await talk.create(input="hi", max_output_tokens=99, metadata={"k": "v"}, user="u", **more)
    assert reply["status"] == status
    assert (reply["completed_at"] is None) == (status != "completed")
    await talk.aclose()


async def test_refusals(upstream: Dialect, stream: bool) -> None:
    talk = Conversation(upstream, stream)
    talk.provider.reply(refusal("I will not."))
    reply = await talk.create(input="hi")
    assert reply["status"] == ("incomplete" if upstream == "messages" else "completed")
    await talk.aclose()


def test_the_check_of_the_schema_finds_faults() -> None:
    assert faults({}, "UrlCitation") == [
        f"$.{name}: missing" for name in ("type", "url", "start_index", "end_index", "title")
    ]
    assert faults(True, "integer") == ["$: True is no integer"]
    assert faults(1, "number | null") == []
    assert faults("x", "number | null") == ["$: 'x' is no number"]
    assert faults([{"type": "text", "text": 1}], ["Text"]) == ["$[0].text: 1 is no string"]
    assert event_faults({"type": "new"}) == ["$.type: 'new' is not known"]
