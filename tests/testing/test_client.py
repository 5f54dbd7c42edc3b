"""The client for tests: what it sends, and what it makes of answers."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from plano import Plano
from plano.conversation import Conversation, Failed, Finished, Message, Start, System, Text, ToolCall
from plano.errors import UpstreamError
from plano.testing import WAYS, FakeProvider, Usage, ask, thinking, tool_call
from plano.types import CLIENT_DIALECTS as DIALECTS
from plano.types import Dialect
from tests.documents import ROOT

EVERY_WAY = pytest.mark.parametrize(("dialect", "stream"), WAYS)
CONFIG = {"model_providers": [{"model": "anthropic/m", "access_key": "k", "default": True}]}


def test_the_ways_are_every_dialect_streamed_and_not() -> None:
    assert sorted(WAYS) == sorted((dialect, stream) for dialect in DIALECTS for stream in (False, True))


@EVERY_WAY
async def test_an_answer_is_read_alike_however_it_was_asked_for(dialect: Dialect, stream: bool) -> None:
    provider = FakeProvider()
    provider.reply(
        thinking("Hm"),
        "Let me ",
        tool_call("look", {"at": 1}),
        "see.",
        usage=Usage(input_tokens=5, output_tokens=3),
    )
    answer = await ask(Plano(CONFIG, transport=provider), dialect, "Where?", stream=stream)
    assert (answer.status, answer.complete, answer.error) == (200, True, None)
    assert answer.text == "Let me see."
    assert [part.arguments for part in answer.reply.parts if isinstance(part, ToolCall)] == ['{"at":1}']
    assert answer.reply.usage is not None
    assert (answer.reply.usage.input_tokens, answer.reply.usage.output_tokens) == (5, 3)
    assert isinstance(answer.events[0], Start)
    assert any(isinstance(event, Finished) for event in answer.events)
    assert answer.headers["x-request-id"]
    assert [part.text for part in provider.last.conversation.messages[0].parts if isinstance(part, Text)] == ["Where?"]


@EVERY_WAY
async def test_a_failure_is_read_alike_however_it_was_asked_for(dialect: Dialect, stream: bool) -> None:
    provider = FakeProvider()
    provider.fail(429, "Slow down.")
    answer = await ask(Plano(CONFIG, transport=provider), dialect, "Hi", stream=stream)
    assert (answer.status, answer.text) == (429, "")
    assert answer.error is not None
    assert answer.error.message == "Slow down."
    with pytest.raises(UpstreamError, match=r"Slow down\."):
        _ = answer.reply


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_of_a_stream_that_breaks_there_is_the_text_and_the_error(dialect: Dialect) -> None:
    provider = FakeProvider()
    provider.breaks_after(6, "one two three four five six seven", how="lost")
    answer = await ask(Plano(CONFIG, transport=provider), dialect, "Hi", stream=True)
    assert answer.status == 200
    assert answer.text.startswith("one two")
    assert isinstance(answer.events[-1], Failed)
    assert answer.error is answer.events[-1].error


@EVERY_WAY
async def test_headers_fields_model_and_conversation_go_along(dialect: Dialect, stream: bool) -> None:
    provider = FakeProvider()
    asked = Conversation(
        system=(System(text="Be brief."),),
        messages=(Message(role="user", parts=(Text(text="Hi"),)),),
        max_tokens=7,
    )
    app = Starlette(routes=[Mount("/llm", app=Plano(CONFIG, transport=provider))])
    answer = await ask(
        app,
        dialect,
        asked,
        stream=stream,
        model="anthropic/m",
        headers={"X-Request-Id": "mine"},
        under="/llm",
        temperature=0.5,
    )
    assert (answer.status, answer.headers["x-request-id"]) == (200, "mine")
    received = provider.last.conversation
    assert (received.model, received.system[0].text, received.max_tokens) == ("m", "Be brief.", 7)
    assert (received.temperature, received.stream) == (0.5, stream)


async def test_what_the_application_raises_is_raised() -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await ask(broken, "chat", "Hi")


async def test_an_answer_that_was_not_finished_says_so() -> None:
    async def stops(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 500, "headers": []})
        await send({"type": "http.response.body", "body": b"{", "more_body": True})

    answer = await ask(stops, "chat", "Hi")
    assert (answer.status, answer.body, answer.complete) == (500, b"{", False)
    assert repr(answer) == "<Received 500, chat, 1 bytes>"


def test_nothing_of_pytest_is_needed() -> None:
    code = "import plano.testing, sys; sys.exit('pytest' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
