"""A vendor's seal of a call travels in the call's id, comes back to the vendor, and reaches nobody else."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from msgspec import Raw

from plano import Plano
from plano.dialects import CODECS
from plano.dialects.call_seals import LONGEST, MARK, opened, own_id, sealed_id
from plano.dialects.vendor_limits import cut
from plano.testing import FakeProvider
from plano.types import Dialect
from tests.asgi import Answer, ask
from tests.filters.talk import gateway
from tests.test_pairs import PATHS

SIGNATURE = "CrICAdHtim827fQ+/w==" * 40
SEAL = {"google": {"thought_signature": SIGNATURE}}
EXTRAS: Any = {"chat": {"extra_content": Raw(json.dumps(SEAL).encode())}}
MARKED = sealed_id("function-call-1", EXTRAS)

FIRST = {"id": "function-call-1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
SECOND = {"id": "function-call-2", "type": "function", "function": {"name": "g", "arguments": "{}"}}
CALLED = [{**FIRST, "extra_content": SEAL}, SECOND]
TOOLS: dict[str, Any] = {
    "messages": [{"name": name, "input_schema": {"type": "object"}} for name in "fg"],
    "responses": [{"type": "function", "name": name, "parameters": {"type": "object"}} for name in "fg"],
    "chat": [{"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in "fg"],
}


# --- the id ---------------------------------------------------------------------------------------


def test_an_id_carries_the_seal_and_gives_it_back() -> None:
    assert re.fullmatch(r"[a-zA-Z0-9_-]+", MARKED)
    assert opened(MARKED) == ("function-call-1", EXTRAS)
    assert own_id(MARKED) == "function-call-1"


@pytest.mark.parametrize("extras", [{}, {"chat": {"other": Raw(b"1")}}, {"responses": {"extra_content": Raw(b"{}")}}])
def test_a_call_without_a_seal_keeps_its_id(extras: Any) -> None:
    assert sealed_id("call_1", extras) == "call_1"
    assert opened("call_1") == ("call_1", {})


def test_an_id_does_not_grow_without_bound() -> None:
    assert sealed_id("c", {"chat": {"extra_content": Raw(b'"%b"' % (b"x" * LONGEST))}}) == "c"
    assert opened(sealed_id("c", {"chat": {"extra_content": Raw(b'{"s":"%b"}' % (b"x" * (LONGEST - 9)))}}))[1]


def forged(payload: str) -> str:
    """An id that a client made up itself, with the right checksum."""
    from hashlib import sha256

    return f"c{MARK}{sha256(payload.encode(errors='surrogatepass')).hexdigest()[:8]}{payload}"


@pytest.mark.parametrize(
    "id_",
    [
        MARKED[:-1],
        MARKED + "x",
        MARKED.upper().replace("_PLANO-SEAL_", MARK),
        "c" + MARK,
        "c" + MARK + "0123",
        forged(""),
        forged("a"),
        forged("!!"),
        forged("\ud800"),
        forged("W10"),
        forged("eyJhIjox"),
    ],
)
def test_a_damaged_seal_is_left_out(id_: str) -> None:
    assert opened(id_) == (id_.partition(MARK)[0], {})


def test_a_shortened_id_is_the_same_for_a_call_and_its_result() -> None:
    assert own_id(MARKED[:64]) == opened(MARKED[:64])[0] == "function-call-1"


# --- over two turns -------------------------------------------------------------------------------


def reply_of_gemini(streamed: bool) -> tuple[bytes, str]:
    """A reply with two calls as Google's chat endpoint gives it, and its content type."""
    if not streamed:
        message = {"role": "assistant", "content": None, "tool_calls": CALLED}
        choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
        body = {"id": "r1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
        return json.dumps(body).encode(), "application/json"
    deltas = [
        ({"role": "assistant", "tool_calls": [{"index": 0, **CALLED[0]}]}, None),
        ({"tool_calls": [{"index": 1, **CALLED[1]}]}, None),
        ({}, "tool_calls"),
    ]
    chunks = [
        {
            "id": "r1",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "m",
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        }
        for delta, finish in deltas
    ]
    frames = [*(json.dumps(chunk) for chunk in chunks), "[DONE]"]
    return "".join(f"data: {frame}\n\n" for frame in frames).encode(), "text/event-stream"


def output_of(client: Dialect, answer: Answer, streamed: bool) -> list[Any]:
    """The calls in a reply, of which an agent keeps only the fields that its API documents."""
    if client == "messages":
        if streamed:
            events = [json.loads(line[6:]) for line in answer.body.decode().split("\n") if line.startswith("data: ")]
            blocks = [event["content_block"] for event in events if event["type"] == "content_block_start"]
            for event in events:
                if event["type"] == "content_block_delta":
                    blocks[event["index"]]["input"] = json.loads(event["delta"]["partial_json"])
        else:
            blocks = answer.json()["content"]
        return [{name: block[name] for name in ("type", "id", "name", "input")} for block in blocks]
    if streamed:
        events = [json.loads(line[6:]) for line in answer.body.decode().split("\n") if line.startswith("data: ")]
        items = events[-1]["response"]["output"]
        done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
        added = [event["item"] for event in events if event["type"] == "response.output_item.added"]
        assert done == items
        assert [item["call_id"] for item in added] == [item["call_id"] for item in items]
    else:
        items = answer.json()["output"]
    return [{name: item[name] for name in ("type", "call_id", "name", "arguments")} for item in items]


def next_turn(client: Dialect, output: list[Any]) -> dict[str, Any]:
    """The request that hands the calls back with their results."""
    hello = {"role": "user", "content": "Go on"}
    if client == "messages":
        results = [{"type": "tool_result", "tool_use_id": call["id"], "content": "ok"} for call in output]
        turns = [hello, {"role": "assistant", "content": output}, {"role": "user", "content": results}]
        return {"max_tokens": 100, "messages": turns}
    results = [{"type": "function_call_output", "call_id": call["call_id"], "output": "ok"} for call in output]
    return {"input": [hello, *output, *results]}


async def calls_of_gemini(app: Plano, provider: FakeProvider, client: Dialect, streamed: bool) -> Answer:
    """The first turn: Gemini answers with two calls, and seals the first."""
    body, content_type = reply_of_gemini(streamed)
    provider.raw(200, body=body, headers={"content-type": content_type})
    hello = {"role": "user", "content": "Go on"}
    asked = {"input": [hello]} if client == "responses" else {"messages": [hello], "max_tokens": 100}
    asked |= {"model": "chat_server/m", "tools": TOOLS[client], "stream": streamed}
    return await ask(app, "POST", PATHS[client], asked)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("client", ["messages", "responses"])
async def test_a_seal_survives_an_agent_that_keeps_only_what_it_knows(client: Dialect, streamed: bool) -> None:
    provider = FakeProvider()
    async with gateway(provider) as app:
        output = output_of(client, await calls_of_gemini(app, provider, client, streamed), streamed)
        provider.reply("done")
        body = next_turn(client, output) | {"model": "chat_server/m", "tools": TOOLS[client]}
        assert (await ask(app, "POST", PATHS[client], body)).status == 200
    assistant, *results = provider.last.json["messages"][1:]
    assert assistant["tool_calls"] == CALLED
    assert [result["tool_call_id"] for result in results] == ["function-call-1", "function-call-2"]


@pytest.mark.parametrize("upstream", ["messages", "responses"])
@pytest.mark.parametrize("client", ["messages", "responses"])
async def test_a_seal_reaches_no_other_upstream(client: Dialect, upstream: Dialect) -> None:
    provider = FakeProvider()
    async with gateway(provider) as app:
        output = output_of(client, await calls_of_gemini(app, provider, client, False), False)
        provider.reply("done")
        body = next_turn(client, output) | {"model": f"{upstream}_server/m", "tools": TOOLS[client]}
        answer = await ask(app, "POST", PATHS[client], body)
    assert answer.status == 200
    assert "extra_content" in answer.headers["x-plano-dropped"]
    sent = json.dumps(provider.last.json)
    assert "plano-seal" not in sent
    assert "extra_content" not in sent
    assert sent.count('"function-call-1"') == 2
    assert sent.count('"function-call-2"') == 2


async def test_a_seal_is_kept_with_a_stored_reply() -> None:
    provider = FakeProvider()
    async with gateway(provider, {"type": "memory"}) as app:
        first = (await calls_of_gemini(app, provider, "responses", False)).json()
        provider.reply("done")
        results = [
            {"type": "function_call_output", "call_id": item["call_id"], "output": "ok"} for item in first["output"]
        ]
        body = {"model": "chat_server/m", "previous_response_id": first["id"], "input": results}
        assert (await ask(app, "POST", PATHS["responses"], body)).status == 200
    assert provider.last.json["messages"][1]["tool_calls"] == CALLED


# --- what other gateways and older replies handed out ----------------------------------------------


@pytest.mark.parametrize("upstream", ["messages", "responses"])
@pytest.mark.parametrize("client", ["messages", "responses"])
async def test_a_field_of_a_chat_upstream_reaches_no_other_api(client: Dialect, upstream: Dialect) -> None:
    call = (
        {"type": "tool_use", "id": "t1", "name": "f", "input": {}}
        if client == "messages"
        else {"type": "function_call", "call_id": "t1", "name": "f", "arguments": "{}"}
    )
    provider = FakeProvider()
    async with gateway(provider) as app:
        body = next_turn(client, [call | {"extra_content": SEAL}]) | {"model": f"{upstream}_server/m"}
        answer = await ask(app, "POST", PATHS[client], body)
    assert answer.status == 200
    assert "extra_content" in answer.headers["x-plano-dropped"]
    assert b"extra_content" not in provider.last.body


async def test_a_chat_client_hands_a_sealed_id_back() -> None:
    """A conversation that began in another API goes on in this one."""
    call = {**FIRST, "id": MARKED}
    turns = [
        {"role": "user", "content": "Go on"},
        {"role": "assistant", "content": None, "tool_calls": [call, SECOND]},
        {"role": "tool", "tool_call_id": MARKED, "content": "ok"},
        {"role": "tool", "tool_call_id": SECOND["id"], "content": "ok"},
    ]
    provider = FakeProvider()
    async with gateway(provider) as app:
        body = {"model": "chat_server/m", "messages": turns, "tools": TOOLS["chat"]}
        assert (await ask(app, "POST", PATHS["chat"], body)).status == 200
    assert provider.last.json["messages"][1]["tool_calls"] == CALLED
    assert provider.last.json["messages"][2]["tool_call_id"] == "function-call-1"


@pytest.mark.parametrize("dialect", ["chat", "messages", "responses"])
def test_a_sealed_id_is_seen_in_a_body(dialect: Any) -> None:
    codec: Any = CODECS[dialect]
    assert codec.hands_back(b'{"id":"%b"}' % MARKED.encode())
    assert not codec.hands_back(b'{"text":"\\"extra_content\\" of plano"}')
    assert not codec.hands_back(json.dumps({"text": 'the "plano-seal.chat." of `plano-seal`'}).encode())


def test_a_seal_is_off_before_ids_are_shortened() -> None:
    id_ = "call_" + "x" * 50
    assert cut(own_id(sealed_id(id_, EXTRAS)), 40) == cut(id_, 40)
