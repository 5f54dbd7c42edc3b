"""Writes what is logged, from a thread of its own: whoever logs never waits for whoever reads.

A reader that stalls (a pipe nobody empties, a terminal that was stopped, a disk that hangs) blocks `write` for as long
as it likes, and would block the event loop with it. `O_NONBLOCK` is no way out: the flag belongs to the open file
description, which other processes share.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Protocol, TextIO

BUFFER = 1024 * 1024
"""Bytes that may wait for the reader, besides those that were handed over last."""

AT_ONCE = 4096
"""Bytes. POSIX write(): so many go into a pipe undivided (PIPE_BUF)."""


class Writer(Protocol):
    """Where lines go.

    Attributes:
        full: whether what is handed over now should be dropped.
        lost: lines that were handed over and could not be written.
    """

    @property
    def full(self) -> bool: ...

    @property
    def lost(self) -> int: ...

    def write(self, lines: bytearray) -> None: ...

    def close(self, seconds: float) -> None:
        """Wait at most so long for what was handed over."""


def writer_to(stream: TextIO) -> Writer:
    """A writer for a stream: by its file descriptor, if it has one."""
    try:
        return Threaded(stream.fileno())
    except OSError:
        return Direct(stream)


class Direct:
    """Writes at once, to what keeps nobody waiting."""

    full = False
    lost = 0

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, lines: bytearray) -> None:
        for piece in whole(lines):
            self._stream.write(piece.decode())
            self._stream.flush()

    def close(self, seconds: float) -> None:
        pass


class Threaded:
    """Writes to a file descriptor, in the order things are handed over. `write` is called by one thread at a time."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._queue: SimpleQueue[bytearray | None] = SimpleQueue()
        self.lost = 0
        # Each of the two is changed by one thread alone: one `+=` of two threads may lose what the other added.
        self._taken = 0
        self._done = 0
        self._thread = threading.Thread(target=self._run, name="plano-log", daemon=True)
        self._thread.start()

    @property
    def full(self) -> bool:
        return self._taken - self._done >= BUFFER

    def write(self, lines: bytearray) -> None:
        self._taken += len(lines)
        self._queue.put(lines)

    def close(self, seconds: float) -> None:
        self._queue.put(None)
        self._thread.join(seconds)

    def _run(self) -> None:
        while (lines := self._queue.get()) is not None:
            for piece in whole(lines):
                try:
                    self._write(piece)
                except OSError:  # nobody will ever read it, or the disk is full
                    self.lost += piece.count(b"\n")
            self._done += len(lines)

    def _write(self, piece: bytes) -> None:
        while piece:
            try:
                piece = piece[os.write(self._descriptor, piece) :]
            except BlockingIOError:  # somebody else has set O_NONBLOCK
                select.select([], [self._descriptor], [])


def whole(lines: bytearray) -> Iterator[bytes]:
    """The lines, several together, each piece short enough to be written in one go: what several processes write
    into one pipe or file is then not mixed within a line."""
    start, size = 0, len(lines)
    while start < size:
        end = size
        if size - start > AT_ONCE:
            end = lines.rfind(b"\n", start, start + AT_ONCE) + 1 or lines.find(b"\n", start) + 1
        yield bytes(lines[start:end])
        start = end
