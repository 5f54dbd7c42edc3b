"""Gives freed memory back to the system, in processes that run only plano.

glibc gives memory back only from the upper end of its heap, and something small is always left up there: after 1 500
bodies of 150 KB at once, 220 MB of free memory stayed with the process for good. `malloc_trim` gives back every free
page. It takes 1 ms for 10 to 30 MB, and code that needs memory meanwhile waits. So it is called rarely, from a thread
of its own, and only for memory that was not needed for a while, because the next requests need some of it again.

A lower M_MMAP_THRESHOLD would make each large body pay for fresh pages, and it would miss memory that is served from
the holes between pieces of bodies: 190 of those 220 MB at the usual threshold of 128 KB.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import time
from contextlib import suppress
from typing import Protocol

INTERVAL = 1.0
"""Seconds between two looks."""

MAX_SURPLUS = 4_000_000
"""The most bytes that may stay with the process unused."""


class Heap(Protocol):
    """A heap of the process below Python's own memory management."""

    def unused(self) -> int:
        """Bytes in memory that are not allocated. Memory outside the heap counts too."""

    def trim(self) -> None:
        """Give free memory back."""


class Glibc:
    """The heap of the GNU C library, from version 2.33 on; earlier ones cannot count beyond 2 GB."""

    def __init__(self) -> None:
        library = ctypes.CDLL(None)
        self._info = library.mallinfo2
        self._info.restype = _Mallinfo2
        self._trim = library.malloc_trim
        self._trim.argtypes = [ctypes.c_size_t]

    def unused(self) -> int:
        info = self._info()
        allocated: int = info.uordblks + info.hblkhd
        return _resident() - allocated

    def trim(self) -> None:
        self._trim(0)


class _Mallinfo2(ctypes.Structure):
    """mallinfo(3): `uordblks` is allocated from the heaps, `hblkhd` from the system directly."""

    _fields_ = (
        ("arena", ctypes.c_size_t),
        ("ordblks", ctypes.c_size_t),
        ("smblks", ctypes.c_size_t),
        ("hblks", ctypes.c_size_t),
        ("hblkhd", ctypes.c_size_t),
        ("usmblks", ctypes.c_size_t),
        ("fsmblks", ctypes.c_size_t),
        ("uordblks", ctypes.c_size_t),
        ("fordblks", ctypes.c_size_t),
        ("keepcost", ctypes.c_size_t),
    )


class Surplus:
    """Checks a heap regularly, and trims it when it has too much unused memory twice in a row.

    Memory that is left after a trim (Python's own arenas, libraries) cannot be given back, and is no longer counted.
    """

    def __init__(self, heap: Heap) -> None:
        self._heap = heap
        self._fixed = heap.unused()
        self._before = 0

    def look(self) -> bool:
        """Trim the heap if it is time. Returns whether it was trimmed."""
        unused = self._heap.unused()
        self._fixed = min(self._fixed, unused)
        surplus = unused - self._fixed
        if min(surplus, self._before) <= MAX_SURPLUS:
            self._before = surplus
            return False
        self._heap.trim()
        self._fixed = self._heap.unused()
        self._before = 0
        return True


def give_back() -> bool:
    """Give unused memory back from now on. Returns False if the C library cannot do that."""
    heap = glibc()
    if heap is None:
        return False
    threading.Thread(target=_watch, args=(Surplus(heap),), name="plano-memory", daemon=True).start()
    return True


def glibc() -> Glibc | None:
    """The heap, or None if the C library is another one or the system does not tell how much memory is used."""
    if sys.platform != "linux":
        return None
    try:
        heap = Glibc()
        heap.unused()
    except (AttributeError, OSError):  # musl has neither function; /proc may be hidden
        return None
    return heap


def _watch(surplus: Surplus) -> None:
    while True:
        time.sleep(INTERVAL)
        with suppress(OSError):  # there may be no file descriptor left at present
            surplus.look()


def _resident() -> int:
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * _PAGE


_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
