"""Turns a chain of turns into the history of the request that continues it.

Turns are stored as they were on the wire. Where the client speaks the same dialect, their items or messages are put
in front of its own unchanged; otherwise they go through the neutral model.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from plano.conversation import Conversation, Message, RedactedThinking, Reply, System, Thinking
from plano.dialects import CLIENT_CODECS, CODECS, reading
from plano.errors import InvalidRequest, UpstreamError
from plano.frames import sse
from plano.losses import Losses
from plano.state.record import Origin, Record
from plano.translation.assembly import ReplyBuilder
from plano.translation.foreign import FOREIGN
from plano.types import UpstreamDialect

_THOUGHTS = (Thinking, RedactedThinking)


class _Choice(Struct):
    message: Raw


class _Completion(Struct):
    choices: list[_Choice]


_COMPLETION = msgspec.json.Decoder(_Completion)
_LIST = msgspec.json.Decoder(list[Raw])
_OBJECT = msgspec.json.Decoder(dict[str, Raw])
_ANY = msgspec.json.Decoder(Any)
_encode = msgspec.json.Encoder().encode


# --- towards a responses client's request ----------------------------------------------------------


def items(record: Record, entry: str | None, losses: Losses) -> list[Raw]:
    """The turn's items, input before output.

    Args:
        record: the turn.
        entry: the upstream's entry if it speaks responses itself: it gets no ids that it does not know, and no
            reasoning that another provider made. None if the items go through the neutral model anyway.
        losses: the list to which omissions are reported.
    """
    if record.kind == "chat":
        return _rewritten(record, "responses", "input", losses)
    return fitted(own_items(record), record.origin, entry, losses)


def own_items(record: Record) -> list[Raw]:
    """The items of a turn of the responses API, verbatim."""
    asked = listed(record.asked)
    if record.kind == "imported_items":  # katanemo's Plano keeps an empty message for an answer that had no text
        return [raw for raw in asked if not _is_empty_message(_OBJECT.decode(raw))]
    return asked + output(record)


def output(record: Record) -> list[Raw]:
    """The items that answered a turn of the responses API, verbatim."""
    if not record.reply or record.kind != "responses":
        return []
    return _LIST.decode(_OBJECT.decode(record.reply).get("output", Raw(b"[]")))


def _is_empty_message(fields: dict[str, Raw]) -> bool:
    return "role" in fields and bytes(fields.get("content", b"null")) == b"null"


def listed(given: bytes | Raw) -> list[Raw]:
    """The items of an `input`; a string becomes a user's message.

    Raises:
        InvalidRequest: it is neither a list nor a string.
    """
    start = bytes(memoryview(given)[:1])
    if start in (b"", b"n"):
        return []
    if start == b'"':
        return [Raw(b'{"type":"message","role":"user","content":%b}' % bytes(given))]
    try:
        return _LIST.decode(given)
    except reading.UNREADABLE:
        raise InvalidRequest("Invalid `input`: Expected `str | array`.", param="input") from None


def fitted(found: list[Raw], origin: Origin, entry: str | None, losses: Losses) -> list[Raw]:
    """Adapts the items that `origin` wrote to the upstream behind `entry`; see `items`."""
    if entry is None:
        return found
    own = origin.dialect == "responses" and origin.entry == entry
    if own and origin.kept:
        return found
    kept = [item for raw in found if (item := _sealed(raw) if own else _anonymous(raw)) is not None]
    if len(kept) < len(found):
        losses.drop("messages.thinking", FOREIGN)
    return kept


def _sealed(raw: Raw) -> Raw | None:
    """Adapts an item to the upstream that wrote it and did not store it; None for reasoning without its encrypted
    content, which would be nothing but an id that the upstream does not know."""
    fields = _OBJECT.decode(raw)
    if _type(fields) == "reasoning" and bytes(fields.get("encrypted_content", b"null")) == b"null":
        return None
    return raw


def _anonymous(raw: Raw) -> Raw | None:
    """Adapts an item to an upstream that did not write it; None for reasoning."""
    fields = _OBJECT.decode(raw)
    if _type(fields) == "reasoning":
        return None
    if "id" not in fields or _type(fields) == "item_reference":
        return raw
    del fields["id"]
    return Raw(_encode(fields))


def _type(fields: dict[str, Raw]) -> object:
    return reading.maybe(_ANY, fields.get("type", b"null"))


# --- towards a chat client's request ---------------------------------------------------------------


def messages(records: Iterable[Record], entry: str, losses: Losses) -> list[Raw]:
    """The turns' messages for the upstream behind `entry`, each turn's answer last. A repeated system message is left
    out, and reasoning goes back only to the upstream that made it."""
    found: list[Raw] = []
    for record in records:
        if record.kind == "chat":
            found += unsaid(_LIST.decode(_messages(record)), found)
            found += _answer(record, entry, losses)
        else:
            found += unsaid(_rewritten(record, "chat", "messages", losses), found)
    return found


def unsaid(turn: list[Raw], before: Sequence[Raw]) -> list[Raw]:
    """A turn's messages without the leading system messages that are in `before` already, since most programs send
    the same ones with every request."""
    said = [value for raw in before if _is_system(value := msgspec.json.decode(raw))]
    start = 0
    while said and start < len(turn) and reading.maybe(_ANY, turn[start]) in said:
        start += 1
    return turn[start:]


def _is_system(message: Any) -> bool:
    return isinstance(message, dict) and message.get("role") in ("system", "developer")


def _messages(record: Record) -> Raw:
    return _OBJECT.decode(record.asked).get("messages", Raw(b"[]"))


def _answer(record: Record, entry: str, losses: Losses) -> list[Raw]:
    """The turn's answer as messages for the upstream behind `entry`."""
    message = _message(record)
    fields = {name: raw for name, raw in _OBJECT.decode(message).items() if bytes(memoryview(raw)[:5]) != b"null"}
    if "function_call" in fields:  # deprecated; the next message refers to it by that name
        return [Raw(_encode(fields))]
    turn = CLIENT_CODECS["chat"].read_request(b'{"messages":[' + bytes(message) + b"]}")
    if (record.origin.dialect, record.origin.entry) != ("chat", entry):
        turn = _without_thinking(turn, losses)
    if not any(said.parts for said in turn.messages):
        return []
    return _field(CLIENT_CODECS["chat"].write_request(turn, losses), "messages")


def _without_thinking(turn: Conversation, losses: Losses) -> Conversation:
    said = [
        replace(message, parts=tuple(part for part in message.parts if not isinstance(part, _THOUGHTS)))
        for message in turn.messages
    ]
    if said != list(turn.messages):
        losses.drop("messages.thinking", FOREIGN)
    return replace(turn, messages=tuple(said))


def _message(record: Record) -> Raw:
    """The answer of a chat completion, as the message that its client would send back."""
    body = record.reply
    if record.head.streamed:
        body = CLIENT_CODECS["chat"].write_reply(completion(record), Conversation(), Losses())
    try:
        return _COMPLETION.decode(body).choices[0].message
    except (msgspec.MsgspecError, IndexError) as error:
        raise InvalidRequest(f"`{record.id}` cannot be continued: it has no answer.", code="not_continuable") from error


# --- through the neutral model ---------------------------------------------------------------------


def conversation(records: Iterable[Record], asked: Conversation) -> Conversation:
    """Puts the turns in front of `asked`. The instructions are those of `asked`; the system messages of the turns come
    before its own, and none is repeated."""
    system = [part for part in asked.system if part.role is None]
    said: list[Message] = []
    for record in records:
        turn = neutral(record)
        system += _new(turn.system, system)
        said += turn.messages
    system += _new((part for part in asked.system if part.role is not None), system)
    return replace(asked, system=tuple(system), messages=(*said, *asked.messages))


def neutral(record: Record) -> Conversation:
    """A turn, its answer included, as system parts and messages.

    Raises:
        InvalidRequest: it cannot be read, because its upstream accepted something that its API does not define.
    """
    if record.kind != "chat":
        body = b'{"input":[' + b",".join(own_items(record)) + b"]}"
        return CLIENT_CODECS["responses"].read_request(body)
    messages = [*_LIST.decode(_messages(record)), _message(record)]
    turn = CLIENT_CODECS["chat"].read_request(b'{"messages":[' + b",".join(messages) + b"]}")
    return replace(turn, messages=tuple(message for message in turn.messages if message.parts))


def _new(parts: Iterable[System], before: Sequence[System]) -> list[System]:
    said = {(part.role, part.text) for part in before}
    return [part for part in parts if (part.role, part.text) not in said]


def completion(record: Record) -> Reply:
    """The reply of a chat completion, assembled if it was streamed.

    Raises:
        InvalidRequest: it cannot be read; see `neutral`.
    """
    codec = CLIENT_CODECS["chat"]
    try:
        if not record.head.streamed:
            return codec.read_reply(record.reply)
        builder, reader = ReplyBuilder(), codec.stream_reader()
        for frame in sse.frames(record.reply):
            for event in reader.feed(frame):
                builder.feed(event)
        for event in reader.finish():
            builder.feed(event)
        return builder.reply()
    except UpstreamError as error:
        raise InvalidRequest(f"`{record.id}` cannot be read: {error.message}", code="not_continuable") from error


def _rewritten(record: Record, dialect: UpstreamDialect, field: str, losses: Losses) -> list[Raw]:
    """The list `field` of a turn that was in another dialect, written in `dialect`."""
    turn = neutral(record)
    if dialect == "responses":  # a history's system messages are items of it, not the next request's instructions
        marked = (replace(part, extras={**part.extras, "responses": {}}) for part in turn.system)
        turn = replace(turn, system=tuple(marked))
    return _field(CODECS[dialect].write_request(turn, losses), field)


def _field(body: bytes, name: str) -> list[Raw]:
    return _LIST.decode(_OBJECT.decode(body)[name])
