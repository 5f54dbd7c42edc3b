"""Writes events as a client's stream.

Source: "Streaming messages". Blocks have indexes from 0 and never overlap. A part that starts while another block is
open therefore waits, unless that block can be closed. A text can, because it can go on in another block; so can a tool
call whose arguments are a whole JSON object already.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Raw

from plano.conversation import (
    Audio,
    CitationDelta,
    Conversation,
    Event,
    Failed,
    Finished,
    Opaque,
    Part,
    PartStart,
    PartStop,
    Ping,
    RedactedThinking,
    Refusal,
    SealDelta,
    Start,
    Text,
    TextDelta,
    Thinking,
    ToolCall,
    Unknown,
)
from plano.dialects import reading, web_search
from plano.dialects.fields import OBJECT, own
from plano.dialects.messages.errors import write_stream_error
from plano.dialects.messages.finish import write_finish
from plano.dialects.messages.reply import PREFIX, call_block, citation_object, signature
from plano.dialects.messages.usage import delta_usage_object, usage_object
from plano.dialects.reply_ids import reply_id
from plano.frames import sse

_PING = sse.frame(b'{"type": "ping"}', "ping")
_STOP = sse.frame(b'{"type":"message_stop"}', "message_stop")

_encode = msgspec.json.Encoder().encode


class MessagesWriter:
    """Writes a stream of this dialect; see `plano.dialects.codec.StreamWriter`."""

    def __init__(self, asked: Conversation) -> None:
        self._asked = asked
        self._started = False
        self._over = False
        self._refused = False
        self._blocks = 0  # the number of blocks that were started
        self._open = -1  # the index of the part whose block is open
        self._block: _Block | None = None
        self._cut: set[int] = set()  # texts whose block was closed before their part stopped
        self._waiting: dict[int, list[Event]] = {}

    def feed(self, event: Event) -> list[bytes]:
        if type(event) is TextDelta and event.index == self._open and self._block is not None:
            return self._block.text(event.text)
        if self._over:
            return []
        match event:
            case Start():
                return self._start(event)
            case Failed():
                self._over, self._open, self._block = True, -1, None
                return [write_stream_error(event.error)]
            case Ping():
                return [_PING] if self._started else []
            case Unknown():
                return self._unknown(event)
            case Finished():
                return self._finish(event)
            case PartStart():
                return self._begun() + self._part_start(event)
            case PartStop():
                return self._part_stop(event)
        return self._more(event)

    def finish(self) -> list[bytes]:
        return []  # `message_stop` went out with Finished

    # --- the message ---

    def _begun(self) -> list[bytes]:
        """The start of the message, unless it was written already."""
        return [] if self._started else self._start(Start())

    def _start(self, event: Start) -> list[bytes]:
        if self._started:
            return []
        self._started = True
        message: dict[str, Any] = {
            "id": reply_id(event.id, PREFIX),
            "type": "message",
            "role": "assistant",
            "model": event.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage_object(event.usage),
        }
        for name, value in own(event.extras, "messages").items():
            message.setdefault(name, value)
        return [_frame("message_start", {"message": message})]

    def _finish(self, event: Finished) -> list[bytes]:
        """Close and write everything, then the end of the message."""
        out = self._begun() + self._close() + self._drain(to_the_end=True)
        self._over = True
        delta = {
            "stop_reason": write_finish(event.finish, refused=self._refused),
            "stop_sequence": event.stop_sequence,
            **own(event.extras, "messages"),
        }
        return [*out, _frame("message_delta", {"delta": delta, "usage": delta_usage_object(event.usage)}), _STOP]

    def _unknown(self, event: Unknown) -> list[bytes]:
        if event.dialect != "messages":
            return []
        return [*self._begun(), sse.frame(event.data, event.name)]

    # --- its parts ---

    def _part_start(self, event: PartStart) -> list[bytes]:
        """Start the block of a part, or let the part wait while another block is open."""
        if isinstance(event.part, Opaque) and (searched := web_search.as_blocks(event.part)):
            return self._whole(event.index, searched)
        block = _block_of(event.part, self._blocks)
        if block is None:
            return []
        closed: list[bytes] = []
        if self._block is not None:
            if self._waiting or not self._block.may_close():
                self._waiting[event.index] = [event]
                return []
            if isinstance(self._block, _TextBlock):
                self._cut.add(self._open)
            closed = self._close()
        self._refused = self._refused or isinstance(event.part, Refusal)
        self._blocks += 1
        self._block, self._open = block, event.index
        return closed + block.start()

    def _whole(self, index: int, parts: Sequence[Opaque]) -> list[bytes]:
        """Write whole parts that stand for one part of another dialect. They get indexes that no part has."""
        first = -2 - 2 * index
        events = [event for n, part in enumerate(parts) for event in (PartStart(first - n, part), PartStop(first - n))]
        return [
            frame
            for event in events
            for frame in (self._part_start(event) if isinstance(event, PartStart) else self._part_stop(event))
        ]

    def _part_stop(self, event: PartStop) -> list[bytes]:
        """Stop the part's block, and go on with parts that wait."""
        self._cut.discard(event.index)
        if event.index in self._waiting:
            self._waiting[event.index].append(event)
            return []
        if event.index != self._open:
            return []
        return self._close(event.part) + self._drain()

    def _more(self, event: TextDelta | SealDelta | CitationDelta | Any) -> list[bytes]:
        """Write more of a part, or keep it if the part waits."""
        if event.index in self._waiting:
            self._waiting[event.index].append(event)
            return []
        if event.index in self._cut and isinstance(event, TextDelta):
            self._cut.discard(event.index)
            again = self._part_start(PartStart(event.index, Text(text="")))
            return again + self._more(event)
        if event.index != self._open or self._block is None:
            return []
        return self._block.more(event)

    def _close(self, whole: Part | None = None) -> list[bytes]:
        """Stop the open block. `whole` is the whole part, if the upstream repeated it."""
        if self._block is None:
            return []
        block, self._block, self._open = self._block, None, -1
        return block.stop(whole)

    def _drain(self, *, to_the_end: bool = False) -> list[bytes]:
        """Write the parts that wait, one after the other, until one of them is still growing."""
        out: list[bytes] = []
        while self._waiting and self._block is None:
            first = next(iter(self._waiting))
            for event in self._waiting.pop(first):
                if isinstance(event, PartStart):
                    out += self._part_start(event) if self._block is None else []
                elif isinstance(event, PartStop):
                    out += self._close(event.part)
                else:
                    out += self._more(event)
            if to_the_end:
                out += self._close()
        return out


def _frame(name: str, fields: dict[str, Any]) -> bytes:
    return sse.frame(_encode({"type": name, **fields}), name)


class _Block:
    """An open content block: writes its start, its deltas and its stop."""

    __slots__ = ("_head", "_index", "_part", "_said")

    DELTA = b"text_delta"
    FIELD = b"text"

    def __init__(self, part: Any, index: int) -> None:
        self._part = part
        self._index = index
        self._said = False
        self._head = (
            b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":{"type":"%b","%b":'
            % (index, self.DELTA, self.FIELD)
        )

    def start(self) -> list[bytes]:
        raise AssertionError("each kind of block starts in its own way")

    def text(self, text: str) -> list[bytes]:
        """A delta with this text."""
        if not text:
            return []
        self._said = True
        return [self._head + _encode(text) + b"}}\n\n"]

    def more(self, event: TextDelta | SealDelta | CitationDelta | Any) -> list[bytes]:
        """A delta for the event; none if this kind of block has no such delta."""
        return self.text(event.text) if isinstance(event, TextDelta) else []

    def stop(self, whole: Part | None) -> list[bytes]:
        """The stop, and before it all of `whole` that no delta had."""
        return [_frame("content_block_stop", {"index": self._index})]

    def may_close(self) -> bool:
        """Whether the block is complete as it stands."""
        return False

    def _begin(self, block: Any) -> bytes:
        return _frame("content_block_start", {"index": self._index, "content_block": block})


class _TextBlock(_Block):
    """A text, a refusal, or the transcript of audio."""

    __slots__ = ("_cited",)

    def start(self) -> list[bytes]:
        self._cited = False
        part = self._part
        out = [self._begin({"type": "text", "text": "", **own(part.extras, "messages")})]
        out += self.text((part.transcript or "") if isinstance(part, Audio) else part.text)
        return out + (self._citations(part) if isinstance(part, Text) else [])

    def more(self, event: Any) -> list[bytes]:
        if isinstance(event, CitationDelta):
            return self._citation(event.citation)
        return super().more(event)

    def stop(self, whole: Part | None) -> list[bytes]:
        out: list[bytes] = []
        if isinstance(whole, Text | Refusal) and not self._said:
            out += self.text(whole.text)
        if isinstance(whole, Text) and not self._cited:
            out += self._citations(whole)
        return out + super().stop(whole)

    def may_close(self) -> bool:
        return True

    def _citations(self, part: Text) -> list[bytes]:
        return [frame for citation in part.citations for frame in self._citation(citation)]

    def _citation(self, citation: Any) -> list[bytes]:
        written = citation_object(citation)
        if written is None:
            return []
        self._cited = True
        delta = {"type": "citations_delta", "citation": written}
        return [_frame("content_block_delta", {"index": self._index, "delta": delta})]


class _ThinkingBlock(_Block):
    """A thinking block. Its signature is written once and whole, before the stop, because clients take the last
    signature that they see for the whole one."""

    __slots__ = ("_seals",)

    DELTA = b"thinking_delta"
    FIELD = b"thinking"

    def start(self) -> list[bytes]:
        self._seals = [self._part.seal] if self._part.seal else []
        block = {"type": "thinking", "thinking": "", "signature": "", **own(self._part.extras, "messages")}
        return [self._begin(block), *self.text(self._part.text)]

    def more(self, event: Any) -> list[bytes]:
        if isinstance(event, SealDelta):
            self._seals.append(event.seal)
            return []
        return super().more(event)

    def stop(self, whole: Part | None) -> list[bytes]:
        part: Thinking = whole if isinstance(whole, Thinking) else self._part
        out = self.text(part.text) if not self._said else []
        seal = "".join(self._seals) or part.seal
        sealed = signature(
            Thinking(
                text="",
                seal=seal,
                origin=part.origin or self._part.origin,
                item_id=part.item_id or self._part.item_id,
            )
        )
        if sealed:
            delta = {"type": "signature_delta", "signature": sealed}
            out.append(_frame("content_block_delta", {"index": self._index, "delta": delta}))
        return out + super().stop(whole)


class _CallBlock(_Block):
    """A call of a function."""

    __slots__ = ("_pieces",)

    DELTA = b"input_json_delta"
    FIELD = b"partial_json"

    def start(self) -> list[bytes]:
        self._pieces: list[str] = []
        return [self._begin(call_block(self._part)), *self.text(self._part.arguments)]

    def text(self, text: str) -> list[bytes]:
        self._pieces.append(text)
        return super().text(text)

    def more(self, event: Any) -> list[bytes]:
        return self.text(event.text) if isinstance(event, TextDelta) else []

    def stop(self, whole: Part | None) -> list[bytes]:
        out = self.text(whole.arguments) if isinstance(whole, ToolCall) and not self._said else []
        return out + super().stop(whole)

    def may_close(self) -> bool:
        return reading.is_object("".join(self._pieces))


class _CustomCallBlock(_CallBlock):
    """A call of a custom tool; its free text is written as JSON that holds it."""

    __slots__ = ()

    def start(self) -> list[bytes]:
        self._pieces = []
        opening = self._head + _encode('{"input":"') + b"}}\n\n"
        return [self._begin(call_block(self._part)), opening, *self.text(self._part.arguments)]

    def text(self, text: str) -> list[bytes]:
        if not text:
            return []
        self._said = True
        return [self._head + _encode(_encode(text)[1:-1].decode()) + b"}}\n\n"]

    def stop(self, whole: Part | None) -> list[bytes]:
        out = super().stop(whole)
        return [*out[:-1], self._head + _encode('"}') + b"}}\n\n", out[-1]]

    def may_close(self) -> bool:
        return False


class _WholeBlock(_Block):
    """A block that comes whole. If its type is a call's, its input is written as a delta, where clients look for it."""

    __slots__ = ()

    def start(self) -> list[bytes]:
        part = self._part
        if isinstance(part, RedactedThinking):
            return [self._begin({"type": "redacted_thinking", "data": part.data, **own(part.extras, "messages")})]
        if not part.type.endswith("tool_use"):
            return [self._begin(part.raw)]
        fields = dict(OBJECT.decode(part.raw))
        given = bytes(fields.get("input", b"{}")).decode()
        fields["input"] = Raw(b"{}")
        delta = {"type": "input_json_delta", "partial_json": given}
        return [
            self._begin(fields),
            _frame("content_block_delta", {"index": self._index, "delta": delta}),
        ]

    def may_close(self) -> bool:
        return True


def _block_of(part: Part, index: int) -> _Block | None:
    """The block in which a part is written; None for a part that this dialect cannot say."""
    match part:
        case Text() | Refusal() | Audio():
            return _TextBlock(part, index)
        case ToolCall():
            return _CustomCallBlock(part, index) if part.kind == "custom" else _CallBlock(part, index)
        case Thinking():
            return _ThinkingBlock(part, index)
        case RedactedThinking() | Opaque(dialect="messages"):
            return _WholeBlock(part, index)
    return None
