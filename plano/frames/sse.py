"""Server-sent events: bytes to frames, and frames to bytes.

Source: WHATWG HTML, section 9.2 "Server-sent events". Lines end at CR, LF or CRLF and at nothing else
(`str.splitlines` and most `iter_lines` also split at U+2028, which JSON strings may hold). The network may cut a
stream at any byte, in the middle of a frame or of a UTF-8 character.

Strategy: a stream that is only forwarded is cut into pieces of whole frames (`Aligner`). Frames are parsed (`frames`)
only to be read.
"""

from __future__ import annotations

import re
from itertools import pairwise

from msgspec import Struct

from plano.errors import UpstreamProtocolError

MAX_FRAME = 32 * 1024 * 1024
"""The most bytes of one frame. The longest in the wild are `response.completed` events that repeat images."""

DONE = b"data: [DONE]\n\n"

_BLANK_LINE = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
_CR = re.compile(rb"\r\n?")
_BOM = b"\xef\xbb\xbf"


class Frame(Struct, frozen=True, gc=False):
    """One event: its name (None without an `event:` line) and its data lines joined by LF."""

    event: str | None
    data: bytes


class Aligner:
    """Cuts a stream into pieces of whole frames, so that every piece that is sent on ends where a frame ends.

    Nearly every chunk ends there already, and passes through without a copy.
    """

    __slots__ = ("_limit", "_rest", "_scanned")

    def __init__(self, limit: int = MAX_FRAME) -> None:
        self._limit = limit
        self._rest = bytearray()
        self._scanned = 0  # no frame ends before this position: a long frame is searched once, not once a chunk

    @property
    def empty(self) -> bool:
        """Whether nothing is held: the last frame is complete."""
        return not self._rest

    def feed(self, chunk: bytes) -> bytes:
        """Everything up to the last complete frame's end; b"" while none is complete.

        Raises:
            UpstreamProtocolError: a frame is longer than the limit.
        """
        if not self._rest and chunk.endswith(b"\n\n"):
            return chunk
        rest = self._rest
        rest += chunk
        start = max(0, self._scanned - 3)
        end = rest.rfind(b"\n\n", start) + 2
        if end == 1:
            end = 0
            for blank in _BLANK_LINE.finditer(rest, start):
                end = blank.end()
        if end == 0 and len(rest) > self._limit:
            raise UpstreamProtocolError(f"The upstream sent an event of more than {self._limit} bytes.")
        piece = bytes(rest[:end])
        del rest[:end]
        self._scanned = len(rest)
        return piece

    def finish(self) -> bytes:
        """The bytes after the last complete frame, closed with a blank line unless they are blank themselves."""
        rest = bytes(self._rest)
        self._rest.clear()
        self._scanned = 0
        return rest + b"\n\n" if rest.strip() else rest


def blocks(piece: bytes) -> list[bytes]:
    """The frames in a piece of whole frames, unparsed, each without the blank line that ends it."""
    if piece.find(b"\r") >= 0:
        piece = _CR.sub(b"\n", piece)
    if piece.startswith(_BOM):
        piece = piece[3:]
    if 0 < piece.find(b"\n\n") == len(piece) - 2:  # one frame, as in nearly all pieces
        return [piece[:-2]]
    return [block for block in piece.split(b"\n\n") if block]


def cut(piece: bytes) -> list[bytes]:
    """The frames in a piece of whole frames, byte for byte, each with the blank line that ends it."""
    ends = [0, *(blank.end() for blank in _BLANK_LINE.finditer(piece)), len(piece)]
    return [piece[start:end] for start, end in pairwise(ends) if start < end]


def parse(block: bytes) -> Frame | None:
    """The event in one block, or None if it has no data (section 9.2.6). Comments, `id:` and `retry:` lines are
    skipped."""
    name, start = None, 0
    if block.startswith(b"event: "):
        start = block.find(b"\n") + 1
        name = block[7 : start - 1].decode("utf-8", "replace")
    if block.startswith(b"data: ", start) and block.find(b"\n", start) < 0:  # as all known servers write it
        return Frame(name, block[start + 6 :])
    return _parse(block)


def _parse(block: bytes) -> Frame | None:
    """The event in a block of any spelling."""
    event: str | None = None
    data: list[bytes] = []
    for line in block.split(b"\n"):
        field, _, value = line.partition(b":")
        if value.startswith(b" "):
            value = value[1:]
        if field == b"data":
            data.append(value)
        elif field == b"event":
            event = value.decode("utf-8", "replace")
    return Frame(event, b"\n".join(data)) if data else None


def frames(piece: bytes) -> list[Frame]:
    """The events in a piece of whole frames."""
    name, start = None, 0
    if piece.startswith(b"event: "):
        start = piece.find(b"\n") + 1
        name = piece[7 : start - 1].decode("utf-8", "replace")
    # The fast path: nearly every piece is one frame, written as all known servers write it.
    if (
        piece.startswith(b"data: ", start)
        and piece.find(b"\n", start) == len(piece) - 2
        and piece.endswith(b"\n")
        and piece.find(b"\r") < 0
    ):
        return [Frame(name, piece[start + 6 : -2])]
    found = []
    for block in blocks(piece):
        frame = parse(block)
        if frame is not None:
            found.append(frame)
    return found


class Splitter:
    """Reads events from chunks that are cut anywhere: an `Aligner` and `frames` in one."""

    __slots__ = ("_aligner",)

    def __init__(self, limit: int = MAX_FRAME) -> None:
        self._aligner = Aligner(limit)

    def feed(self, chunk: bytes) -> list[Frame]:
        """The events that are complete after one more chunk."""
        piece = self._aligner.feed(chunk)
        return frames(piece) if piece else []

    def finish(self) -> list[Frame]:
        """The last event, if the stream ended without the blank line that should follow it."""
        return frames(self._aligner.finish())


def without_comments(piece: bytes) -> bytes:
    """A piece of whole frames without those that hold only comments (section 9.2.5)."""
    # A regular expression for this would take as long as to decode the piece.
    if not piece.startswith(_COMMENT) and piece.find(b"\n:") < 0 and piece.find(b"\r:") < 0:
        return piece
    return b"".join(each for each in cut(piece) if not _ONLY_COMMENTS.fullmatch(each))


_COMMENT = (b":", _BOM + b":")
_ONLY_COMMENTS = re.compile(rb"(?:\xef\xbb\xbf)?(?::[^\r\n]*[\r\n]+)+")


def frame(data: bytes, event: str | None = None) -> bytes:
    """One event as bytes; `data` is a line of JSON."""
    if event is None:
        return b"data: " + data + b"\n\n"
    return b"event: " + event.encode() + b"\ndata: " + data + b"\n\n"
