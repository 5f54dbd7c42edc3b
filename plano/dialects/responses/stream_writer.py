"""Writes events as a client's stream.

Source: API reference, "Streaming events". An item is added; its parts are added, filled and done; and then
the item is done and repeated whole. `response.completed` repeats all items. Items that overlap are written as they
come, because each event says which item it belongs to.
"""

from __future__ import annotations

from typing import Any

from msgspec import Raw

from plano.conversation import (
    CitationDelta,
    Conversation,
    Event,
    Failed,
    Finish,
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
)
from plano.dialects import web_search
from plano.dialects.custom_tools import Unwrapper
from plano.dialects.openai import error_object
from plano.dialects.reply_ids import reply_id
from plano.dialects.responses import ids, write_items
from plano.dialects.responses.calls import Calls
from plano.dialects.responses.envelope import ResponseStatus, echoes, incomplete_reason, response
from plano.dialects.responses.errors import error_of_reply, stream_error
from plano.dialects.responses.frames import Frames
from plano.dialects.responses.parts import CallPart, MessageItem, OpenPart, ReasoningPart, SaidPart, SearchPart
from plano.dialects.responses.write_items import content_type
from plano.dialects.signatures import pack

_PING = b": ping\n\n"
"""A comment, because this dialect has no event for a sign of life."""


class StreamWriter:
    """Writes a stream of this dialect; see `plano.dialects.codec.StreamWriter`."""

    def __init__(self, asked: Conversation) -> None:
        self._asked = asked
        self._calls = Calls(asked)
        self._frames = Frames()
        self._start: Start | None = None
        self._id = ""
        self._echo: dict[str, Any] = {}
        self._output: list[Any] = []
        self._open: dict[int, OpenPart] = {}
        self._message: MessageItem | None = None
        self._over = False

    def feed(self, event: Event) -> list[bytes]:
        """Whole frames. `Failed` ends the stream with `response.failed`."""
        if type(event) is TextDelta:
            part = self._open.get(event.index)
            return [] if part is None else part.delta(event.text, event.logprobs)
        if self._over:
            return []
        return self._other(event)

    def finish(self) -> list[bytes]:
        """No frames, because `response.completed` was the last event."""
        return []

    def _other(self, event: Event) -> list[bytes]:
        """The frames of any event but a TextDelta."""
        if isinstance(event, PartStart):
            return self._part(event.index, event.part)
        if isinstance(event, PartStop):
            return self._stop(event.index, event.part)
        if isinstance(event, SealDelta):
            return self._seal(event)
        if isinstance(event, CitationDelta):
            found = self._open.get(event.index)
            return found.cite(event.citation) if isinstance(found, SaidPart) else []
        if isinstance(event, Start):
            return self._begin(event)
        if isinstance(event, Finished):
            return self._finished(event)
        if isinstance(event, Failed):
            return self._failed(event)
        return [_PING] if isinstance(event, Ping) else []

    # --- the reply as a whole ---

    def _begin(self, start: Start) -> list[bytes]:
        self._start = start
        self._id = reply_id(start.id, ids.REPLY)
        self._echo = echoes(self._asked)
        found = self._response("in_progress")
        return [self._frames.frame(f"response.{name}", response=found) for name in ("created", "in_progress")]

    def _finished(self, event: Finished) -> list[bytes]:
        """Close everything, then repeat the whole reply."""
        self._over = True
        incomplete = incomplete_reason(event.finish) is not None
        frames = [frame for index in list(self._open) for frame in self._stop(index, None)]
        if self._message is not None:
            frames.append(self._message.done("incomplete" if incomplete else "completed"))
        status: ResponseStatus = "incomplete" if incomplete else "completed"
        found = self._response(status, event)
        return [*frames, self._frames.frame(f"response.{status}", response=found)]

    def _failed(self, event: Failed) -> list[bytes]:
        """`response.failed` with the output so far; or an `error` event, if the response had not begun. Both have an
        `error` object on top, because OpenAI's SDKs raise only for that."""
        self._over = True
        if self._start is None:
            return [stream_error(event.error, self._frames.number)]
        for part in self._open.values():
            part.snapshot()
            if isinstance(part, SaidPart):
                part.message.fill("incomplete")
        self._open.clear()
        if self._message is not None:
            self._message.fill("incomplete")
        failed = self._response("failed") | {"error": error_of_reply(event.error)}
        return [self._frames.frame("response.failed", response=failed, error=error_object(event.error))]

    def _response(self, status: ResponseStatus, end: Finished | None = None) -> dict[str, Any]:
        """The Response object as it is now; `end` is the end of the reply, or None."""
        assert self._start is not None, "a stream begins with Start"
        finish: Finish | None = None if end is None else end.finish
        own = {**self._start.extras.get("responses", {}), **(end.extras.get("responses", {}) if end else {})}
        chat = {**self._start.extras.get("chat", {}), **(end.extras.get("chat", {}) if end else {})}
        return response(
            id_=self._id,
            created=self._start.created or 0,
            model=self._start.model,
            status=status,
            output=[] if status == "in_progress" else self._output,
            echo=self._echo,
            finish=finish,
            usage=None if end is None else end.usage,
            extras={"responses": own, "chat": chat},
        )

    # --- parts ---

    def _part(self, index: int, part: Part) -> list[bytes]:
        """Start a part, and the item that it is in."""
        if isinstance(part, Text | Refusal):
            frames, message = self._message_for(part)
            said = SaidPart(self._frames, message, part)
            self._open[index] = said
            return [*frames, said.start()]
        if isinstance(part, Thinking):
            return self._reasoning(index, part)
        if isinstance(part, ToolCall):
            return self._call(index, part)
        if isinstance(part, RedactedThinking):
            frames = self._leave_message()
            id_ = self._item_id(ids.REASONING)
            return frames + self._whole(write_items.reasoning(Thinking(text=""), id_=id_, seal=pack(part, "responses")))
        if isinstance(part, Opaque) and part.dialect == "responses":
            return self._opaque(part)
        searched = web_search.as_call(part) if isinstance(part, Opaque) else None
        if searched is not None:
            return self._leave_message() + self._whole({"id": self._item_id(ids.WEB_SEARCH), **searched})
        return []

    def _reasoning(self, index: int, part: Thinking) -> list[bytes]:
        frames = self._leave_message()
        id_ = part.item_id or self._item_id(ids.REASONING)
        found = ReasoningPart(self._frames, self._output, id_, part)
        self._open[index] = found
        return [*frames, found.start()]

    def _call(self, index: int, part: ToolCall) -> list[bytes]:
        frames = self._leave_message()
        unwrapper = Unwrapper() if self._calls.is_wrapped(part) else None
        called = self._calls.named(part)
        id_ = called.item_id or self._item_id(ids.OF_CALLS[called.kind])
        kind = SearchPart if called.kind == "search" else CallPart
        found = kind(self._frames, self._output, id_, called, unwrapper)
        self._open[index] = found
        return [*frames, found.start()]

    def _opaque(self, part: Opaque) -> list[bytes]:
        if content_type(part.type):
            frames, message = self._message_for(None)
            return frames + message.opaque(part.raw)
        return self._leave_message() + self._whole(part.raw)

    def _whole(self, item: dict[str, Any] | Raw) -> list[bytes]:
        """Write an item that comes whole."""
        index = len(self._output)
        self._output.append(item)
        return [
            self._frames.frame(f"response.output_item.{what}", output_index=index, item=item)
            for what in ("added", "done")
        ]

    def _seal(self, event: SealDelta) -> list[bytes]:
        found = self._open.get(event.index)
        if isinstance(found, ReasoningPart):
            found.seal(event.seal)
        return []

    def _stop(self, index: int, whole: Part | None) -> list[bytes]:
        """Stop a part, and the message item if it only waited for this part."""
        found = self._open.pop(index, None)
        if found is None:
            return []
        frames = found.stop(whole)
        if isinstance(found, SaidPart):
            message = found.message
            message.open -= 1
            if message.leaving and message.open == 0:
                frames.append(message.done("completed"))
        return frames

    # --- the message item ---

    def _message_for(self, part: Text | Refusal | None) -> tuple[list[bytes], MessageItem]:
        """The message item that `part` belongs to, and its first frames if it is new. The open item is used, unless the
        part has the id of another."""
        item_id = None if part is None else part.item_id
        if self._message is not None and item_id in (None, self._message.id):
            return [], self._message
        frames = self._leave_message()
        fields = {} if part is None else write_items.message_fields(part.extras)
        message = MessageItem(self._frames, self._output, item_id or self._item_id(ids.MESSAGE), fields)
        self._message = message
        return [*frames, message.start()], message

    def _leave_message(self) -> list[bytes]:
        """Leave the open message item; it is done as soon as its parts are."""
        message, self._message = self._message, None
        if message is None:
            return []
        if message.open:
            message.leaving = True
            return []
        return [message.done("completed")]

    def _item_id(self, prefix: str) -> str:
        return ids.item_id(prefix, self._id, len(self._output))
