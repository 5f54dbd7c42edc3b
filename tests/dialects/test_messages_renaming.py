"""The name that a messages client asked for stands in the reply that it gets; everything else stays byte for byte."""

from __future__ import annotations

import json

import pytest

from plano.dialects import CLIENT_CODECS, messages
from plano.types import ClientDialect

RENAMING = messages.renaming

SPLICED = {
    "as Anthropic writes it": b'{"model":"claude-4-20","id":"msg_1","content":[{"type":"text","text":"x"}]}',
    "behind other fields": b'{"id":"msg_1","type":"message","role":"assistant","model":"claude-4-20","content":[]}',
    "behind an empty list": b'{"id":"msg_1", "content" : [ ], "model" : "claude-4-20"}',
    "with blanks": b'\n { "id" : "m" ,\n  "model"\t:\n"claude-4-20" , "content":[ ] }\n',
    "with escapes": b'{"id":"a \\" \\"model\\":\\"x","model":"claude\\"4\\u002d20","content":[]}',
    "where a value is called model": b'{"type":"model","id":"model","model":"claude-4-20","content":[]}',
    "where a key ends in the word": b'{"a\\"model":"x","my model":"y","model":"claude-4-20","content":[]}',
    "once": b'{"model":"claude-4-20","content":[{"type":"tool_use","input":{"model":"claude-4-20"}}]}',
}
TAKEN_APART = {
    "behind content": b'{"content":[{"model":"not me","n":1.50}],"model":"claude-4-20","usage":{"a":1}}',
    "behind an object": b'{"usage":{"model":"nor me"},"model":"claude-4-20","content":[]}',
    "null": b'{"model":null,"content":[]}',
    "absent": b'{"id":"msg_1","content":[{"model":"not me"}]}',
    "no text": b'{"model":7,"content":[]}',
}
NAMES = ["smart", "anthropic/claude", 'o"dd', "Köln", "\\g<1>"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", SPLICED)
def test_only_the_name_of_a_reply_changes(case: str, name: str) -> None:
    body = SPLICED[case]
    old = b'"claude\\"4\\u002d20"' if case == "with escapes" else b'"claude-4-20"'
    assert RENAMING.reply(name, body) == body.replace(old, json.dumps(name, ensure_ascii=False).encode(), 1)
    assert json.loads(RENAMING.reply(name, body)) == json.loads(body) | {"model": name}


@pytest.mark.parametrize("case", TAKEN_APART)
def test_a_reply_in_another_order_gets_the_name_too(case: str) -> None:
    body = TAKEN_APART[case]
    renamed = RENAMING.reply("smart", body)
    assert json.loads(renamed) == json.loads(body) | {"model": "smart"}
    assert list(json.loads(renamed)) == list(json.loads(body) | {"model": "smart"})
    assert case != "behind content" or b'[{"model":"not me","n":1.50}]' in renamed


def test_a_reply_with_that_name_is_the_same_object() -> None:
    body = SPLICED["behind other fields"]
    assert RENAMING.reply("claude-4-20", body) is body


START = b'event: message_start\ndata: {"type":"message_start","message":%b}\n\n'
BLOCK = b'event: content_block_start\ndata: {"type":"content_block_start","index":0,"content_block":{"model":"no"}}\n\n'


@pytest.mark.parametrize("case", SPLICED | TAKEN_APART)
@pytest.mark.parametrize("before", [b"", b": comment\n\n", b'event: ping\ndata: {"type":"ping"}\n\n'])
def test_the_opening_of_a_stream_gets_the_name(case: str, before: bytes) -> None:
    message = b"".join((SPLICED | TAKEN_APART)[case].splitlines())
    piece = before + START % message + BLOCK
    opened = RENAMING.opening("smart", piece)
    assert opened is not None
    assert opened.startswith(before)
    assert opened.endswith(BLOCK)
    _, _, data = opened.removeprefix(before).removesuffix(BLOCK).partition(b"data: ")
    assert json.loads(data) == {"type": "message_start", "message": json.loads(message) | {"model": "smart"}}
    if case in SPLICED:
        assert opened == before + START % RENAMING.reply("smart", message) + BLOCK


@pytest.mark.parametrize(
    "piece", [b": comment\n\n", b'event: ping\ndata: {"type":"ping"}\n\n', BLOCK, b"data: [DONE]\n\n", b""]
)
def test_a_piece_without_the_opening_is_not_the_one(piece: bytes) -> None:
    assert RENAMING.opening("smart", piece) is None


@pytest.mark.parametrize(
    "piece",
    [
        START % b"7",
        b"event: message_start\ndata: message_start\n\n",
        b'event: message_start\ndata: {"type":"message_start"}\n\n',
        b'data: {"type":"text","text":"message_start","message":{"a":1}}\n\n',
    ],
)
def test_an_opening_of_another_form_goes_on_as_it_is(piece: bytes) -> None:
    assert RENAMING.opening("smart", piece) == piece


@pytest.mark.parametrize("dialect", ["chat", "responses"])
def test_clients_of_other_dialects_are_told_the_upstreams_own_name(dialect: ClientDialect) -> None:
    assert CLIENT_CODECS[dialect].renaming is None
