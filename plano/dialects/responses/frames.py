"""Writes the frames of this dialect's events. Each has its type twice, and a sequence number."""

from __future__ import annotations

from typing import Any

import msgspec

_encode = msgspec.json.Encoder().encode


class Template:
    """Makes the frames of one part's deltas, which differ only in the sequence number and the text."""

    __slots__ = ("_head", "_tail")

    def __init__(self, type_: str, *, logprobs: bool = False, **fields: Any) -> None:
        start = _encode({"type": type_, **fields})[:-1]
        self._head = b"event: " + type_.encode() + b"\ndata: " + start + b',"sequence_number":'
        self._tail = b',"logprobs":[]}\n\n' if logprobs else b"}\n\n"

    def frame(self, number: int, text: str) -> bytes:
        return b'%b%d,"delta":%b%b' % (self._head, number, _encode(text), self._tail)


def _one_line(data: bytes) -> bytes:
    """JSON without line breaks, for a `data:` line. JSON that a client or upstream wrote may have some."""
    return msgspec.json.format(data, indent=-1) if b"\n" in data or b"\r" in data else data


class Frames:
    """Makes the frames of one stream, and numbers them from 0."""

    __slots__ = ("number",)

    def __init__(self) -> None:
        self.number = 0

    def frame(self, type_: str, **fields: Any) -> bytes:
        """The frame of the next event, with these fields."""
        data = _one_line(_encode({"type": type_, "sequence_number": self.number, **fields}))
        self.number += 1
        return b"event: " + type_.encode() + b"\ndata: " + data + b"\n\n"

    def delta(self, template: Template, text: str) -> bytes:
        """The frame of the next event, a delta of the part that the template is for."""
        number = self.number
        self.number = number + 1
        return template.frame(number, text)
