"""The structs that the stream reader decodes, and the state that it keeps between events."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

from plano.conversation import Extras, Part
from plano.dialects.fields import ABSENT


class Wire(msgspec.Struct, gc=False):
    """All fields that are read from any event; the event's `type` decides which of them are there."""

    type: str | None = None
    item_id: str | None = None
    output_index: int = 0
    content_index: int = 0
    summary_index: int = 0
    delta: Any = None
    text: Any = None
    refusal: Any = None
    arguments: Any = None
    input: Any = None
    logprobs: Raw = ABSENT
    item: Raw = ABSENT
    part: Raw = ABSENT
    annotation: Raw = ABSENT
    response: Raw = ABSENT
    error: Any = None
    code: Any = None
    message: Any = None
    param: Any = None


class Type(msgspec.Struct):
    type: str | None = None


WIRE = msgspec.json.Decoder(Wire)
TYPE = msgspec.json.Decoder(Type)


class Open:
    """A part that was started: how much of it has come, and whether it is over."""

    __slots__ = ("citations", "index", "part", "said", "section", "stopped")

    def __init__(self, index: int, part: Part) -> None:
        self.index = index
        self.part = part
        self.said = 0  # characters that have come; for reasoning, those of the current section
        self.section = 0  # the summary_index or content_index of reasoning
        self.citations = 0
        self.stopped = False


class ItemState:
    """An output item: the fields of its `added`, and its one part, if it is not a message."""

    __slots__ = ("done", "extras", "id", "open")

    def __init__(self) -> None:
        self.id: str | None = None
        self.extras: Extras = {}
        self.open: Open | None = None
        self.done = False
