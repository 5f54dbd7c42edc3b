"""Renders a scripted answer as the bytes of a response."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from plano.conversation import Conversation, Event, Message, Part, TextDelta, Thinking, ToolCall, Usage
from plano.conversation import Reply as NeutralReply
from plano.dialects import CLIENT_CODECS
from plano.dialects.openai import kind_of_status
from plano.errors import PlanoError, UpstreamStatus
from plano.frames import sse
from plano.losses import Losses
from plano.testing.record import Recorded
from plano.testing.script import Answer, Failure, Reply, Verbatim
from plano.translation.assembly import events_of
from plano.translation.estimate import PER_MESSAGE, estimate_tokens
from plano.types import ClientDialect, RawHeaders

_WORD = re.compile(r"\s*\S+\s*|\s+")
_ARGUMENTS = 12
"""Characters of a tool call's arguments per event."""


class Wire(Struct, kw_only=True):
    """A response ready to be sent. `delay` and `pause` are seconds, None if the answer does not say."""

    status: int
    headers: RawHeaders
    pieces: list[bytes]
    delay: float | None = None
    pause: float | None = None
    lost: bool = False


def render(answer: Answer, recorded: Recorded, *, id: str, now: int) -> Wire:
    """The bytes of `answer` to this request at `now` (Unix seconds); every id in it is made from `id`.

    Raises:
        InvalidRequest: the request is malformed.
    """
    match answer:
        case Verbatim():
            return Wire(
                status=answer.status,
                headers=_raw(answer.headers),
                pieces=answer.pieces,
                delay=answer.delay,
                pause=answer.pause,
                lost=answer.lost,
            )
        case Failure():
            return replace(of_error(_error(answer), recorded, answer.headers), delay=answer.delay)
        case Reply():
            return _of_reply(answer, recorded, id, now)


def of_error(error: PlanoError, recorded: Recorded, headers: Mapping[str, str] | None = None) -> Wire:
    return of_body(CLIENT_CODECS[recorded.dialect or "chat"].write_error(error), headers, status=error.status)


def of_json(parsed: Any) -> Wire:
    return of_body(msgspec.json.encode(parsed))


def of_body(body: bytes, headers: Mapping[str, str] | None = None, *, status: int = 200) -> Wire:
    own = {"content-type": "application/json", "content-length": str(len(body))}
    return Wire(status=status, headers=_raw({**own, **(headers or {})}), pieces=[body])


def _of_reply(answer: Reply, recorded: Recorded, id: str, now: int) -> Wire:
    assert recorded.dialect is not None
    codec, asked = CLIENT_CODECS[recorded.dialect], recorded.conversation
    reply = _neutral(answer, asked, recorded.dialect, id, now)
    headers = {codec.conventions.request_id: f"req_{id}", **answer.headers}
    if asked.stream:
        wire = _stream(answer, asked, recorded.dialect, reply)
        wire.headers = _raw({"content-type": "text/event-stream", **headers})
    else:
        wire = of_body(codec.write_reply(reply, asked, Losses()), headers)
        if answer.breaks_after is not None:
            _break_body(wire, answer, recorded.dialect)
    wire.delay, wire.pause = answer.delay, answer.pause
    return wire


def _stream(answer: Reply, asked: Conversation, dialect: ClientDialect, reply: NeutralReply) -> Wire:
    codec = CLIENT_CODECS[dialect]
    writer = codec.stream_writer(asked)
    written = [frame for event in _small_steps(reply) for frame in writer.feed(event)] + writer.finish()
    frames = [block + b"\n\n" for block in sse.blocks(b"".join(written))]
    lost = False
    if answer.breaks_after is not None and answer.breaks_after < len(frames):
        frames = frames[: answer.breaks_after]
        lost = answer.how == "lost"
        error = _error_inside(answer)
        if error is not None:
            frames.append(codec.write_stream_error(error))
    if answer.cut is not None:
        whole = b"".join(frames)
        frames = [whole[at : at + answer.cut] for at in range(0, len(whole), answer.cut)]
    return Wire(status=200, headers=[], pieces=frames, lost=lost)


def _break_body(wire: Wire, answer: Reply, dialect: ClientDialect) -> None:
    """Break a reply that is not streamed: keep half of it, or put an error in its place."""
    body = wire.pieces[0]
    error = _error_inside(answer)
    if error is not None:
        body = CLIENT_CODECS[dialect].write_error(error)
    else:
        body = body[: len(body) // 2]
    if answer.how != "lost":  # before a lost connection, the whole length was announced
        wire.headers = [header for header in wire.headers if header[0] != b"content-length"]
    wire.pieces, wire.lost = [body], answer.how == "lost"


def _error(failure: Failure) -> UpstreamStatus:
    status = failure.status
    return UpstreamStatus(
        failure.message, status=status, kind=kind_of_status(status), code=failure.code, param=failure.param
    )


def _error_inside(answer: Reply) -> UpstreamStatus | None:
    """The error within a reply that breaks off with one."""
    if isinstance(answer.how, Failure):
        return _error(answer.how)
    if answer.how != "error":
        return None
    return UpstreamStatus("The provider is overloaded, as the test told it to be.", status=503, kind="overloaded")


def _neutral(answer: Reply, asked: Conversation, dialect: ClientDialect, id: str, now: int) -> NeutralReply:
    parts = tuple(_with_ids(part, dialect, f"{id}_{index}") for index, part in enumerate(answer.parts))
    calls = any(isinstance(part, ToolCall) for part in parts)
    return NeutralReply(
        id=id,
        model=answer.model or asked.model or "",
        created=now,
        parts=parts,
        finish=answer.finish or ("tool_calls" if calls else "stop"),
        stop_sequence=answer.stop_sequence,
        usage=_estimated(asked, parts) if answer.usage == "estimated" else answer.usage,
    )


def _with_ids(part: Part, dialect: ClientDialect, suffix: str) -> Part:
    """The part with an id like those of this dialect's providers, and with its seal marked as this dialect's."""
    if isinstance(part, ToolCall) and not part.id:
        return replace(part, id=CLIENT_CODECS[dialect].conventions.call_prefix + suffix)
    if isinstance(part, Thinking) and part.origin is None:
        return replace(part, origin=dialect)
    return part


def _estimated(asked: Conversation, parts: tuple[Part, ...]) -> Usage:
    said = Conversation(messages=(Message(role="assistant", parts=parts),))
    return Usage(input_tokens=estimate_tokens(asked), output_tokens=max(1, estimate_tokens(said) - PER_MESSAGE))


def _small_steps(reply: NeutralReply) -> Iterator[Event]:
    """The events of the reply, texts word by word and arguments of tool calls in pieces."""
    for event in events_of(reply):
        if not isinstance(event, TextDelta):
            yield event
            continue
        whole = event.text
        if isinstance(reply.parts[event.index], ToolCall):
            pieces = [whole[at : at + _ARGUMENTS] for at in range(0, len(whole), _ARGUMENTS)]
        else:
            pieces = _WORD.findall(whole)
        for piece in pieces:
            yield TextDelta(event.index, piece)


def _raw(headers: Mapping[str, str]) -> RawHeaders:
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
