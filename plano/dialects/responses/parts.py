"""Writes the parts of a streamed reply: the frames in which each begins, grows and ends.

`delta` takes more of a part's text and returns frames; `stop` ends the part. The text is kept in a list and joined
once, for the `….done` events that repeat it.
"""

from __future__ import annotations

from typing import Any, Protocol

from msgspec import Raw
from msgspec.structs import replace

from plano.conversation import NO_EXTRAS, Citation, Part, Refusal, Text, Thinking, ToolCall
from plano.dialects.custom_tools import Unwrapper
from plano.dialects.responses import write_items
from plano.dialects.responses.calls import with_seal
from plano.dialects.responses.frames import Frames, Template
from plano.dialects.responses.logprobs import from_chat
from plano.dialects.responses.write_items import Status
from plano.dialects.signatures import pack


class OpenPart(Protocol):
    """A part between its PartStart and its PartStop."""

    def delta(self, text: str, logprobs: Raw | None) -> list[bytes]: ...

    def stop(self, whole: Part | None) -> list[bytes]: ...

    def snapshot(self) -> None:
        """Put the part as it is now into the output, because the reply failed."""


class MessageItem:
    """The message item around texts and refusals. It stays open for more of them until another kind of part comes."""

    def __init__(self, frames: Frames, output: list[Any], id_: str, fields: dict[str, Raw]) -> None:
        self.id = id_
        self.index = len(output)
        self.content: list[Any] = []
        self.open = 0  # the number of its parts that are open
        self.leaving = False  # another kind of part came: the item is done when its last part is
        self._frames = frames
        self._output = output
        self._fields = fields
        output.append(self._item("in_progress"))

    def start(self) -> bytes:
        """The event that adds the item."""
        item = self._item("in_progress", [])
        return self._frames.frame("response.output_item.added", output_index=self.index, item=item)

    def done(self, status: Status) -> bytes:
        """The event that ends the item, whole."""
        self.fill(status)
        return self._frames.frame("response.output_item.done", output_index=self.index, item=self._output[self.index])

    def fill(self, status: Status) -> None:
        """Put the item as it is now into the output."""
        self._output[self.index] = self._item(status)

    def opaque(self, raw: Raw) -> list[bytes]:
        """Write a part that only this dialect has; it comes whole."""
        place = {"item_id": self.id, "output_index": self.index, "content_index": len(self.content)}
        self.content.append(raw)
        return [
            self._frames.frame("response.content_part.added", **place, part=raw),
            self._frames.frame("response.content_part.done", **place, part=raw),
        ]

    def _item(self, status: Status, content: list[Any] | None = None) -> dict[str, Any]:
        found = self.content if content is None else content
        return write_items.message(found, id_=self.id, status=status, fields=self._fields)


class SaidPart:
    """A text or a refusal, in its message item."""

    def __init__(self, frames: Frames, message: MessageItem, part: Text | Refusal) -> None:
        self.message = message
        self._frames = frames
        self._part = part
        self._pieces: list[str] = []
        self._logprobs: list[Raw] = []
        self._citations: list[Citation] = []
        self._announced = 0
        self._place: dict[str, Any] = {
            "item_id": message.id,
            "output_index": message.index,
            "content_index": len(message.content),
        }
        self._kind = "refusal" if isinstance(part, Refusal) else "output_text"
        is_text = self._kind == "output_text"
        self._template = Template(f"response.{self._kind}.delta", logprobs=is_text, **self._place)
        message.content.append(self._written())
        message.open += 1

    def start(self) -> bytes:
        return self._frames.frame("response.content_part.added", **self._place, part=self._written())

    def delta(self, text: str, logprobs: Raw | None) -> list[bytes]:
        entries = None if logprobs is None else from_chat(logprobs)
        if entries:
            self._pieces.append(text)
            self._logprobs += entries
            fields = {**self._place, "delta": text, "logprobs": entries}
            return [self._frames.frame("response.output_text.delta", **fields)]
        if not text:
            return []
        self._pieces.append(text)
        return [self._frames.delta(self._template, text)]

    def cite(self, citation: Citation) -> list[bytes]:
        """Write a citation. One without a place refers to the whole text, and has to wait for its end."""
        if write_items.annotation(citation, 0) is None:
            return []
        if citation.url is not None and citation.end is None:
            self._citations.append(citation)
            return []
        self._citations.insert(self._announced, citation)
        return [self._announce(0)]

    def stop(self, whole: Part | None) -> list[bytes]:
        self.snapshot()
        part = self.message.content[self._place["content_index"]]
        field = "refusal" if self._kind == "refusal" else "text"
        done = {**self._place, field: part[field]}
        if field == "text":
            done["logprobs"] = self._logprobs
        length = len(part[field])
        return [
            *(self._announce(length) for _ in self._citations[self._announced :]),
            self._frames.frame(f"response.{self._kind}.done", **done),
            self._frames.frame("response.content_part.done", **self._place, part=part),
        ]

    def snapshot(self) -> None:
        """Put the text and its citations as they are now into the message item."""
        text = "".join(self._pieces)
        part: Text | Refusal
        if isinstance(self._part, Text):
            part = replace(self._part, text=text, citations=tuple(self._citations))
        else:
            part = replace(self._part, text=text)
        self.message.content[self._place["content_index"]] = self._written(part)

    def _announce(self, length: int) -> bytes:
        """The event for the next citation, of a text of this length."""
        index = self._announced
        self._announced += 1
        annotation = write_items.annotation(self._citations[index], length)
        return self._frames.frame(
            "response.output_text.annotation.added", **self._place, annotation_index=index, annotation=annotation
        )

    def _written(self, part: Text | Refusal | None = None) -> dict[str, Any]:
        found = self._part if part is None else part
        if isinstance(found, Refusal):
            return write_items.refusal(found)
        return write_items.output_text(found, self._logprobs or None)


class ReasoningPart:
    """A reasoning item. Its summary (or its raw text, see `write_items.is_raw`) is one part, and its seal is written
    with its end."""

    def __init__(self, frames: Frames, output: list[Any], id_: str, part: Thinking) -> None:
        self._frames = frames
        self._output = output
        self._index = len(output)
        self._id = id_
        self._part = part
        self._pieces: list[str] = []
        self._seals: list[str] = []
        place: dict[str, Any] = {"item_id": id_, "output_index": self._index}
        if write_items.is_raw(part):
            self._place = place | {"content_index": 0}
            self._events, self._type = ("response.content_part", "response.reasoning_text"), "reasoning_text"
        else:
            self._place = place | {"summary_index": 0}
            self._events, self._type = (
                ("response.reasoning_summary_part", "response.reasoning_summary_text"),
                "summary_text",
            )
        self._template = Template(f"{self._events[1]}.delta", **self._place)
        output.append(self._item(part))

    def start(self) -> bytes:
        item = self._output[self._index]
        return self._frames.frame("response.output_item.added", output_index=self._index, item=item)

    def delta(self, text: str, logprobs: Raw | None) -> list[bytes]:
        """More of the text; its first delta also adds the part."""
        if not text:
            return []
        opening = [] if self._pieces else [self._part_event("added", "")]
        self._pieces.append(text)
        return [*opening, self._frames.delta(self._template, text)]

    def seal(self, seal: str) -> None:
        self._seals.append(seal)

    def stop(self, whole: Part | None) -> list[bytes]:
        self._fill(whole)
        text = "".join(self._pieces)
        frames = []
        if text:
            frames = [
                self._frames.frame(f"{self._events[1]}.done", **self._place, text=text),
                self._part_event("done", text),
            ]
        item = self._output[self._index]
        return [*frames, self._frames.frame("response.output_item.done", output_index=self._index, item=item)]

    def snapshot(self) -> None:
        self._fill(None)

    def _fill(self, whole: Part | None) -> None:
        """Put the item into the output. Only `whole`, if it is given, has the paragraphs of the upstream's summary."""
        extras = whole.extras if isinstance(whole, Thinking) else self._part.extras
        seal = "".join(self._seals) if self._seals else self._part.seal
        part = replace(self._part, text="".join(self._pieces), seal=seal, extras=extras)
        self._output[self._index] = self._item(part)

    def _part_event(self, what: str, text: str) -> bytes:
        part = {"type": self._type, "text": text}
        return self._frames.frame(f"{self._events[0]}.{what}", **self._place, part=part)

    def _item(self, part: Thinking) -> dict[str, Any]:
        return write_items.reasoning(part, id_=self._id, seal=pack(part, "responses"))


class CallPart:
    """A call of a function or a custom tool. `unwrapper` takes the free text out of its JSON, if it came as JSON."""

    def __init__(
        self, frames: Frames, output: list[Any], id_: str, part: ToolCall, unwrapper: Unwrapper | None
    ) -> None:
        self._frames = frames
        self._output = output
        self._index = len(output)
        self._id = id_
        self._part = with_seal(part)
        self._unwrapper = unwrapper
        self._pieces: list[str] = []
        self._place: dict[str, Any] = {"item_id": id_, "output_index": self._index}
        if part.kind == "custom":
            self._event, self._field = "response.custom_tool_call_input", "input"
        else:
            self._event, self._field = "response.function_call_arguments", "arguments"
        self._template = Template(f"{self._event}.delta", **self._place)
        output.append(self._item("in_progress"))

    def start(self) -> bytes:
        item = self._output[self._index]
        return self._frames.frame("response.output_item.added", output_index=self._index, item=item)

    def delta(self, text: str, logprobs: Raw | None) -> list[bytes]:
        if self._unwrapper is not None:
            text = self._unwrapper.feed(text)
        if not text:
            return []
        self._pieces.append(text)
        return [self._frames.delta(self._template, text)]

    def stop(self, whole: Part | None) -> list[bytes]:
        frames = self._rest()
        self._fill("completed", whole)
        arguments = {self._field: "".join(self._pieces)}
        item = self._output[self._index]
        return [
            *frames,
            self._frames.frame(f"{self._event}.done", **self._place, **self._named(), **arguments),
            self._frames.frame("response.output_item.done", output_index=self._index, item=item),
        ]

    def snapshot(self) -> None:
        self._fill("incomplete", None)

    def _named(self) -> dict[str, str]:
        """The name, which only the end of a function's arguments repeats."""
        return {"name": self._part.name} if self._part.kind == "function" else {}

    def _rest(self) -> list[bytes]:
        """The text that the unwrapper held back; `{}` for a function without arguments, because they must be JSON."""
        rest = "" if self._unwrapper is None else self._unwrapper.finish()
        if not rest and not self._pieces and self._part.kind == "function":
            rest = "{}"
        if not rest:
            return []
        self._pieces.append(rest)
        return [self._frames.delta(self._template, rest)]

    def _fill(self, status: Status, whole: Part | None) -> None:
        if isinstance(whole, ToolCall) and whole.extras != NO_EXTRAS:
            self._part = replace(self._part, extras=whole.extras)
        self._output[self._index] = self._item(status)

    def _item(self, status: Status) -> dict[str, Any]:
        part = replace(self._part, arguments="".join(self._pieces))
        return write_items.call(part, id_=self._id, status=status)


class SearchPart(CallPart):
    """A call of the client's search for tools. Its arguments are an object, so that they come whole, with its end."""

    def delta(self, text: str, logprobs: Raw | None) -> list[bytes]:
        self._pieces.append(text)
        return []

    def stop(self, whole: Part | None) -> list[bytes]:
        self._fill("completed", whole)
        item = self._output[self._index]
        return [self._frames.frame("response.output_item.done", output_index=self._index, item=item)]
