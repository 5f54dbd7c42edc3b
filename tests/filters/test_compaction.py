"""A reply that is a compaction: the request's input ends in a `compaction_trigger`, as Codex sends it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai.types.responses import Response as OpenAIResponse

from plano import Plano
from plano.dialects.responses.compaction import PROMPT
from plano.dialects.responses.summaries import NOTE, opened, seal
from plano.testing import Failure, FakeProvider, Usage, Verbatim, thinking, tool_call
from plano.types import Dialect
from tests.asgi import ask
from tests.filters.talk import SSE, events, gateway, id_of, reply, respond

OTHERS: tuple[Dialect, ...] = ("chat", "messages")
TRIGGER = {"type": "compaction_trigger"}
TOOL = {"type": "function", "name": "f", "parameters": {"type": "object"}}
HISTORY: list[Any] = [
    {"type": "message", "role": "developer", "content": "Be brief."},
    {"type": "message", "role": "user", "content": "Read the file."},
    {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "c1", "output": "contents"},
]
CODEX = {"tools": [TOOL], "tool_choice": "auto", "parallel_tool_calls": True, "store": False}

streamed_and_whole = pytest.mark.parametrize("stream", [True, False])
upstreams = pytest.mark.parametrize("upstream", OTHERS)


@upstreams
@streamed_and_whole
async def test_the_reply_is_one_item_that_stands_for_the_conversation(upstream: Dialect, stream: bool) -> None:
    provider = FakeProvider()
    provider.reply(thinking("Hm."), "The file ", "matters.", usage=Usage(input_tokens=50, output_tokens=7))
    provider.reply("Here I am.")
    async with gateway(provider) as app:
        answer = await respond(app, [*HISTORY, TRIGGER], server=upstream, stream=stream, **CODEX)
        asked = provider.last.json
        (item,) = reply(answer)["output"]
        again = await respond(app, [HISTORY[1], item, {"role": "user", "content": "Go on."}], server=upstream)
    assert (answer.status, again.status) == (200, 200), again.body
    found = OpenAIResponse.model_validate(reply(answer))
    assert (found.status, found.usage and found.usage.total_tokens, found.tool_choice) == ("completed", 57, "auto")
    assert item["id"].startswith("cmp_")
    assert item["type"] == "compaction"
    assert opened(item["encrypted_content"]) == "The file matters."
    if stream:
        done = [event["item"] for event in events(answer) if event["type"] == "response.output_item.done"]
        assert done == [item]
        assert "contents" not in answer.body.decode()
        assert "matters" not in answer.body.decode()
    said = json.dumps(asked, ensure_ascii=False)
    assert json.dumps(PROMPT)[1:-1] in said
    assert "contents" in said
    assert "compaction_trigger" not in said
    assert bool(asked.get("stream")) is stream, "a client that streams is not left without a sign of life"
    assert asked["model"] == "m"
    assert len(asked["tools"]) == 1
    body = json.dumps(provider.last.json)
    assert json.dumps(NOTE + "The file matters.") in body
    assert "contents" not in body


@upstreams
@streamed_and_whole
async def test_a_stored_compaction_can_be_continued_without_what_it_stands_for(upstream: Dialect, stream: bool) -> None:
    provider = FakeProvider()
    provider.reply("A summary.")
    provider.reply("Here I am.")
    async with gateway(provider, {"type": "memory"}) as app:
        answer = await respond(app, [*HISTORY, TRIGGER], server=upstream, stream=stream, tools=[TOOL])
        again = await respond(app, "Go on.", server=upstream, previous_response_id=id_of(answer))
    assert again.status == 200, again.body
    body = json.dumps(provider.last.json)
    assert json.dumps(NOTE + "A summary.") in body
    assert "Be brief." in body, "instructions are no part of the summary"
    assert "contents" not in body
    assert "compaction_trigger" not in body


async def test_a_stored_compaction_can_be_continued_with_a_server_of_the_responses_api() -> None:
    provider = FakeProvider()
    provider.reply("A summary.")
    provider.reply("Here I am.")
    async with gateway(provider, {"type": "memory"}) as app:
        answer = await respond(app, [*HISTORY, TRIGGER], server="chat")
        again = await respond(app, "Go on.", server="responses", previous_response_id=id_of(answer))
    assert again.status == 200, again.body
    assert "A summary." in json.dumps(provider.last.json["input"])
    assert "contents" not in json.dumps(provider.last.json)
    assert "plano-seal" not in json.dumps(provider.last.json)


async def test_a_trigger_alone_and_one_after_a_message_are_answered() -> None:
    provider = FakeProvider()
    provider.reply("Nothing yet.")
    async with gateway(provider) as app:
        answer = await respond(app, [TRIGGER], server="chat")
    assert answer.status == 200, answer.body
    assert [message["role"] for message in provider.last.json["messages"]] == ["user"]


@streamed_and_whole
async def test_a_server_of_the_responses_api_gets_the_client_s_bytes(stream: bool) -> None:
    provider = FakeProvider()
    item = {"id": "cmp_1", "type": "compaction", "encrypted_content": "gAAA"}
    body = {"id": "resp_1", "object": "response", "status": "completed", "model": "m", "output": [item]}
    event = {"type": "response.completed", "sequence_number": 0, "response": body}
    sse = f"event: response.completed\ndata: {json.dumps(event)}\n\n".encode()
    whole = json.dumps(body).encode()
    headers = SSE if stream else {"content-type": "application/json"}
    provider.script(Verbatim(200, headers, sse if stream else whole))
    async with gateway(provider) as app:
        answer = await respond(app, [*HISTORY, TRIGGER], server="responses", stream=stream)
    assert answer.body == (sse if stream else whole)
    assert provider.last.json["input"] == [*HISTORY, TRIGGER]


async def test_a_server_without_a_responses_api_is_asked_for_a_summary_over_chat() -> None:
    provider = FakeProvider()
    provider.script(Verbatim(404, {"content-type": "text/plain"}, b"404 page not found", on="/responses"))
    provider.reply("A summary.")
    entry = {"model": "acme/m", "base_url": "http://vllm.test:8000", "provider_interface": "openai"}
    app = Plano({"model_providers": [entry]}, transport=provider)
    for _ in range(2):
        answer = await ask(app, "POST", "/v1/responses", {"model": "acme/m", "input": [*HISTORY, TRIGGER]})
        assert opened(answer.json()["output"][0]["encrypted_content"]) == "A summary."
    assert [asked.path for asked in provider.requests] == ["/v1/responses", *["/v1/chat/completions"] * 2]


async def test_such_a_server_gets_the_trigger_after_a_summary_of_the_gateway() -> None:
    provider = FakeProvider()
    provider.reply("…")
    ours = {"type": "compaction", "id": "cmp_plano_1_0", "encrypted_content": seal("Before.")}
    async with gateway(provider) as app:
        await respond(app, [ours, HISTORY[1], TRIGGER], server="responses")
    assert provider.last.json["input"][-1] == TRIGGER
    assert len(provider.last.json["input"]) == 3
    assert "plano-seal" not in json.dumps(provider.last.json)


@upstreams
async def test_a_model_that_writes_no_summary_is_an_error(upstream: Dialect) -> None:
    provider = FakeProvider()
    provider.reply(tool_call("f", {}))
    provider.reply(tool_call("f", {}))
    async with gateway(provider) as app:
        whole = await respond(app, [*HISTORY, TRIGGER], server=upstream, tools=[TOOL])
        streamed = await respond(app, [*HISTORY, TRIGGER], server=upstream, tools=[TOOL], stream=True)
    wanted = "The upstream's model wrote no summary of the conversation."
    assert (whole.status, whole.json()["error"]["message"]) == (502, wanted)
    last = events(streamed)[-1]
    assert (last["type"], last["response"]["error"]["message"]) == ("response.failed", wanted)


@upstreams
@streamed_and_whole
async def test_the_upstream_s_error_is_the_client_s(upstream: Dialect, stream: bool) -> None:
    provider = FakeProvider()
    provider.script(Failure(429, "Slow down."))
    async with gateway(provider) as app:
        answer = await respond(app, [*HISTORY, TRIGGER], server=upstream, stream=stream)
    assert (answer.status, answer.json()["error"]["message"]) == (429, "Slow down.")


@upstreams
async def test_a_stream_that_breaks_does_not_look_like_a_compaction(upstream: Dialect) -> None:
    provider = FakeProvider()
    provider.breaks_after(4)
    async with gateway(provider) as app:
        answer = await respond(app, [*HISTORY, TRIGGER], server=upstream, stream=True)
    assert "compaction" not in answer.body.decode()
    assert events(answer)[-1]["type"] == "response.failed"
