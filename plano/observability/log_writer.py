"""Writes logs from a thread of its own, so that no log call waits for the log's reader.

A reader that stalls (a full pipe, a stopped terminal, a hanging disk) blocks `write` for any length of time, and would
block the event loop. `O_NONBLOCK` does not help, because the flag belongs to the open file description, which other
processes share.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Protocol, TextIO

BUFFER = 1024 * 1024
"""Once this many bytes wait for the reader, no more are accepted."""

AT_ONCE = 4096
"""Bytes of one write. POSIX guarantees that this many go into a pipe undivided (write(), PIPE_BUF)."""


class Writer(Protocol):
    """The destination of a log."""

    @property
    def full(self) -> bool:
        """Whether lines must be dropped now instead of written."""

    @property
    def lost(self) -> int:
        """The number of lines that were accepted and could not be written."""

    def write(self, lines: bytearray) -> None:
        """Accepts whole lines, without waiting for a slow reader."""

    def close(self, seconds: float) -> None:
        """Waits at most this long for the accepted lines to be written."""


def writer_to(stream: TextIO) -> Writer:
    """Makes a writer for a stream. It uses the stream's file descriptor if there is one."""
    try:
        return Threaded(stream.fileno())
    except OSError:
        return Direct(stream)


class Direct:
    """Writes at once, to a stream that has no file descriptor and so never blocks."""

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
    """Writes to a file descriptor in order, from a thread of its own. Only one thread at a time may call `write`."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._queue: SimpleQueue[bytearray | None] = SimpleQueue()
        self.lost = 0
        # Each of the two is changed by one thread only, because `+=` from two threads can lose an addition.
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
                except OSError:  # the reader is gone, or the disk is full
                    self.lost += piece.count(b"\n")
            self._done += len(lines)

    def _write(self, piece: bytes) -> None:
        while piece:
            try:
                piece = piece[os.write(self._descriptor, piece) :]
            except BlockingIOError:  # another process has set O_NONBLOCK
                select.select([], [self._descriptor], [])


def whole(lines: bytearray) -> Iterator[bytes]:
    """Cuts lines into pieces of whole lines that one write takes undivided, so that lines of several processes are not
    mixed up in one pipe or file."""
    start, size = 0, len(lines)
    while start < size:
        end = size
        if size - start > AT_ONCE:
            end = lines.rfind(b"\n", start, start + AT_ONCE) + 1 or lines.find(b"\n", start) + 1
        yield bytes(lines[start:end])
        start = end
