"""Writes events as a stream of chunks. Source: API reference, Chat, "The chat completion chunk object".

The bytes around a delta's text do not change within a part, so they are made once, when the part starts.
"""

from __future__ import annotations

from typing import Any

import msgspec

from plano.conversation import (
    Audio,
    AudioDelta,
    Citation,
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
from plano.dialects.chat.errors import write_stream_error
from plano.dialects.chat.finish import write_finish
from plano.dialects.chat.ids import REPLY
from plano.dialects.chat.reply import custom_names, write_annotation
from plano.dialects.chat.thinking import write_details
from plano.dialects.chat.tools import asks_for_functions
from plano.dialects.chat.usage import write_usage
from plano.dialects.chat.write_content import call_object
from plano.dialects.custom_tools import Unwrapper
from plano.dialects.reply_ids import reply_id
from plano.frames import sse

_encode = msgspec.json.encode

PING = b": ping\n\n"
"""A comment, because the chat API has no event for a sign of life; its SDKs skip comments."""


class _Open:
    """A part that is being written.

    Attributes:
        head, tail: the bytes around the JSON string of each delta.
        at: the number of characters in the texts before this one.
        text: the deltas so far, or None. Only a Thinking keeps them, because its seal is written beside its text.
    """

    __slots__ = ("at", "citations", "head", "length", "part", "seal", "tail", "text", "unwrapper")

    def __init__(self, part: Part, head: bytes, tail: bytes, at: int) -> None:
        self.part = part
        self.head = head
        self.tail = tail
        self.at = at
        self.length = 0
        self.text: list[str] | None = [] if isinstance(part, Thinking) else None
        self.seal: list[str] = []
        self.citations: list[Citation] = []
        self.unwrapper: Unwrapper | None = None


class ChatStreamWriter:
    """Writes a stream of this dialect; see `plano.dialects.codec.StreamWriter`."""

    def __init__(self, asked: Conversation) -> None:
        self._include_usage = asked.include_usage
        self._customs = custom_names(asked)
        self._legacy = asks_for_functions(asked)
        self._listed_before: dict[str, int] = {}
        self._head = b""  # the beginning of every chunk, up to the delta
        self._top = b""  # the beginning of every chunk, up to the choices
        self._tail = b""
        self._parts: dict[int, _Open] = {}
        self._said = 0  # characters of text in earlier parts
        self._calls = 0
        self._ended = False

    def feed(self, event: Event) -> list[bytes]:
        kind = type(event)
        if kind is TextDelta:
            return self._delta(event)  # type: ignore[arg-type]
        match event:
            case PartStart():
                return self._start_part(event.index, event.part)
            case PartStop():
                return self._stop_part(event.index)
            case SealDelta() if event.index in self._parts:
                self._parts[event.index].seal.append(event.seal)
            case CitationDelta() if event.index in self._parts:
                self._parts[event.index].citations.append(event.citation)
            case AudioDelta():
                return [self._chunk(b'"audio":{"data":' + _encode(event.data) + b"}")]
            case Start():
                return [self._start(event)]
            case Finished():
                return self._finished(event)
            case Failed():
                self._ended = False
                return [write_stream_error(event.error)]
            case Ping():
                return [PING]
            case Unknown() if event.dialect == "chat":
                return [sse.frame(event.data, event.name)]
        return []

    def finish(self) -> list[bytes]:
        return [sse.DONE] if self._ended else []

    # --- the ends ---

    def _start(self, start: Start) -> bytes:
        own = {name: raw for name, raw in start.extras.get("chat", {}).items() if name != "finish_reason"}
        fields = {
            "id": reply_id(start.id, REPLY),
            "object": "chat.completion.chunk",
            "created": start.created or 0,
            "model": start.model,
            **own,
        }
        self._top = b"data: " + _encode(fields)[:-1] + b',"choices":['
        self._head = self._top + b'{"index":0,"delta":{'
        # With `include_usage` every chunk has `usage`, null in all but the last (API reference, `stream_options`).
        self._tail = b',"usage":null}\n\n' if self._include_usage else b"}\n\n"
        return self._chunk(b'"role":"assistant","content":""')

    def _chunk(self, delta: bytes, logprobs: bytes = b"") -> bytes:
        """A chunk with this delta, the members of a JSON object without its braces."""
        return self._head + delta + b"}" + logprobs + b',"finish_reason":null}]' + self._tail

    def _finished(self, finished: Finished) -> list[bytes]:
        """The chunk with the finish reason, and the usage if the client asked for it."""
        self._ended = True
        own = finished.extras.get("chat", {}).get("finish_reason")
        reason = _encode(own or write_finish(finished.finish, legacy=self._legacy))
        chunks = [self._head + b'},"finish_reason":' + reason + b"}]" + self._tail]
        if self._include_usage and finished.usage is not None:
            chunks.append(self._top + b'],"usage":' + _encode(write_usage(finished.usage)) + b"}\n\n")
        return chunks

    # --- the parts ---

    def _delta(self, event: TextDelta) -> list[bytes]:
        """The chunk for more text of a part."""
        part = self._parts.get(event.index)
        if part is None:  # a part that only another dialect has
            return []
        text = event.text
        if part.text is not None:
            part.text.append(text)
        elif part.unwrapper is not None:
            text = part.unwrapper.feed(text)
            if not text:
                return []
        part.length += len(text)
        if event.logprobs is not None:
            return [self._chunk(self._inner(part, text), b',"logprobs":' + bytes(event.logprobs))]
        return [part.head + _encode(text) + part.tail] if part.head else []

    def _inner(self, part: _Open, text: str) -> bytes:
        """A text as a member of a delta, without the rest of its chunk."""
        return part.head[len(self._head) :] + _encode(text)

    def _start_part(self, index: int, part: Part) -> list[bytes]:
        """Open a part; most kinds write nothing until their first delta."""
        match part:
            case Text():
                return self._open(index, part, b'"content":')
            case Thinking():
                return self._open(index, part, b'"reasoning_content":')
            case Refusal():
                return self._open(index, part, b'"refusal":')
            case Audio():
                self._open(index, part, b'"audio":{"transcript":', b"}")
                return [self._chunk(b'"audio":' + _encode({"id": part.id or ""}))]
            case ToolCall():
                return self._start_call(index, part)
            case RedactedThinking():
                return self._listed("reasoning_details", write_details(part))
            case Opaque() if part.dialect == "chat":
                return [self._chunk(_encode({part.type: part.raw})[1:-1])]
        return []

    def _open(self, index: int, part: Part, head: bytes, tail: bytes = b"") -> list[bytes]:
        """Keep a part whose deltas stand between `head` and `tail`; nothing is written yet."""
        end = tail + b'},"finish_reason":null}]' + self._tail
        self._parts[index] = _Open(part, self._head + head, end, self._said)
        return []

    def _start_call(self, index: int, call: ToolCall) -> list[bytes]:
        """Open a call, and write its id and name."""
        at, self._calls = self._calls, self._calls + 1
        if self._legacy:
            return self._start_function(index, call, at)
        custom = call.kind == "custom" or call.name in self._customs
        kind, field = ("custom", b"input") if custom else ("function", b"arguments")
        head = b'"tool_calls":[{"index":%d,"%s":{"%s":' % (at, kind.encode(), field)
        self._open(index, call, head, b"}}]")
        if custom and call.kind == "function":
            self._parts[index].unwrapper = Unwrapper()
        shown = msgspec.structs.replace(call, arguments="", kind=kind)
        return [self._chunk(b'"tool_calls":' + _encode([{"index": at, **call_object(shown, kind=kind)}]))]

    def _start_function(self, index: int, call: ToolCall, at: int) -> list[bytes]:
        """Start a call in the deprecated form, which has room for one call, without an id."""
        self._open(index, call, b'"function_call":{"arguments":', b"}")
        if at > 0:
            self._parts[index].head = b""
            return []
        return [self._chunk(b'"function_call":' + _encode({"name": call.name, "arguments": ""}))]

    def _stop_part(self, index: int) -> list[bytes]:
        """Close a part, and write the seal or the citations that had to wait for its end."""
        part = self._parts.pop(index, None)
        if part is None:
            return []
        if part.text is not None:
            return self._sealed(part, "".join(part.text))
        if part.unwrapper is not None and (rest := part.unwrapper.finish()):
            return [part.head + _encode(rest) + part.tail]
        if isinstance(part.part, Text):
            self._said += part.length
            return self._cited(part)
        return []

    def _sealed(self, part: _Open, text: str) -> list[bytes]:
        """The seal and the whole text beside it, so that a client that only collects the entries can send back all
        that must come back."""
        assert isinstance(part.part, Thinking), "only thinking is kept for its seal"
        seal = "".join(part.seal) or part.part.seal
        details = write_details(msgspec.structs.replace(part.part, seal=seal), text)
        return self._listed("reasoning_details", details)

    def _cited(self, part: _Open) -> list[bytes]:
        found: list[Any] = [write_annotation(citation, part.at, part.length) for citation in part.citations]
        return self._listed("annotations", [annotation for annotation in found if annotation is not None])

    def _listed(self, name: str, entries: list[Any]) -> list[bytes]:
        """A chunk with entries of a list that several chunks add to. Each entry has an `index`, because the SDKs
        merge them by it, as they do with tool calls, and fail on a second chunk without it."""
        if not entries:
            return []
        first = self._listed_before.get(name, 0)
        self._listed_before[name] = first + len(entries)
        numbered = [
            {**entry, "index": at} if isinstance(entry, dict) else entry for at, entry in enumerate(entries, first)
        ]
        return [self._chunk(b'"%b":%b' % (name.encode(), _encode(numbered)))]
