"""A request for embeddings as a conversation: each input is a user message.

Sources: OpenAI API reference, "Create embeddings", `input`: a string, a list of strings, or token numbers. Servers with
models for pictures take objects too: `{"text": ...}` (Jina, "Embeddings"), `{"content": [{"type": "text", ...}]}`
(OpenRouter, "Submit an embedding request"), or chat's `messages` in place of `input` (vLLM, "OpenAI Chat Embedding
Client For Multimodal").
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Raw

from plano.conversation import Conversation, Message, Opaque, Part, Text
from plano.dialects import reading
from plano.dialects.fields import OBJECT, RAWS, STRING, Object, own, present, raw_of
from plano.losses import refuse

_TOKENS = "tokens"
_FIELDS = ("input", "messages")
_SAYING = frozenset({"content", "text"})
"""The fields of an input that is an object, or of an object in it, that hold its text."""

_ABSENT = Raw()
_ANY = msgspec.json.Decoder(Any)


def read_embeddings(body: bytes) -> Conversation:
    """The inputs, each as a user message. A text is one Text, an object a Text for each of its texts, and token numbers
    and anything else without a text are an Opaque.

    Raises:
        InvalidRequest: the body is not a JSON object.
    """
    fields = reading.request(OBJECT, body)
    messages: list[Message] = []
    for name in _FIELDS:
        found = fields.get(name, _ABSENT)
        if present(found):
            inputs = _inputs(found)
            messages += [_message(name, each) for each in ([found] if inputs is None else inputs)]
    return Conversation(dialect="chat", messages=tuple(messages))


def write_embeddings(body: bytes, conversation: Conversation) -> bytes:
    """The body with the conversation's texts as its input, a list if it was one. All else stays as it is: there is no
    room for system texts, tools or settings in a request for embeddings.

    Raises:
        UnsupportedConversion: a part is neither a text nor one that `read_embeddings` gave, or an object has got more
            or fewer texts.
    """
    fields: Object = reading.request(OBJECT, body)
    written: dict[str, list[Raw]] = {name: [] for name in _FIELDS}
    for message in conversation.messages:
        for name, given in own(message.extras, "chat").items() or (("input", None),):
            written.setdefault(name, []).extend(_written(message, given))
    for name, inputs in written.items():
        if len(inputs) == 1 and _inputs(fields.get(name, _ABSENT)) is None:
            fields[name] = inputs[0]
        elif inputs or present(fields.get(name, _ABSENT)):
            fields[name] = raw_of(inputs)
    return msgspec.json.encode(fields)


def _inputs(found: Raw) -> list[Raw] | None:
    """The members of a list of inputs; None for a single input. A list of numbers is one input, in tokens."""
    inputs = reading.maybe(RAWS, found)
    if inputs is None or any(bytes(memoryview(each)[:1]).isdigit() for each in inputs):
        return None
    return inputs


def _message(name: str, found: Raw) -> Message:
    """An input as a message. One that is an object is kept, because its texts are written back into it."""
    text = reading.maybe(STRING, found)
    if text is not None:
        return Message(role="user", parts=(Text(text=text),))
    said = [Text(text=holder[key]) for holder, key in _slots(reading.request(_ANY, found))]
    parts: tuple[Part, ...] = tuple(said) or (Opaque(dialect="chat", type=_TOKENS, raw=found),)
    return Message(role="user", parts=parts, extras={"chat": {name: found}} if said or name != "input" else {})


def _written(message: Message, given: Raw | None) -> list[Raw]:
    """The inputs that a message stands for. `given` is the object that its texts came from, if they came from one."""
    if given is None:
        return [_written_part(part) for part in message.parts]
    changed = reading.request(_ANY, given)
    slots = _slots(changed)
    texts = [part.text for part in message.parts if isinstance(part, Text)]
    if len(texts) != len(slots):
        raise refuse("input", f"an object with {len(slots)} texts has got {len(texts)}")
    for (holder, key), text in zip(slots, texts, strict=True):
        holder[key] = text
    return [raw_of(changed)]


def _written_part(part: Part) -> Raw:
    if isinstance(part, Text):
        return raw_of(part.text)
    if isinstance(part, Opaque) and part.dialect == "chat" and part.type == _TOKENS:
        return part.raw
    raise refuse("input", "embeddings are made of texts only")


def _slots(given: Any) -> list[tuple[Any, Any]]:
    """The places of the texts in an input: each is a dict or list, and a key or index in it."""
    found: list[tuple[Any, Any]] = []
    ahead: list[tuple[Any, str]] = [(given, "")] if isinstance(given, dict | list) else []
    for value, inherited in ahead:  # which grows meanwhile
        named = isinstance(value, dict)
        members: Iterable[tuple[Any, Any]] = value.items() if named else enumerate(value)
        for key, each in members:
            name = key if named else inherited
            if isinstance(each, str) and name in _SAYING:
                found.append((value, key))
            elif isinstance(each, dict | list):
                ahead.append((each, name))
    return found
