"""Rewrites the text of a reply in place, in any dialect; everything around the text stays unchanged."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from typing import Any, TypeAlias

import msgspec

from plano.dialects import reading
from plano.dialects.codec import ClientCodec, Slot
from plano.frames import sse

TextMap: TypeAlias = Callable[[str], str]

_REPLY = msgspec.json.Decoder(dict[str, Any])

_MAX_HELD = 2000
"""The most characters that are held, or four windows if that is more, if `fn` changes texts longer than its window."""


def rewrite_body(codec: ClientCodec, body: bytes, fn: TextMap) -> bytes:
    """A complete reply with `fn` applied to each of its texts; the same bytes if that changes nothing.

    Raises:
        UpstreamProtocolError: the body is not JSON.
    """
    reply = reading.upstream(_REPLY, body)
    changed = False
    for slot in codec.reply_texts(reply):
        before = slot.holder[slot.field]
        slot.holder[slot.field] = fn(before)
        changed = changed or slot.holder[slot.field] != before
    return msgspec.json.encode(reply) if changed else body


class _Text:
    """One text as it grows: `held` is not mapped yet, `sent` is mapped and out."""

    __slots__ = ("frame", "held", "key", "sent")

    def __init__(self, key: Hashable) -> None:
        self.key = key
        self.held = ""
        self.sent: list[str] = []
        self.frame: _Pending | None = None


class _Pending:
    """A frame that waits until the text for its slot is known."""

    __slots__ = ("_before", "_block", "event", "payload", "slots", "waiting")

    def __init__(self, block: bytes, event: str | None, payload: dict[str, Any], slots: list[Slot]) -> None:
        self.event = event
        self.payload = payload
        self.slots: dict[Hashable, Slot] = {}
        self.waiting = 0
        self._block = block
        self._before = [(slot, slot.holder[slot.field]) for slot in slots if slot.kind != "end"]

    def bytes(self) -> bytes:
        """The frame to send: the original bytes if its texts did not change."""
        if all(slot.holder[slot.field] == before for slot, before in self._before):
            return self._block + b"\n\n"
        return sse.frame(msgspec.json.encode(self.payload), self.event)


class StreamRewriter:
    """Applies `fn` to the texts of a stream; `window` characters are held back so that `fn` sees across pieces.

    Each character goes through `fn` exactly once. Held text needs no frame of its own: the frame of the last delta
    waits with it, and all later frames wait behind that, so that order and numbering stay the same.
    """

    def __init__(self, codec: ClientCodec, fn: TextMap, window: int = 0) -> None:
        self._codec = codec
        self._fn = fn
        self._window = window
        self._texts: dict[Hashable, _Text] = {}
        self._queue: deque[bytes | _Pending] = deque()

    def feed(self, piece: bytes) -> bytes:
        """Take a piece of whole frames; returns the frames that can go out by now."""
        for block in sse.blocks(piece):
            self._take(block)
        return self._ready()

    def finish(self) -> bytes:
        """The frames that were still held back."""
        for text in self._texts.values():
            self._flush(text)
        return self._ready()

    def _text(self, key: Hashable) -> _Text:
        text = self._texts.get(key)
        if text is None:
            text = self._texts[key] = _Text(key)
        return text

    def _take(self, block: bytes) -> None:
        frame = sse.parse(block)
        payload = _parsed(frame)
        slots = self._codec.event_texts(payload) if payload is not None else []
        if frame is None or payload is None or not slots:
            self._queue.append(block + b"\n\n")
            return
        pending = _Pending(block, frame.event, payload, slots)
        self._queue.append(pending)
        for slot in slots:
            text = self._text(slot.key)
            if slot.kind == "delta":
                self._delta(text, slot, pending)
            else:
                self._flush(text)
                if slot.kind == "whole":
                    self._whole(text, slot)

    def _delta(self, text: _Text, slot: Slot, pending: _Pending) -> None:
        if not slot.holder[slot.field]:
            return
        text.held += slot.holder[slot.field]
        slot.holder[slot.field] = ""
        ready, text.held = _split(self._fn, text.held, self._window)
        if text.frame is not None:
            self._release(text, ready)
        else:
            slot.holder[slot.field] = ready
            text.sent.append(ready)
        if text.held:
            text.frame = pending
            pending.slots[slot.key] = slot
            pending.waiting += 1

    def _flush(self, text: _Text) -> None:
        if text.frame is None:
            return
        ready, text.held = self._fn(text.held), ""
        self._release(text, ready)

    def _release(self, text: _Text, ready: str) -> None:
        assert text.frame is not None
        slot = text.frame.slots.pop(text.key)
        slot.holder[slot.field] += ready
        text.frame.waiting -= 1
        text.frame = None
        text.sent.append(ready)

    def _whole(self, text: _Text, slot: Slot) -> None:
        """Write the text that was sent into a full repetition of it; a text that never came in deltas is mapped now."""
        if not text.sent:
            text.sent.append(self._fn(slot.holder[slot.field]))
        slot.holder[slot.field] = "".join(text.sent)

    def _ready(self) -> bytes:
        out = []
        while self._queue:
            first = self._queue[0]
            if isinstance(first, _Pending):
                if first.waiting:
                    break
                out.append(first.bytes())
            else:
                out.append(first)
            self._queue.popleft()
        return b"".join(out)


def _parsed(frame: sse.Frame | None) -> dict[str, Any] | None:
    if frame is None or not frame.data.startswith(b"{"):
        return None
    try:
        payload = msgspec.json.decode(frame.data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return payload if isinstance(payload, dict) else None


def _split(fn: TextMap, held: str, window: int) -> tuple[str, str]:
    """Split `held` into a mapped part to send and a part that must wait.

    The cut is never inside a match that `fn` changes: both sides mapped separately must equal the whole mapped at
    once. If they do not, the cut moves left. A match that is no longer than the window leaves such a cut within a
    window's length. If there is none, everything waits, up to a bound.
    """
    if not window:
        return fn(held), ""
    last = len(held) - window
    if last <= 0:
        return "", held
    whole = fn(held)
    for cut in range(last, max(0, last - window), -1):
        left = fn(held[:cut])
        if whole == left + fn(held[cut:]):
            return left, held[cut:]
    if len(held) > max(_MAX_HELD, 4 * window):
        return fn(held[:last]), held[last:]
    return "", held
