"""What the stream reader decodes, and what it keeps between events."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

from plano.conversation import Extras, Part
from plano.dialects.fields import ABSENT


class Wire(msgspec.Struct, gc=False):
    """Every field of every event that is looked at; which of them are there depends on `type`."""

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
    """A part that was started: how much of it has been said, and whether it is over."""

    __slots__ = ("citations", "index", "part", "said", "section", "stopped")

    def __init__(self, index: int, part: Part) -> None:
        self.index = index
        self.part = part
        self.said = 0  # characters; for reasoning, of the current section
        self.section = 0  # of reasoning: summary_index or content_index
        self.citations = 0
        self.stopped = False


class ItemState:
    """An output item: what its `added` said, and its one part, if it is not a message."""

    __slots__ = ("done", "extras", "id", "open")

    def __init__(self) -> None:
        self.id: str | None = None
        self.extras: Extras = {}
        self.open: Open | None = None
        self.done = False
