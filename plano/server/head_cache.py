"""Heads of requests that were parsed before, by their bytes.

A client sends the same head over and over, and only the digits of the body's length differ.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from plano.types import RawHeaders, Scope

MAX_HEADS = 256
"""The most heads that are remembered."""

MAX_HEAD_BYTES = 4096
"""The longest head that is remembered."""

_LENGTH = re.compile(rb"\r\n[Cc]ontent-[Ll]ength: ([0-9]{1,18})(?=\r\n)").search


class Known(NamedTuple):
    """A head after parsing.

    Attributes:
        parts: its part of the scope: version, method, path and query.
        headers: all of its headers; the length is at `at`.
    """

    parts: Scope
    headers: RawHeaders
    at: int


class Heads:
    """Remembers heads, so that equal bytes are parsed once.

    Digits in place of digits mean another length and change nothing else. Only heads that the parser accepted are
    remembered, with exactly one `content-length` in one of its usual spellings.
    """

    def __init__(self) -> None:
        self._known: dict[bytes, Known] = {}

    def recall(self, data: bytes) -> tuple[Scope, RawHeaders, int, int] | None:
        """Parts, headers, length of the body and its position, if `data` begins with a known head; else None."""
        cut = _cut(data)
        known = None if cut is None else self._known.get(cut[0])
        if cut is None or known is None:
            return None
        _, start, stop, end = cut
        digits = data[start:stop]
        headers = known.headers.copy()
        headers[known.at] = (b"content-length", digits)
        return known.parts, headers, int(digits), end + 4

    def remember(self, data: bytes, scope: Scope, body: int) -> None:
        """Remember the head at the beginning of `data`, which was parsed into `scope`.

        Args:
            body: the bytes of body that came after it. If those are not all the rest of `data`, the head ended
                elsewhere and is not remembered.
        """
        cut = _cut(data)
        if cut is None or len(data) - cut[3] - 4 != body:
            return
        if len(self._known) >= MAX_HEADS:
            self._known.clear()  # heads that never come again have pushed the others out
        headers: RawHeaders = scope["headers"]
        at = [name for name, _ in headers].index(b"content-length")
        parts: dict[str, Any] = {name: scope[name] for name in _PARTS}
        self._known[cut[0]] = Known(parts, headers.copy(), at)


def _cut(data: bytes) -> tuple[bytes, int, int, int] | None:
    """The head without the digits of its length, the positions of those, and the position where the head ends."""
    end = data.find(b"\r\n\r\n", 0, MAX_HEAD_BYTES)
    found = None if end < 0 else _LENGTH(data, 0, end + 2)
    if found is None:
        return None
    start, stop = found.span(1)
    return data[:start] + data[stop:end], start, stop, end


_PARTS = ("http_version", "method", "path", "raw_path", "query_string")

HEADS = Heads()
