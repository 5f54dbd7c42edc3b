"""Reads an upstream's stream as events.

Source: API reference, "Streaming events". The grammar says everything up to four times: in deltas, in `….done`, in
the item's `done`, and in the whole reply at the end. Servers that are only partly compatible leave some of it
out. So each event is read for all that no earlier event said, and nothing is said twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar, cast

import msgspec
from msgspec import Raw
from msgspec.structs import replace

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
    Refusal,
    SealDelta,
    Start,
    Text,
    TextDelta,
    Thinking,
    ToolCall,
    Unknown,
)
from plano.dialects import reading
from plano.dialects.fields import ABSENT, OBJECT, STRING, raw_of
from plano.dialects.responses.envelope import finish_of, read_usage
from plano.dialects.responses.errors import failure
from plano.dialects.responses.items import (
    OF_MESSAGE,
    PARAGRAPH,
    read_annotation,
    read_output,
    read_part,
)
from plano.dialects.responses.logprobs import entries_of, to_chat
from plano.dialects.responses.reply import WireReply, own_extras
from plano.dialects.responses.stream_state import TYPE, WIRE, ItemState, Open, Wire
from plano.errors import UpstreamProtocolError
from plano.frames.sse import Frame

P = TypeVar("P", bound=Part)

_REPLY = msgspec.json.Decoder(WireReply)

_DONE = b"[DONE]"
_PINGS = frozenset({"ping", "keepalive"})
_MESSAGE_OWN = frozenset({"id", "type", "status", "role", "content"})


class StreamReader:
    """Reads a stream of this dialect; see `plano.dialects.codec.StreamReader`."""

    def __init__(self) -> None:
        self._items: dict[int, ItemState] = {}
        self._texts: dict[tuple[int, int], Open] = {}
        self._parts = 0
        self._called = False
        self._started = False
        self._over = False

    def feed(self, frame: Frame) -> list[Event]:
        """The events in one frame.

        Raises:
            UpstreamProtocolError: the frame is not of this dialect.
        """
        if self._over or frame.data == _DONE:
            return []
        wire = reading.upstream(WIRE, frame.data)
        if wire.type == "response.output_text.delta":
            found = self._texts.get((wire.output_index, wire.content_index))
            if found is not None and isinstance(wire.delta, str):
                found.said += len(wire.delta)
                return [TextDelta(found.index, wire.delta, _chat_logprobs(wire.logprobs))]
        return reading.upstreams(self._dispatch, wire, frame)

    def finish(self) -> list[Event]:
        """A `Failed` if the stream did not say how it ended, because then it broke."""
        if self._over:
            return []
        self._over = True
        return [Failed(UpstreamProtocolError(reading.CUT_OFF))]

    def _dispatch(self, wire: Wire, frame: Frame) -> list[Event]:
        """Read one event by the handler of its type."""
        type_ = wire.type or frame.event
        if type_ is None or type_ == "error":
            if type_ is None and not wire.error:
                raise UpstreamProtocolError("The upstream sent an event without a type.")
            return self._error(wire)
        if type_ in _PINGS:
            return [Ping()]
        handler = _HANDLERS.get(type_)
        if handler is None:
            return [Unknown("responses", type_, frame.data)]
        events = handler(self, wire)
        if events and not self._started:
            self._started = True
            if not isinstance(events[0], Start | Failed):
                events.insert(0, Start())
        return events

    # --- the reply as a whole ---

    def _begin(self, wire: Wire) -> list[Event]:
        """The start of the reply; `created`, `in_progress` and `queued` all say the same."""
        if self._started:
            return []
        reply = reading.upstream(_REPLY, bytes(wire.response))
        return [
            Start(id=reply.id or "", model=reply.model or "", created=reply.created, extras=own_extras(wire.response))
        ]

    def _end(self, wire: Wire) -> list[Event]:
        """Read `completed` or `incomplete`, which repeat the whole reply. Some servers end every reply as `completed`,
        and say only in its `status` that it is not."""
        reply = reading.upstream(_REPLY, bytes(wire.response))
        if reply.status == "failed":
            return self._fail(wire)
        events: list[Event] = []
        for index, raw in enumerate(reply.output or ()):
            if not self._item(index).done:
                events += self._finish_item(index, raw)
        events += self._stop_all()
        self._over = True
        status = "incomplete" if wire.type == "response.incomplete" else reply.status
        finish = finish_of(status, reply.incomplete_details, self._called)
        extras = own_extras(wire.response)
        events.append(Finished(finish=finish, usage=read_usage(reply.usage), extras=extras))
        if not self._started:
            start = Start(id=reply.id or "", model=reply.model or "", created=reply.created, extras=extras)
            events.insert(0, start)
        return events

    def _stop_all(self) -> list[Event]:
        opened = [*self._texts.values(), *(item.open for item in self._items.values() if item.open is not None)]
        return [event for found in opened for event in self._stop(found, None)]

    def _fail(self, wire: Wire) -> list[Event]:
        self._over = True
        return [Failed(failure(reading.upstream(_REPLY, bytes(wire.response)).error))]

    def _error(self, wire: Wire) -> list[Event]:
        self._over = True
        found = wire.error or {"code": wire.code, "message": wire.message, "param": wire.param}
        return [Failed(failure(found))]

    # --- items ---

    def _item(self, index: int, id_: str | None = None) -> ItemState:
        """The state of the item at `index`; its first id counts."""
        found = self._items.get(index)
        if found is None:
            found = self._items[index] = ItemState()
        if found.id is None:
            found.id = id_
        return found

    def _item_added(self, wire: Wire) -> list[Event]:
        """Read `output_item.added`. A call can start, because its name is known. A message waits for its parts,
        reasoning for its form, and all other items for their `done`."""
        fields = reading.upstream(OBJECT, bytes(wire.item))
        type_ = reading.upstream(TYPE, bytes(wire.item)).type
        item = self._item(wire.output_index)
        item.id = _string(fields.get("id"))
        if type_ == "message":
            own = {OF_MESSAGE + name: raw for name, raw in fields.items() if name not in _MESSAGE_OWN}
            item.extras = {"responses": own} if own else {}
            return []
        if type_ not in ("function_call", "custom_tool_call") or "name" not in fields:
            return []
        empty = Raw(b'""')  # some servers send the whole arguments here, and then send them as deltas as well
        whole = raw_of(fields | {"arguments" if type_ == "function_call" else "input": empty})
        (part,) = read_output(whole, "item").parts
        item.open = self._open(part)
        self._called = True
        return [PartStart(item.open.index, part)]

    def _item_done(self, wire: Wire) -> list[Event]:
        return self._finish_item(wire.output_index, wire.item)

    def _finish_item(self, index: int, raw: Raw) -> list[Event]:
        """The events that are still due for an item, of which `raw` is the whole."""
        item = self._item(index)
        if item.done:
            return []
        item.done = True
        found = read_output(raw, f"output[{index}]")
        if found.kind == "message":
            return [event for at, part in enumerate(found.parts) for event in self._finish_text(index, at, part)]
        self._called = self._called or found.kind == "call"
        return [event for part in found.parts for event in self._finish_part(item, part)]

    def _finish_part(self, item: ItemState, part: Part) -> list[Event]:
        """The events that are still due for an item that is one part."""
        events: list[Event] = []
        if item.open is None:
            item.open = self._open(part)
            events.append(PartStart(item.open.index, _emptied(part)))
        if isinstance(part, ToolCall):
            events += self._catch_up(item.open, part.arguments)
        elif isinstance(part, Thinking):
            if item.open.said == 0 and item.open.section == 0:
                events += self._catch_up(item.open, part.text)
            if part.seal is not None:
                events.append(SealDelta(item.open.index, part.seal))
        return events + self._stop(item.open, None if isinstance(part, Opaque) else part)

    def _open(self, part: Part) -> Open:
        """Give a part the next index."""
        found = Open(self._parts, part)
        self._parts += 1
        return found

    def _stop(self, found: Open, part: Part | None) -> list[Event]:
        """Stop a part, unless it is stopped already."""
        if found.stopped:
            return []
        found.stopped = True
        return [PartStop(found.index, part)]

    def _catch_up(self, found: Open, whole: Any) -> list[Event]:
        """A delta with the rest of `whole`, which the deltas so far did not have."""
        if not isinstance(whole, str) or len(whole) <= found.said or found.stopped:
            return []
        rest = whole[found.said :]
        found.said = len(whole)
        return [TextDelta(found.index, rest)]

    # --- texts and refusals ---

    def _part_added(self, wire: Wire) -> list[Event]:
        type_ = reading.upstream(TYPE, bytes(wire.part)).type
        if type_ not in ("output_text", "refusal"):
            return []
        return self._text(wire, type_ == "refusal")[1]

    def _text(self, wire: Wire, refusal: bool) -> tuple[Open, list[Event]]:
        """The part that the event is about, and its start if no earlier event started it."""
        item = self._item(wire.output_index, wire.item_id)
        part = Refusal(text="", item_id=item.id) if refusal else Text(text="", item_id=item.id)
        return self._started_text(wire.output_index, wire.content_index, part)

    def _started_text(self, output_index: int, content_index: int, part: Text | Refusal) -> tuple[Open, list[Event]]:
        """The text at this place, and its start if it had not started."""
        found = self._texts.get((output_index, content_index))
        if found is not None:
            return found, []
        item = self._item(output_index)
        if item.extras:
            part = replace(part, extras=item.extras)
            item.extras = {}  # they go with the item's first part
        found = self._texts[output_index, content_index] = self._open(part)
        return found, [PartStart(found.index, part)]

    def _text_delta(self, wire: Wire) -> list[Event]:
        if not isinstance(wire.delta, str):
            return []
        found, events = self._text(wire, wire.type == "response.refusal.delta")
        found.said += len(wire.delta)
        events.append(TextDelta(found.index, wire.delta, _chat_logprobs(wire.logprobs)))
        return events

    def _text_done(self, wire: Wire) -> list[Event]:
        refusal = wire.type == "response.refusal.done"
        found, events = self._text(wire, refusal)
        return events + self._catch_up(found, wire.refusal if refusal else wire.text)

    def _annotation(self, wire: Wire) -> list[Event]:
        found, events = self._text(wire, False)
        found.citations += 1
        return [*events, CitationDelta(found.index, read_annotation(wire.annotation))]

    def _part_done(self, wire: Wire) -> list[Event]:
        """Read `content_part.done`, which repeats the whole part."""
        part = read_part(wire.part, "part", self._item(wire.output_index, wire.item_id).id)
        if not isinstance(part, Text | Refusal):
            return []
        return self._finish_text(wire.output_index, wire.content_index, part)

    def _finish_text(self, output_index: int, content_index: int, part: Part) -> list[Event]:
        """The events that are still due for one part of a message."""
        if isinstance(part, Opaque):
            index = self._open(part).index
            return [PartStart(index, part), PartStop(index)]
        assert isinstance(part, Text | Refusal), "a message of the assistant has texts, refusals and unknown parts"
        found, events = self._started_text(output_index, content_index, _emptied(part))
        if found.stopped:
            return events
        events += self._catch_up(found, part.text)
        if isinstance(part, Text):
            events += [CitationDelta(found.index, citation) for citation in part.citations[found.citations :]]
        started = cast(Text | Refusal, found.part)
        own = {**part.extras.get("responses", {}), **started.extras.get("responses", {})}
        whole = replace(part, item_id=started.item_id, extras={"responses": own} if own else {})
        return events + self._stop(found, whole)

    # --- calls ---

    def _call_delta(self, wire: Wire) -> list[Event]:
        """More arguments of a call. Without an `added` its name is unknown; then the item's `done` says all of it."""
        found = self._item(wire.output_index).open
        if found is None or not isinstance(wire.delta, str):
            return []
        found.said += len(wire.delta)
        return [TextDelta(found.index, wire.delta)]

    def _call_done(self, wire: Wire) -> list[Event]:
        found = self._item(wire.output_index).open
        return [] if found is None else self._catch_up(found, wire.arguments or wire.input)

    # --- reasoning ---

    def _summary_delta(self, wire: Wire) -> list[Event]:
        return self._reasoning(wire, wire.summary_index, True, wire.delta, whole=False)

    def _summary_done(self, wire: Wire) -> list[Event]:
        return self._reasoning(wire, wire.summary_index, True, wire.text, whole=True)

    def _content_delta(self, wire: Wire) -> list[Event]:
        return self._reasoning(wire, wire.content_index, False, wire.delta, whole=False)

    def _content_done(self, wire: Wire) -> list[Event]:
        return self._reasoning(wire, wire.content_index, False, wire.text, whole=True)

    def _reasoning(self, wire: Wire, section: int, summary: bool, text: Any, *, whole: bool) -> list[Event]:
        """Events of reasoning. Its sections become paragraphs. If both the reasoning and its summary come, only the
        first of them counts."""
        if not isinstance(text, str):
            return []
        item = self._item(wire.output_index, wire.item_id)
        events: list[Event] = []
        if item.open is None:
            part = Thinking(text="", summary=summary, origin="responses", item_id=item.id)
            item.open = self._open(part)
            events.append(PartStart(item.open.index, part))
        found = item.open
        if not isinstance(found.part, Thinking) or found.part.summary != summary or section < found.section:
            return events
        if section > found.section:
            found.section, found.said = section, 0
            events.append(TextDelta(found.index, PARAGRAPH))
        if whole:
            return events + self._catch_up(found, text)
        found.said += len(text)
        events.append(TextDelta(found.index, text))
        return events


_Handler: TypeAlias = Callable[[StreamReader, Wire], list[Event]]

_HANDLERS: dict[str, _Handler] = {
    "response.created": StreamReader._begin,
    "response.in_progress": StreamReader._begin,
    "response.queued": StreamReader._begin,
    "response.completed": StreamReader._end,
    "response.incomplete": StreamReader._end,
    "response.failed": StreamReader._fail,
    "response.output_item.added": StreamReader._item_added,
    "response.output_item.done": StreamReader._item_done,
    "response.content_part.added": StreamReader._part_added,
    "response.content_part.done": StreamReader._part_done,
    "response.output_text.delta": StreamReader._text_delta,
    "response.output_text.done": StreamReader._text_done,
    "response.output_text.annotation.added": StreamReader._annotation,
    "response.refusal.delta": StreamReader._text_delta,
    "response.refusal.done": StreamReader._text_done,
    "response.function_call_arguments.delta": StreamReader._call_delta,
    "response.function_call_arguments.done": StreamReader._call_done,
    "response.custom_tool_call_input.delta": StreamReader._call_delta,
    "response.custom_tool_call_input.done": StreamReader._call_done,
    "response.reasoning_summary_part.added": lambda reader, wire: [],
    "response.reasoning_summary_part.done": lambda reader, wire: [],
    "response.reasoning_summary_text.delta": StreamReader._summary_delta,
    "response.reasoning_summary_text.done": StreamReader._summary_done,
    "response.reasoning_text.delta": StreamReader._content_delta,
    "response.reasoning_text.done": StreamReader._content_done,
    "response.reasoning.delta": StreamReader._content_delta,  # Open Responses calls them so
    "response.reasoning.done": StreamReader._content_done,
}


def _chat_logprobs(logprobs: Raw) -> Raw | None:
    """A delta's log probabilities in chat's form, or None."""
    if logprobs is ABSENT or memoryview(logprobs).nbytes <= 4:  # absent, `[]` or `null`
        return None
    return to_chat(entries_of(logprobs))


def _string(raw: Raw | None) -> str | None:
    return None if raw is None else reading.maybe(STRING, raw)


def _emptied(part: P) -> P:
    """The part as it starts, without the contents that its deltas will have."""
    if isinstance(part, Text):
        return replace(part, text="", citations=())
    if isinstance(part, Refusal):
        return replace(part, text="")
    if isinstance(part, ToolCall):
        return replace(part, arguments="")
    if isinstance(part, Thinking):
        return replace(part, text="", seal=None)
    return part
