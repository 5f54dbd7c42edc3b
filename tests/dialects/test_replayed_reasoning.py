"""A chat upstream's sealed reasoning, handed back by clients of other dialects: the upstream gets its own entries."""

from __future__ import annotations

import json
from typing import Any

import pytest

from plano.conversation import Conversation, Event, Finished
from plano.dialects import chat, messages, responses
from plano.frames import sse
from plano.losses import Losses
from tests.dialects import support

CLAUDE = {"format": "anthropic-claude-v1", "index": 0}
OPENAI = {"format": "openai-responses-v1", "index": 0, "id": "rs_1"}

SIGNED: list[Any] = [{"type": "reasoning.text", "text": "Hm, 2 > 1…", "signature": "c2ln+/=", **CLAUDE}]
HIDDEN: list[Any] = [{"type": "reasoning.encrypted", "data": "ZW5j+/=", **CLAUDE}]
BOTH: list[Any] = [*SIGNED, {**HIDDEN[0], "index": 1}]
SUMMED: list[Any] = [
    {"type": "reasoning.summary", "summary": "Summed up.", **OPENAI},
    {"type": "reasoning.encrypted", "data": "ZW5j", **OPENAI},
]
CASES = {"signed": SIGNED, "hidden": HIDDEN, "both": BOTH, "summed": SUMMED}


def text_of(entries: list[Any]) -> str:
    return "".join(entry.get("text", entry.get("summary", "")) for entry in entries)


def whole(entries: list[Any]) -> bytes:
    message = {"role": "assistant", "content": "1", "reasoning": text_of(entries) or None, "reasoning_details": entries}
    return json.dumps({"id": "gen-1", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}).encode()


def streamed(deltas: list[dict[str, Any]]) -> list[Event]:
    chunks: list[dict[str, Any]] = [
        *({"id": "gen-1", "choices": [{"index": 0, "delta": delta}]} for delta in [*deltas, {"content": "1"}]),
        {"id": "gen-1", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
    ]
    events = support.read_stream(chat, [sse.frame(json.dumps(one).encode()) for one in chunks])
    assert isinstance(events[-1], Finished)
    return events


def block_of_stream(events: list[Event]) -> dict[str, Any]:
    """The thinking block that a client of the messages API puts together."""
    block: dict[str, Any] = {}
    for frame in sse.frames(support.write_stream(messages, events)):
        event = json.loads(frame.data)
        if event["type"] == "content_block_start" and event["index"] == 0:
            block = event["content_block"]
        delta = event.get("delta", {})
        if event["type"] == "content_block_delta" and event["index"] == 0:
            if delta["type"] == "thinking_delta":
                block["thinking"] += delta["thinking"]
            else:
                block["signature"] = delta["signature"]
    return block


def replayed(blocks: list[Any]) -> dict[str, Any]:
    """The assistant's message that the chat upstream gets, when the client of the messages API sends `blocks`."""
    turns = [
        {"role": "user", "content": "Which is less?"},
        {"role": "assistant", "content": blocks},
        {"role": "user", "content": "Sure?"},
    ]
    asked = messages.read_request(json.dumps({"model": "m", "max_tokens": 9, "messages": turns}).encode())
    body, losses = support.write_request(chat, asked)
    assert losses == {}
    found: dict[str, Any] = body["messages"][1]
    return found


@pytest.mark.parametrize("entries", CASES.values(), ids=CASES)
def test_a_reply_comes_back_as_the_upstream_wrote_it(entries: list[Any]) -> None:
    reply = chat.read_reply(whole(entries))
    written, _ = support.write_reply(messages, reply)
    thinking = written["content"][0]
    assert thinking["thinking"] == text_of(entries)
    back = replayed(written["content"])
    assert json.dumps(back["reasoning_details"]) == json.dumps(entries)
    assert back.get("reasoning_content", "") == text_of(entries)


@pytest.mark.parametrize("entries", CASES.values(), ids=CASES)
def test_the_upstreams_entries_stay_as_they_are_to_the_byte(entries: list[Any]) -> None:
    odd = json.dumps(entries).replace(": ", " :  ").replace("\\u2026", "\\u2026\\/")
    body = whole(entries).replace(json.dumps(entries).encode(), odd.encode())
    reply = chat.read_reply(body)
    written = messages.write_reply(reply, Conversation(), Losses())
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": json.loads(written)["content"]}]
    asked = messages.read_request(json.dumps({"max_tokens": 9, "messages": turns}).encode())
    assert odd[1:-1].split(", {")[0].encode() in chat.write_request(asked, Losses())


@pytest.mark.parametrize("entries", CASES.values(), ids=CASES)
def test_a_stream_of_whole_entries_comes_back_as_the_upstream_wrote_it(entries: list[Any]) -> None:
    events = streamed([{"reasoning": text_of([one]), "reasoning_details": [one]} for one in entries])
    block = block_of_stream(events)
    assert block["thinking"] == text_of(entries)
    assert json.dumps(replayed([block])["reasoning_details"]) == json.dumps(entries)


def test_an_entry_that_was_streamed_in_pieces_comes_back_whole() -> None:
    """The upstream would refuse pieces, because the signature is that of the whole text."""
    pieces = [
        {"type": "reasoning.text", "text": "Hm, 2", **CLAUDE},
        {"type": "reasoning.text", "text": " > 1…", **CLAUDE},
        {"type": "reasoning.text", "signature": "c2ln+/=", **CLAUDE},
        {**HIDDEN[0], "index": 1},
    ]
    events = streamed([{"reasoning": text_of([one]), "reasoning_details": [one]} for one in pieces])
    assert replayed([block_of_stream(events)])["reasoning_details"] == BOTH


def test_a_client_of_the_responses_api_hands_the_same_back() -> None:
    reply = chat.read_reply(whole(BOTH))
    output = support.write_reply(responses, reply)[0]["output"]
    asked = responses.read_request(json.dumps({"model": "m", "input": output}).encode())
    written, _ = support.write_request(chat, asked)
    assert written["messages"][0]["reasoning_details"] == BOTH


def test_reasoning_without_a_seal_is_text_alone() -> None:
    plain = [{"type": "reasoning.text", "text": "Hm.", **CLAUDE}]
    block = block_of_stream(streamed([{"reasoning_details": plain}]))
    assert block["thinking"] == "Hm."
    content = support.write_reply(messages, chat.read_reply(whole(plain)))[0]["content"]
    assert replayed([block, *content[1:]]) == replayed(content)
    assert replayed(content) == {"role": "assistant", "content": "1", "reasoning_content": "Hm."}


def test_what_a_plano_upstream_says_of_another_vendors_seal_is_kept() -> None:
    """plano's own stream has the text first and, at the end, the entry with the whole text beside the seal."""
    events = streamed([{"reasoning_content": "Hm, 2 > 1…"}, {"reasoning_details": SIGNED}])
    block = block_of_stream(events)
    assert block["thinking"] == "Hm, 2 > 1…"
    assert replayed([block])["reasoning_details"] == SIGNED


@pytest.mark.parametrize(
    ("client", "message"),
    [
        (chat, {"reasoning_details": [{"type": "reasoning.summary", "summary": "Hm.", **OPENAI}], "content": "1"}),
        (chat, {"reasoning_details": [{"type": "reasoning.encrypted", "data": "", **OPENAI}], "content": "1"}),
        (messages, {"content": [{"type": "thinking", "thinking": "Hm.", "signature": "plano-seal.responses.rs_1."}]}),
    ],
)
def test_an_id_without_a_seal_is_no_reference_to_what_the_upstream_keeps(client: Any, message: dict[str, Any]) -> None:
    said = [{"role": "user", "content": "Hi"}, {"role": "assistant", **message}, {"role": "user", "content": "More"}]
    asked = client.read_request(json.dumps({"model": "m", "max_tokens": 99, "messages": said}).encode())
    losses = Losses()
    assert b"rs_1" not in responses.write_request(asked, losses)
    assert "messages.thinking" in [loss.field for loss in losses]
