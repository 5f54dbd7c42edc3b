"""Conversion between a complete reply and the events of a stream, both ways."""

from __future__ import annotations

from copy import copy
from typing import assert_never

import msgspec
from msgspec import Raw

from plano.conversation import (
    Audio,
    AudioDelta,
    Citation,
    CitationDelta,
    Event,
    Extras,
    Failed,
    Finished,
    Part,
    PartStart,
    PartStop,
    Ping,
    Refusal,
    Reply,
    SealDelta,
    Start,
    Text,
    TextDelta,
    Thinking,
    ToolCall,
    Unknown,
    Usage,
)
from plano.dialects import reading
from plano.errors import UpstreamProtocolError
from plano.types import UPSTREAM_DIALECTS


def events_of(reply: Reply) -> list[Event]:
    """The events of a stream that builds this reply, each part in one delta."""
    events: list[Event] = [
        Start(id=reply.id, model=reply.model, created=reply.created, usage=reply.usage, extras=reply.extras)
    ]
    logprobs = reply.logprobs
    for index, part in enumerate(reply.parts):
        steps = _steps(index, part)
        if logprobs is not None and isinstance(
            part, Text | Refusal
        ):  # they belong to the whole reply, so they go with its first text
            steps[1] = TextDelta(index, part.text, logprobs)
            logprobs = None
        events += [*steps, PartStop(index)]
    events.append(
        Finished(finish=reply.finish, stop_sequence=reply.stop_sequence, usage=reply.usage, extras=reply.extras)
    )
    return events


def completed(reply: Reply | str, *, id: str, model: str, now: int) -> Reply:
    """A hand-made reply with its missing fields filled in; a string becomes its text.

    A missing usage becomes zero, because no model was asked. Tool calls without an id get one, and a reply with tool
    calls that gives no other finish reason gets `tool_calls`.

    Args:
        now: Unix seconds.
    """
    if isinstance(reply, str):
        reply = Reply(parts=(Text(text=reply),))
    replace = msgspec.structs.replace
    parts = tuple(
        replace(part, id=f"call_{id}_{at}") if isinstance(part, ToolCall) and not part.id else part
        for at, part in enumerate(reply.parts)
    )
    calls = any(isinstance(part, ToolCall) for part in parts)
    return replace(
        reply,
        id=reply.id or id,
        model=reply.model or model,
        created=now if reply.created is None else reply.created,
        parts=parts,
        finish="tool_calls" if calls and reply.finish == "stop" else reply.finish,
        usage=Usage() if reply.usage is None else reply.usage,
    )


def _steps(index: int, part: Part) -> list[Event]:
    """The events of one part, without its PartStop."""
    replace = msgspec.structs.replace
    match part:
        case Text():
            return [
                PartStart(index, replace(part, text="", citations=())),
                TextDelta(index, part.text),
                *(CitationDelta(index, citation) for citation in part.citations),
            ]
        case Thinking():
            steps: list[Event] = [PartStart(index, replace(part, text="", seal=None)), TextDelta(index, part.text)]
            return [*steps, SealDelta(index, part.seal)] if part.seal is not None else steps
        case Refusal():
            return [PartStart(index, replace(part, text="")), TextDelta(index, part.text)]
        case ToolCall():
            return [PartStart(index, replace(part, arguments="")), TextDelta(index, part.arguments)]
        case Audio():
            steps = [PartStart(index, replace(part, data=None, transcript=None))]
            if part.transcript is not None:
                steps.append(TextDelta(index, part.transcript))
            if part.data is not None:
                steps.append(AudioDelta(index, part.data))
            return steps
        case _:
            return [PartStart(index, part)]


class _Draft:
    """A part that is still growing."""

    __slots__ = ("citations", "data", "part", "seal", "text")

    def __init__(self, part: Part) -> None:
        self.part = part
        self.text: list[str] = []
        self.seal: list[str] = []
        self.data: list[str] = []
        self.citations: list[Citation] = []

    def whole(self) -> Part:
        """The part with everything that was added to it."""
        replace = msgspec.structs.replace
        text = "".join(self.text)
        match self.part:
            case Text() as part:
                return replace(part, text=part.text + text, citations=(*part.citations, *self.citations))
            case Thinking() as part:
                return replace(part, text=part.text + text, seal="".join(self.seal) if self.seal else part.seal)
            case Refusal() as part:
                return replace(part, text=part.text + text)
            case ToolCall() as part:
                return replace(part, arguments=part.arguments + text)
            case Audio() as part:
                return replace(
                    part, transcript=text or part.transcript, data="".join(self.data) if self.data else part.data
                )
            case part:
                return part


def _merged(first: Extras, then: Extras) -> Extras:
    """The extras of both; if both have a field, the one of `then` counts."""
    return {
        dialect: {**first.get(dialect, {}), **then.get(dialect, {})}
        for dialect in UPSTREAM_DIALECTS
        if dialect in first or dialect in then
    }


_LOGPROBS = msgspec.json.Decoder(dict[str, list[Raw] | None])


def _joined(logprobs: list[Raw]) -> Raw | None:
    """Chat's logprobs of several deltas (`{"content": [...], "refusal": null}`) as those of one text."""
    if len(logprobs) < 2:
        return logprobs[0] if logprobs else None
    joined: dict[str, list[Raw] | None] = {}
    for raw in logprobs:
        for kind, entries in (reading.maybe(_LOGPROBS, raw) or {}).items():
            so_far = joined.setdefault(kind, entries)
            if so_far is None:
                joined[kind] = entries
            elif entries is not None and so_far is not entries:
                so_far += entries
    return Raw(msgspec.json.encode(joined))


class ReplyBuilder:
    """Puts a reply together from the events of its stream."""

    def __init__(self) -> None:
        self._start = Start()
        self._drafts: dict[int, _Draft] = {}
        self._finished: Finished | None = None
        self._logprobs: list[Raw] = []

    def feed(self, event: Event) -> None:
        """Take in one event.

        Raises:
            PlanoError: the error of a `Failed` event.
        """
        match event:
            case TextDelta():
                self._draft(event.index).text.append(event.text)
                if event.logprobs is not None:
                    self._logprobs.append(event.logprobs)
            case PartStart():
                self._drafts[event.index] = _Draft(event.part)
            case SealDelta():
                self._draft(event.index).seal.append(event.seal)
            case CitationDelta():
                self._draft(event.index).citations.append(event.citation)
            case AudioDelta():
                self._draft(event.index).data.append(event.data)
            case PartStop():
                if event.part is not None:
                    self._drafts[event.index] = _Draft(event.part)
            case Start():
                self._start = event
            case Finished():
                self._finished = event
            case Failed():
                raise copy(
                    event.error
                )  # a copy, because the caller holds the event and would hold the raised error's frames
            case Ping() | Unknown():
                pass
            case _:
                assert_never(event)

    def reply(self) -> Reply:
        """The whole reply.

        Raises:
            UpstreamProtocolError: the events stopped before `Finished`.
        """
        if self._finished is None:
            raise UpstreamProtocolError("The upstream's stream ended before the reply was complete.")
        return Reply(
            id=self._start.id,
            model=self._start.model,
            created=self._start.created,
            parts=tuple(self._drafts[index].whole() for index in sorted(self._drafts)),
            finish=self._finished.finish,
            stop_sequence=self._finished.stop_sequence,
            usage=self._finished.usage or self._start.usage,
            logprobs=_joined(self._logprobs),
            extras=_merged(self._start.extras, self._finished.extras),
        )

    def _draft(self, index: int) -> _Draft:
        assert index in self._drafts, f"a delta came for part {index}, which was never started"
        return self._drafts[index]
