"""A request as filters see it and change it, most of all one that asks for no reply."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec import Raw
from msgspec.structs import replace

from plano import CallNext, Plano, Request, Response
from plano.conversation import Conversation, Image, Message, Opaque, System, Text
from plano.dialects.chat.embeddings import read_embeddings
from plano.errors import InvalidRequest, UnsupportedConversion
from plano.testing import FakeProvider
from tests.asgi import ask

EMBEDDINGS = "/v1/embeddings"
CONFIG = {"model_providers": [{"model": "openai/embed", "access_key": "k", "default": True}]}


def embedding(given: Any, **fields: Any) -> Request:
    body = json.dumps({"model": "embed", "input": given, **fields}).encode()
    return Request(dialect="chat", operation="embeddings", raw=body, raw_model="embed", model="embed")


def said(conversation: Conversation) -> list[Any]:
    return [
        part.text if isinstance(part, Text) else json.loads(bytes(part.raw))  # type: ignore[union-attr]
        for message in conversation.messages
        for part in message.parts
    ]


def shouted(conversation: Conversation) -> Conversation:
    return replace(
        conversation,
        messages=tuple(
            replace(
                message,
                parts=tuple(
                    replace(part, text=part.text.upper()) if isinstance(part, Text) else part for part in message.parts
                ),
            )
            for message in conversation.messages
        ),
    )


PICTURE = {"type": "image_url", "image_url": {"url": "https://x"}}
INPUTS: dict[str, tuple[Any, list[Any], Any]] = {
    "a text": ("one", ["one"], "ONE"),
    "an empty text": ("", [""], ""),
    "a list of one": (["one"], ["one"], ["ONE"]),
    "several": (["one", "zwölf", "\u2028"], ["one", "zwölf", "\u2028"], ["ONE", "ZWÖLF", "\u2028"]),
    "none": ([], [], []),
    "tokens": ([1, 22, 333], [[1, 22, 333]], [1, 22, 333]),
    "lists of tokens": ([[1, 2], [3]], [[1, 2], [3]], [[1, 2], [3]]),
    "texts and tokens": (["one", [3]], ["one", [3]], ["ONE", [3]]),
    "objects of some other provider": ([{"image": "x"}], [{"image": "x"}], [{"image": "x"}]),
    "an object": ({"text": "x", "task": "y"}, ["x"], {"text": "X", "task": "y"}),
    "objects with texts and pictures": (
        [{"text": "one"}, {"image": "https://x"}, "two"],
        ["one", {"image": "https://x"}, "two"],
        [{"text": "ONE"}, {"image": "https://x"}, "TWO"],
    ),
    "objects in the parts of chat": (
        [
            {"content": [{"type": "text", "text": "one"}, PICTURE, {"type": "text", "text": "two"}]},
            {"content": "three"},
        ],
        ["one", "two", "three"],
        [
            {"content": [{"type": "text", "text": "ONE"}, PICTURE, {"type": "text", "text": "TWO"}]},
            {"content": "THREE"},
        ],
    ),
    "an object with several texts": ({"text": ["one", "two"]}, ["one", "two"], {"text": ["ONE", "TWO"]}),
    "a number": (7, [7], 7),
    "a null": (None, [], None),
}
"""What `input` is, what a filter sees of it, and what it is with every text in capitals."""


@pytest.mark.parametrize("case", INPUTS)
def test_the_inputs_of_embeddings_are_seen_and_changed_in_their_shape(case: str) -> None:
    given, seen, changed = INPUTS[case]
    request = embedding(given, dimensions=256, unknown={"b": 1, "a": 2.50})
    conversation = request.conversation
    assert said(conversation) == seen
    assert {message.role for message in conversation.messages} <= {"user"}
    assert conversation.model == "embed"
    after = request.replace(conversation=shouted(conversation))
    assert json.loads(after.body) == {
        "model": "embed",
        "input": changed,
        "dimensions": 256,
        "unknown": {"b": 1, "a": 2.50},
    }
    assert (after.model, after.stream, after.operation) == ("embed", False, "embeddings")


def test_inputs_can_be_added_and_taken_away() -> None:
    request = embedding("one")
    more = (*request.conversation.messages, Message(role="user", parts=(Text(text="two"),)))
    assert json.loads(request.replace(conversation=replace(request.conversation, messages=more)).body)["input"] == [
        "one",
        "two",
    ]
    assert json.loads(request.replace(conversation=replace(request.conversation, messages=())).body)["input"] == []


ROLES = [{"role": "system", "content": "one"}, {"role": "user", "content": [PICTURE, {"type": "text", "text": "two"}]}]


def test_messages_in_place_of_an_input_are_seen_and_changed_too() -> None:
    raw = json.dumps({"model": "embed", "messages": [*ROLES, {"role": "user", "content": [PICTURE]}]}).encode()
    request = Request(dialect="chat", operation="embeddings", raw=raw, raw_model="embed", model="embed")
    assert said(request.conversation)[:2] == ["one", "two"]
    after = json.loads(request.replace(conversation=shouted(request.conversation)).body)
    assert after == {
        "model": "embed",
        "messages": [
            {"role": "system", "content": "ONE"},
            {"role": "user", "content": [PICTURE, {"type": "text", "text": "TWO"}]},
            {"role": "user", "content": [PICTURE]},
        ],
    }


def test_an_object_keeps_as_many_texts_as_it_has() -> None:
    request = embedding([{"text": "one"}])
    (message,) = request.conversation.messages
    longer = replace(message, parts=(*message.parts, Text(text="two")))
    with pytest.raises(UnsupportedConversion, match="1 texts has got 2"):
        _ = request.replace(conversation=replace(request.conversation, messages=(longer,))).body


def test_an_object_nested_without_end_is_seen_to_its_end() -> None:
    given: Any = {"text": "one"}
    for _ in range(300):
        given = {"content": [given]}
    request = embedding(given)
    assert said(request.conversation) == ["one"]
    assert b'"ONE"' in request.replace(conversation=shouted(request.conversation)).body


def test_a_request_without_an_input_stays_without_one() -> None:
    request = Request(dialect="chat", operation="embeddings", raw=b'{"unknown":[1]}')
    assert request.conversation.messages == ()
    rules = replace(request.conversation, system=(System(text="Be brief."),))
    assert request.replace(conversation=rules).body == b'{"unknown":[1]}'


@pytest.mark.parametrize("part", [Image(url="https://x"), Opaque(dialect="chat", type="other", raw=Raw(b"{}"))])
def test_parts_that_embeddings_cannot_be_made_of_are_refused(part: Any) -> None:
    request = embedding("one")
    pictured = replace(request.conversation, messages=(Message(role="user", parts=(part,)),))
    with pytest.raises(UnsupportedConversion, match="texts only"):
        _ = request.replace(conversation=pictured).body


@pytest.mark.parametrize("body", [b"[1]", b'{"input":"\xff"}'[:-2], b""])
def test_a_body_that_is_no_object_is_the_clients_fault(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        read_embeddings(body)


async def test_a_filter_changes_the_texts_that_embeddings_are_made_of() -> None:
    async def shout(request: Request, call_next: CallNext) -> Response:
        assert request.operation == "embeddings"
        return await call_next(request.replace(conversation=shouted(request.conversation)))

    provider = FakeProvider()
    body = {"model": "openai/embed", "input": ["one", "two"], "encoding_format": "float", "x": 1}
    answer = await ask(Plano(CONFIG, filters=[shout], transport=provider), "POST", EMBEDDINGS, body)
    assert [len(entry["embedding"]) for entry in answer.json()["data"]] == [16, 16]
    assert provider.last.json == {"model": "embed", "input": ["ONE", "TWO"], "encoding_format": "float", "x": 1}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/messages/count_tokens", {"messages": [{"role": "user", "content": "one"}]}),
        ("/v1/responses/input_tokens", {"input": "one"}),
    ],
)
async def test_a_filter_changes_the_texts_that_are_counted(path: str, body: dict[str, Any]) -> None:
    seen: list[str] = []

    async def longer(request: Request, call_next: CallNext) -> Response:
        seen.append(request.operation)
        messages = (Message(role="user", parts=(Text(text="word " * 100),)),)
        return await call_next(request.replace(conversation=replace(request.conversation, messages=messages)))

    app = Plano(CONFIG, filters=[longer], transport=FakeProvider())
    answer = await ask(app, "POST", path, {"model": "openai/embed", **body})
    assert answer.json()["input_tokens"] > 100
    assert seen == ["count_tokens"]
