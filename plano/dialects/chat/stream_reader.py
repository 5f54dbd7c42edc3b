"""Reads a stream of chunks as events. Source: API reference, Chat, "The chat completion chunk object".

A chunk does not say where a part begins or ends. A part ends when a part of another kind begins. Tool calls may grow in
turns, so a call ends when its arguments are whole and another part begins, or with the reply.

A finish reason does not end the reply: some servers write one in chunks before the last, and what comes after it still
belongs to the reply. The last one counts, and only if nothing is said after it. Empty values say nothing.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec
from msgspec import Raw, Struct

from plano.conversation import (
    NO_EXTRAS,
    Audio,
    AudioDelta,
    CitationDelta,
    Event,
    Extras,
    Failed,
    Finished,
    Opaque,
    Part,
    PartStart,
    PartStop,
    Refusal,
    SealDelta,
    Start,
    Text,
    TextDelta,
    Thinking,
)
from plano.dialects import reading
from plano.dialects.chat.calls import CallDelta, Calls
from plano.dialects.chat.errors import in_band_error
from plano.dialects.chat.read_content import read_annotation
from plano.dialects.chat.reply import ContentPart, Function, audio_extras, broken, read_extras, seconds
from plano.dialects.chat.thinking import Entries, read_detail
from plano.dialects.chat.usage import read_usage
from plano.dialects.fields import ABSENT, NULL, present, says
from plano.dialects.finish import is_unknown, kept, read_finish, silent
from plano.errors import PlanoError, UpstreamProtocolError
from plano.frames.sse import Frame


class _AudioDelta(Struct):
    id: str | None = None
    data: str | None = None
    transcript: str | None = None
    expires_at: Raw = ABSENT


class _Delta(Struct, gc=False):
    content: str | list[ContentPart] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[CallDelta] | None = None
    refusal: str | None = None
    reasoning_details: list[Raw] | None = None
    annotations: list[Raw] | None = None
    audio: _AudioDelta | None = None
    images: Raw = ABSENT
    function_call: Function | None = None


class _Choice(Struct, gc=False):
    index: int | None = None
    delta: _Delta | None = None
    message: _Delta | None = None
    finish_reason: str | None = None
    logprobs: Raw = ABSENT
    error: Raw = ABSENT


class _Chunk(Struct, gc=False):
    id: str | None = None
    object: str | None = None
    model: str | None = None
    created: int | float | None = None
    choices: list[_Choice] | None = None
    usage: Raw = ABSENT
    error: Raw = ABSENT


class _RawDelta(Struct):
    tool_calls: list[Raw] | None = None


class _RawChoice(Struct):
    index: int | None = None
    delta: _RawDelta | None = None
    message: _RawDelta | None = None


class _RawChunk(Struct):
    choices: list[_RawChoice] | None = None


_CHUNK = msgspec.json.Decoder(_Chunk)
_RAW_CHUNK = msgspec.json.Decoder(_RawChunk)
_THINKING = Thinking(text="", origin="chat")

_Kind: TypeAlias = Literal["text", "thinking", "refusal", "audio"]


class ChatStreamReader:
    """Reads a stream of this dialect; see `plano.dialects.codec.StreamReader`. Only the first choice is read."""

    def __init__(self) -> None:
        self._id = ""
        self._early: dict[str, Raw] = {}  # the extras of chunks before the first one with a choice
        self._started = False
        self._over = False
        self._next = 0  # the next part's index
        self._open: int | None = None  # the index of the part that grows, unless it is a call
        self._kind: _Kind | None = None
        self._entries = Entries()  # the details of the open Thinking part
        self._spoken = False  # whether a plain field has the reasoning, so that the details only repeat it
        self._calls = Calls()
        self._finish: str | None = None
        self._ended = False  # a finish reason came, and nothing was said after it
        self._whole_messages = False  # `message` stands in place of `delta`
        self._usage = ABSENT

    def feed(self, frame: Frame) -> list[Event]:
        if self._over:
            return []
        data = frame.data
        if data == b"[DONE]":
            return reading.upstreams(self._done)
        chunk = reading.upstream(_CHUNK, data)
        if chunk.usage is not ABSENT and chunk.usage != NULL and says(chunk.usage):
            self._usage = chunk.usage
        if says(chunk.error):
            return self._fail(in_band_error(chunk.error))
        if chunk.object == "error" or frame.event == "error":
            return self._fail(in_band_error(Raw(data)))
        events = [] if self._started else self._start(chunk, data)
        try:
            for choice in chunk.choices or ():
                if not choice.index:
                    delta = choice.delta if choice.message is None else self._either(choice)
                    if delta is not None:
                        before = len(events)
                        self._read(delta, choice.logprobs, data, events)
                        self._ended = self._ended and len(events) == before
                    if choice.finish_reason or says(choice.error):
                        self._finished(choice, events)
        except reading.UNFIT as error:
            raise reading.misread(error) from None
        return events

    def finish(self) -> list[Event]:
        if self._over:
            return []
        return reading.upstreams(self._done) if self._ended else self._fail(UpstreamProtocolError(reading.CUT_OFF))

    def _either(self, choice: _Choice) -> _Delta | None:
        """The delta of a choice with a `message`, which some servers write in place of `delta`, for a part of the reply
        or for all of it. A message beside a delta, or after one, only repeats what was said."""
        if choice.delta is not None or (not self._whole_messages and self._said_something()):
            return choice.delta
        self._whole_messages = True
        return choice.message

    def _said_something(self) -> bool:
        return self._next > 0 or len(self._calls) > 0

    # --- the ends ---

    def _start(self, chunk: _Chunk, data: bytes) -> list[Event]:
        """The Start, once a chunk has choices. Azure's first chunk has neither choices nor an id, but the filter
        results of the prompt."""
        self._early.update(read_extras(data).get("chat", {}))
        if not chunk.choices:
            return []
        self._started = True
        self._id = chunk.id or ""
        extras: Extras = {"chat": self._early} if self._early else {}
        return [Start(id=self._id, model=chunk.model or "", created=seconds(chunk.created), extras=extras)]

    def _finished(self, choice: _Choice, events: list[Event]) -> None:
        """Note the end of a choice, or add the error in which it ended."""
        error = broken(choice.finish_reason, choice.error)
        if error is not None:
            events += self._fail(error)
        elif choice.finish_reason:
            self._finish, self._ended = choice.finish_reason, True

    def _done(self) -> list[Event]:
        """The last events. Usage may come in a chunk after the finish reason, so `Finished` waits until here."""
        if not self._started:
            return self._fail(UpstreamProtocolError(reading.CUT_OFF))
        if is_unknown(self._finish) and not self._said_something():
            return self._fail(silent(self._finish))
        self._over = True
        events: list[Event] = []
        self._close_all(events)
        finish = read_finish(self._finish, called=len(self._calls) > 0)
        unknown = kept(self._finish, "finish_reason")
        extras: Extras = {"chat": unknown} if unknown else NO_EXTRAS
        events.append(Finished(finish=finish, usage=read_usage(self._usage), extras=extras))
        return events

    def _fail(self, error: PlanoError) -> list[Event]:
        self._over = True
        return [Failed(error)]

    # --- the parts ---

    def _read(self, delta: _Delta, logprobs: Raw, data: bytes, events: list[Event]) -> None:
        """Add the events of one delta to `events`."""
        content = delta.content
        if delta.reasoning_content or delta.reasoning or delta.reasoning_details:
            self._think(delta, events)
        if content or (content == "" and present(logprobs)):
            self._say(content, logprobs, events)
        if delta.tool_calls:
            self._call(delta.tool_calls, data, events)
        if delta.refusal:
            self._grow("refusal", Refusal(text=""), delta.refusal, events, logprobs)
        if delta.audio is not None:
            self._sound(delta.audio, events)
        if delta.annotations:
            at = self._enter("text", Text(text=""), events)
            events += (CitationDelta(at, read_annotation(raw)) for raw in delta.annotations)
        if delta.function_call is not None and (delta.function_call.name or delta.function_call.arguments):
            self._close(events)
            self._next_call(CallDelta(index=0, function=delta.function_call), None, events)
        if says(delta.images):
            self._whole(Opaque(dialect="chat", type="images", raw=delta.images), events)

    def _say(self, content: str | list[ContentPart], logprobs: Raw, events: list[Event]) -> None:
        """Add the events of a delta's `content`, a string or parts."""
        if isinstance(content, str):
            if self._kind == "text" and self._open is not None:
                events.append(TextDelta(self._open, content, logprobs if present(logprobs) else None))
            else:
                self._grow("text", Text(text=""), content, events, logprobs)
            return
        for part in content:
            if part.type == "thinking":
                for inner in part.thinking or ():
                    self._grow("thinking", _THINKING, inner.text or "", events)
            elif part.text:
                self._grow("text", Text(text=""), part.text, events, logprobs)

    def _enter(self, kind: _Kind, part: Part, events: list[Event]) -> int:
        """Make sure that the open part is of this kind, by starting `part` if it is not; gives its index."""
        if self._kind != kind or self._open is None:
            self._close(events)
            events += self._calls.close(complete_only=True)
            self._kind = kind
            self._open = self._begin(part, events)
        return self._open

    def _grow(self, kind: _Kind, part: Part, text: str, events: list[Event], logprobs: Raw = ABSENT) -> None:
        """Add `text` to the open part of this kind, which starts as `part` if there is none."""
        at = self._enter(kind, part, events)
        events.append(TextDelta(at, text, logprobs if present(logprobs) else None))

    def _begin(self, part: Part, events: list[Event]) -> int:
        """Start a part; gives its index."""
        at = self._next
        self._next += 1
        events.append(PartStart(at, part))
        return at

    def _whole(self, part: Part, events: list[Event]) -> None:
        """Add a part that comes whole."""
        self._close(events)
        events.append(PartStop(self._begin(part, events)))

    def _close(self, events: list[Event]) -> None:
        """Stop the open part, unless it is a call."""
        if self._open is None:
            return
        if self._kind == "thinking" and (seal := self._entries.take()) is not None:
            events.append(SealDelta(self._open, seal))
        events.append(PartStop(self._open))
        self._open = self._kind = None

    def _close_all(self, events: list[Event]) -> None:
        """Stop all parts, calls too."""
        self._close(events)
        closing = self._calls.close(next_part=self._next)
        self._next += sum(isinstance(event, PartStart) for event in closing)
        events += closing

    # --- reasoning ---

    def _think(self, delta: _Delta, events: list[Event]) -> None:
        """Add the events of reasoning.

        Its text is in a plain field, in the details, or in both: either each piece in both (OpenRouter), or the whole
        text once more beside the seal at the end (plano's own writer).
        """
        details = [(raw, read_detail(raw)) for raw in delta.reasoning_details or ()]
        text = delta.reasoning_content or delta.reasoning
        self._spoken = self._spoken or bool(text)
        if not self._spoken:
            text = "".join(detail.words for _, detail in details)
        if text:
            self._grow("thinking", _THINKING, text, events)
        elif not all(detail.plain for _, detail in details):
            self._enter("thinking", _THINKING, events)
        for raw, detail in details:
            self._entries.add(raw, detail)

    # --- audio and calls ---

    def _sound(self, audio: _AudioDelta, events: list[Event]) -> None:
        if not (audio.id or audio.data or audio.transcript):
            return  # the last delta of an audio only says when it expires
        at = self._enter("audio", Audio(id=audio.id, extras=audio_extras(audio.expires_at)), events)
        if audio.transcript:
            events.append(TextDelta(at, audio.transcript))
        if audio.data:
            events.append(AudioDelta(at, audio.data))

    def _call(self, deltas: list[CallDelta], data: bytes, events: list[Event]) -> None:
        """Add the events of a delta's `tool_calls`."""
        self._close(events)
        raws: list[Raw] | None = None
        for n, delta in enumerate(deltas):
            if raws is None and delta.begins:
                raws = _raw_calls(data)
            self._next_call(delta, raws[n] if raws and n < len(raws) else None, events)

    def _next_call(self, delta: CallDelta, raw: Raw | None, events: list[Event]) -> None:
        """Add the events of one delta of a call, which may start a part."""
        for event in self._calls.feed(delta, raw, self._id, self._next):
            if type(event) is PartStart:
                self._next += 1
            events.append(event)


def _raw_calls(data: bytes) -> list[Raw]:
    """The deltas of calls in a chunk, unread, for their unknown fields."""
    for choice in reading.upstream(_RAW_CHUNK, data).choices or ():
        found = choice.delta or choice.message
        if not choice.index and found is not None:
            return found.tool_calls or []
    return []
