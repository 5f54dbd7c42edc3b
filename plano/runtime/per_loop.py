"""Objects that all code on one event loop shares."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar
from weakref import WeakValueDictionary


class OfLoop(Protocol):
    """An object that knows its event loop."""

    loop: asyncio.AbstractEventLoop


T = TypeVar("T", bound=OfLoop)


class PerLoop(Generic[T]):
    """Returns the one object of its kind for an event loop, when it is called with that loop.

    An object lives as long as a user or a callback of the loop holds it, and does not keep its loop alive.

    Args:
        make: makes the object for a loop.
    """

    def __init__(self, make: Callable[[asyncio.AbstractEventLoop], T]) -> None:
        self._make = make
        self._found: WeakValueDictionary[int, T] = WeakValueDictionary()

    def __call__(self, loop: asyncio.AbstractEventLoop) -> T:
        found = self._found.get(id(loop))
        if found is None or found.loop is not loop:  # an earlier loop had the same id
            found = self._found[id(loop)] = self._make(loop)
        return found
