"""What all that runs on one event loop shares."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar
from weakref import WeakValueDictionary


class OfLoop(Protocol):
    """Knows its event loop."""

    loop: asyncio.AbstractEventLoop


T = TypeVar("T", bound=OfLoop)


class PerLoop(Generic[T]):
    """Called with an event loop, gives the one thing of its kind that there is for it.

    They live as long as somebody has them, or the loop has to call them, and do not keep their loop alive.

    Args:
        make: makes another, of a loop.
    """

    def __init__(self, make: Callable[[asyncio.AbstractEventLoop], T]) -> None:
        self._make = make
        self._found: WeakValueDictionary[int, T] = WeakValueDictionary()

    def __call__(self, loop: asyncio.AbstractEventLoop) -> T:
        found = self._found.get(id(loop))
        if found is None or found.loop is not loop:  # another loop had this id
            found = self._found[id(loop)] = self._make(loop)
        return found
