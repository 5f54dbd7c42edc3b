"""A request for embeddings as a conversation: each input is a user message.

Source: OpenAI API reference, "Create embeddings", `input`: a string, a list of strings, or token numbers.
"""

from __future__ import annotations

import msgspec
from msgspec import Raw

from plano.conversation import Conversation, Message, Opaque, Part, Text
from plano.dialects import reading
from plano.dialects.fields import OBJECT, RAWS, STRING, Object, present, raw_of
from plano.losses import refuse

_TOKENS = "tokens"
_ABSENT = Raw()


def read_embeddings(body: bytes) -> Conversation:
    """The inputs, each as a user message of one part: a Text, or an Opaque for token numbers and anything else.

    Raises:
        InvalidRequest: the body is not a JSON object.
    """
    fields = reading.request(OBJECT, body)
    found = fields.get("input", _ABSENT)
    if not present(found):
        return Conversation(dialect="chat")
    inputs = _inputs(found)
    parts = [_part(found)] if inputs is None else [_part(each) for each in inputs]
    return Conversation(dialect="chat", messages=tuple(Message(role="user", parts=(part,)) for part in parts))


def write_embeddings(body: bytes, conversation: Conversation) -> bytes:
    """The body with the conversation's texts as its input, a list if it was one. All else stays as it is: there is no
    room for system texts, tools or settings in a request for embeddings.

    Raises:
        UnsupportedConversion: a part is neither a text nor one that `read_embeddings` gave.
    """
    fields: Object = reading.request(OBJECT, body)
    written = [_written(part) for message in conversation.messages for part in message.parts]
    if len(written) == 1 and _inputs(fields.get("input", _ABSENT)) is None:
        fields["input"] = written[0]
    elif written or "input" in fields:
        fields["input"] = raw_of(written)
    return msgspec.json.encode(fields)


def _inputs(found: Raw) -> list[Raw] | None:
    """The members of a list of inputs; None for a single input. A list of numbers is one input, in tokens."""
    inputs = reading.maybe(RAWS, found)
    if inputs is None or any(bytes(memoryview(each)[:1]).isdigit() for each in inputs):
        return None
    return inputs


def _part(found: Raw) -> Part:
    text = reading.maybe(STRING, found)
    return Opaque(dialect="chat", type=_TOKENS, raw=found) if text is None else Text(text=text)


def _written(part: Part) -> Raw:
    if isinstance(part, Text):
        return raw_of(part.text)
    if isinstance(part, Opaque) and part.dialect == "chat" and part.type == _TOKENS:
        return part.raw
    raise refuse("input", "embeddings are made of texts only")
