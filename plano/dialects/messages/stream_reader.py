"""Reads an upstream's stream as events.

Source: "Streaming messages". The grammar is message_start, then for each block content_block_start, its deltas and
content_block_stop, then message_delta (one or more) and message_stop. `ping` and `error` may stand anywhere, and so may
events of new types.
"""

from __future__ import annotations

import msgspec
from msgspec import Raw, Struct

from plano.conversation import (
    CitationDelta,
    Event,
    Failed,
    Finished,
    Opaque,
    Part,
    PartStart,
    PartStop,
    Ping,
    SealDelta,
    Start,
    Text,
    TextDelta,
    Thinking,
    ToolCall,
    Unknown,
)
from plano.dialects import reading
from plano.dialects.fields import ABSENT, NULL, STRING, Fields, Object, raw_of, says
from plano.dialects.finish import failure, is_unknown, kept, read_finish, silent
from plano.dialects.messages.errors import misplaced_error
from plano.dialects.messages.read_content import read_citation
from plano.dialects.messages.reply import read_block, reply_extras
from plano.dialects.messages.usage import Tally
from plano.errors import PlanoError, UpstreamProtocolError
from plano.frames.sse import Frame


class _Delta(Struct, gc=False):
    type: str = ""
    text: str | None = None
    thinking: str | None = None
    partial_json: str | None = None
    signature: str | None = None
    citation: Raw = ABSENT


class _Event(Struct, gc=False):
    """Any event of the grammar. The `delta` of `message_delta` has other fields, and is read by `_Whole`."""

    type: str | None = None
    index: int = 0
    delta: _Delta | None = None


class _Whole(Struct):
    content_block: Object | None = None
    message: Object | None = None
    delta: Object | None = None
    usage: Raw = ABSENT
    error: Raw = ABSENT


class _Typed(Struct):
    type: str | None = None


_GRAMMAR = frozenset(
    {
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
        "error",
    }
)

_EVENT = msgspec.json.Decoder(_Event)
_TYPED = msgspec.json.Decoder(_Typed)
_WHOLE = msgspec.json.Decoder(_Whole)


class _Block:
    """A block that has started and not stopped."""

    __slots__ = ("arguments", "index", "opaque", "said")

    def __init__(self, index: int) -> None:
        self.index = index
        self.said = False  # whether a delta had some of a call's arguments
        self.arguments: bytes = b""  # a call's input as it stood in content_block_start
        self.opaque: _OpaqueBlock | None = None


class MessagesReader:
    """Reads a stream of this dialect; see `plano.dialects.codec.StreamReader`."""

    def __init__(self) -> None:
        self._blocks: dict[int, _Block] = {}
        self._next = 0  # the index of the next part
        self._started = False
        self._over = False
        self._called = False
        self._tally = Tally()
        self._stop_reason: str | None = None
        self._ended = False  # a stop reason came, and no block began after it
        self._stop_sequence: str | None = None
        self._extras: Object = {}

    def feed(self, frame: Frame) -> list[Event]:
        if self._over or frame.data == b"[DONE]":  # some compatible servers end a stream as OpenAI does
            return []
        event = reading.maybe(_EVENT, frame.data)
        if event is None:
            return self._odd(frame)
        try:
            return self._delta(event, frame) if event.type == "content_block_delta" else self._other(event, frame)
        except reading.UNFIT as error:
            raise reading.misread(error) from None

    def finish(self) -> list[Event]:
        if self._over:
            return []
        if not self._ended:
            return self._fail(UpstreamProtocolError(reading.CUT_OFF))
        return reading.upstreams(self._end)

    def _odd(self, frame: Frame) -> list[Event]:
        """Read a frame that does not decode as an event of the grammar: an event of a new type, or junk."""
        type_ = reading.upstream(_TYPED, frame.data).type
        if type_ is None or type_ in _GRAMMAR:
            raise UpstreamProtocolError("The upstream sent an event that is not of the messages API.")
        return [Unknown("messages", frame.event or type_, frame.data)]

    def _other(self, event: _Event, frame: Frame) -> list[Event]:
        """Read any event but a delta of a block."""
        type_ = event.type or frame.event
        if type_ == "ping":
            return [Ping()]
        whole = reading.upstream(_WHOLE, frame.data)
        if type_ == "error" or (not event.type and says(whole.error)):
            return self._fail(misplaced_error(frame.data))
        if type_ == "content_block_start":
            return self._block_start(event.index, whole)
        if type_ == "content_block_stop":
            return self._block_stop(event.index)
        if type_ == "message_start":
            return self._start(whole)
        if type_ == "message_delta":
            return self._message_delta(whole)
        if type_ == "message_stop":
            return self._end()
        if not type_:
            raise UpstreamProtocolError("The upstream sent an event that is not of the messages API.")
        return [Unknown("messages", frame.event or type_, frame.data)]

    def _fail(self, error: PlanoError) -> list[Event]:
        self._over = True
        return [Failed(error)]

    # --- the message ---

    def _start(self, whole: _Whole) -> list[Event]:
        if self._started:
            raise UpstreamProtocolError("The upstream started a second message in one stream.")
        self._started = True
        fields = Fields(whole.message or {}, "message")
        self._tally.add(fields.raw("usage"))
        id_, model = fields.take("id", STRING), fields.take("model", STRING)
        for name in ("type", "content", "stop_reason", "stop_sequence"):
            fields.found.pop(name, None)
        return [Start(id=id_ or "", model=model or "", usage=self._tally.usage(), extras=reply_extras(fields.found))]

    def _message_delta(self, whole: _Whole) -> list[Event]:
        delta = Fields(whole.delta or {}, "delta")
        self._tally.add(whole.usage)
        reason = delta.take("stop_reason", STRING)
        self._stop_reason, self._ended = reason or self._stop_reason, self._ended or bool(reason)
        self._stop_sequence = delta.take("stop_sequence", STRING) or self._stop_sequence
        self._extras.update({name: raw for name, raw in delta.found.items() if raw != NULL})
        return []

    def _end(self) -> list[Event]:
        """The stops of all open blocks, and the end of the message."""
        error = failure(self._stop_reason)
        if error is None and is_unknown(self._stop_reason) and not self._next:
            error = silent(self._stop_reason)
        if error is not None:
            return self._fail(error)
        self._over = True
        extras = self._extras | kept(self._stop_reason, "stop_reason")
        events: list[Event] = [] if self._started else [Start()]
        for index in list(self._blocks):
            events += self._block_stop(index)
        finished = Finished(
            finish=read_finish(self._stop_reason, called=self._called),
            stop_sequence=self._stop_sequence,
            usage=self._tally.usage(),
            extras={"messages": extras} if extras else {},
        )
        return [*events, finished]

    # --- its blocks ---

    def _block_start(self, index: int, whole: _Whole) -> list[Event]:
        """The start of a block. An opaque block gives no events until it is whole."""
        found = whole.content_block
        if found is None:
            raise UpstreamProtocolError("The upstream started a block without saying which.")
        events: list[Event] = [] if self._started else [Start()]
        self._started, self._ended = True, False
        if index in self._blocks:
            events += self._block_stop(index)
        kept = dict(found)
        part = read_block(Fields(found, "content_block"))
        block = self._blocks[index] = _Block(self._next)
        if isinstance(part, Opaque):
            block.opaque = _OpaqueBlock(part.type, kept)  # it takes its index when it is whole
            return events
        self._next += 1
        return [*events, *self._part_start(block, part)]

    def _part_start(self, block: _Block, part: Part) -> list[Event]:
        """The start of a part, and deltas with the contents that the start of the block had."""
        index = block.index
        match part:
            case ToolCall():
                self._called = True
                block.arguments = part.arguments.encode()
                return [PartStart(index, msgspec.structs.replace(part, arguments=""))]
            case Text():
                events: list[Event] = [PartStart(index, Text(text="", extras=part.extras))]
                if part.text:
                    events.append(TextDelta(index, part.text))
                return events + [CitationDelta(index, citation) for citation in part.citations]
            case Thinking():
                return self._thinking_start(index, part)
        return [PartStart(index, part)]

    def _thinking_start(self, index: int, part: Thinking) -> list[Event]:
        bare = Thinking(text="", origin=part.origin, item_id=part.item_id, summary=part.summary)
        events: list[Event] = [PartStart(index, bare)]
        if part.text:
            events.append(TextDelta(index, part.text))
        if part.seal:
            events.append(SealDelta(index, part.seal))
        return events

    def _delta(self, event: _Event, frame: Frame) -> list[Event]:
        """Read a delta of a block."""
        block, delta = self._blocks.get(event.index), event.delta
        if block is None or delta is None:
            raise UpstreamProtocolError("The upstream sent a part of a block that it had not started.")
        if block.opaque is not None:
            block.opaque.add(delta, frame.data)
            return []
        if delta.text is not None:
            return [TextDelta(block.index, delta.text)]
        if delta.partial_json is not None:
            block.said = block.said or bool(delta.partial_json)
            return [TextDelta(block.index, delta.partial_json)] if delta.partial_json else []
        if delta.thinking is not None:
            return [TextDelta(block.index, delta.thinking)]
        if delta.signature is not None:
            return [SealDelta(block.index, delta.signature)] if delta.signature else []
        if says(delta.citation):
            return [CitationDelta(block.index, read_citation(delta.citation))]
        reading.upstream(_TYPED, frame.data)  # the whole frame is passed on, so all of it must be UTF-8
        return [Unknown("messages", frame.event or "content_block_delta", frame.data)]

    def _block_stop(self, index: int) -> list[Event]:
        """The stop of a block, and before it everything that no delta gave."""
        block = self._blocks.pop(index, None)
        if block is None:
            return []
        if block.opaque is not None:
            whole, block.index = block.opaque.whole(), self._next
            self._next += 1
            return [PartStart(block.index, whole), PartStop(block.index)]
        if block.arguments and not block.said:  # no delta had any of the input: it came with the start
            return [TextDelta(block.index, block.arguments.decode()), PartStop(block.index)]
        return [PartStop(block.index)]


class _OpaqueBlock:
    """A block of a type that the neutral model does not have, put together from its deltas."""

    __slots__ = ("_deltas", "_fields", "_input", "_type")

    def __init__(self, type_: str, fields: Object) -> None:
        self._type = type_
        self._fields = fields
        self._input: list[str] = []
        self._deltas: dict[str, list[object]] = {}

    def add(self, delta: _Delta, data: bytes) -> None:
        """Take in a delta of the block."""
        if delta.partial_json is not None:
            self._input.append(delta.partial_json)
            return
        for name, raw in (reading.upstream(_WHOLE, data).delta or {}).items():
            if name != "type" and raw != NULL:
                self._deltas.setdefault(name, []).append(msgspec.json.decode(raw))

    def whole(self) -> Opaque:
        """The block with all its deltas."""
        written = "".join(self._input)
        if written:
            self._fields["input"] = Raw(written.encode()) if reading.is_object(written) else raw_of(written)
        for name, pieces in self._deltas.items():
            self._fields[name] = raw_of(_joined(self._fields.get(name), pieces))
        return Opaque(dialect="messages", type=self._type, raw=raw_of(self._fields))


def _joined(start: Raw | None, pieces: list[object]) -> object:
    """Put the deltas of one field together: texts and lists grow, and of anything else the last value counts."""
    first = msgspec.json.decode(start) if start is not None else None
    texts = [piece for piece in (first, *pieces) if isinstance(piece, str)]
    if len(texts) == len(pieces) + isinstance(first, str):
        return "".join(texts)
    return [*first, *pieces] if isinstance(first, list) else pieces[-1]
