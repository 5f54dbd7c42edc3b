"""Slots for requests that run at once, with a queue for requests that wait for one.

No request waits that could have a free slot. So a new request that finds one may take it without a look at the queue:
all that wait there are of tenants that have their share already.
"""

from __future__ import annotations

from asyncio import CancelledError, Future, get_running_loop
from collections import OrderedDict
from collections.abc import Callable
from itertools import count
from math import inf
from random import random
from typing import TypeAlias

from plano.errors import GatewayBusy
from plano.provider import Target
from plano.runtime.clock import REAL, Clock

_Queue: TypeAlias = "OrderedDict[int, Future[bool]]"
"""The waiting requests of one tenant, by the number at which they came. True gives one a slot, False sends it away."""


class Slots:
    """The slots of one worker process, or of one entry in it.

    Args:
        most: the number of slots; None for any number.
        queue: the most requests that wait for one.
        share: the most slots that one tenant has; None for any number.
        clock: decides when waits are over.

    Attributes:
        now: gives the seconds in which deadlines are told.
        most, queue, share: the limits now; infinity for any number.
        in_flight: the slots that are taken.
        waiting: the number of requests that wait.
    """

    def __init__(
        self,
        most: int | None = None,
        *,
        queue: int = 0,
        share: int | None = None,
        clock: Clock = REAL,
    ) -> None:
        self.in_flight = 0
        self.waiting = 0
        self.now = clock.now
        self._call_later = clock.call_later
        self._numbers = count()
        self._held: dict[str, int] = {}
        self._queues: dict[str, _Queue] = {}
        self.resize(most, queue=queue, share=share)

    def resize(self, most: int | None, *, queue: int = 0, share: int | None = None) -> None:
        """Set other limits. Slots that are taken stay taken, and the queue stays as it is."""
        self.most: float = inf if most is None else most
        self.share: float = inf if share is None else share
        self.queue = queue
        self._hand_out()

    def try_take(self, tenant: str = "") -> bool:
        """Take a slot if one is free for this tenant."""
        if self.in_flight >= self.most or self._held.get(tenant, 0) >= self.share:
            return False
        self._take(tenant)
        return True

    async def wait(self, deadline: float, tenant: str = "") -> bool:
        """Take a slot, or wait for one in the queue. A wait that is cancelled gives everything back.

        Args:
            deadline: the time, as `now` gives it, at which to give up.

        Returns:
            Whether it has a slot. It is False at once if the queue is full.
        """
        if self.try_take(tenant):
            return True
        delay = deadline - self.now()
        if delay <= 0.0 or not self._room_in_queue(tenant):
            return False
        loop, number = get_running_loop(), next(self._numbers)
        slot: Future[bool] = loop.create_future()
        self._queues.setdefault(tenant, OrderedDict())[number] = slot
        self.waiting += 1
        timer = self._call_later(delay, self._send_away, tenant, number)
        try:
            return await slot
        except CancelledError:
            if slot.done() and not slot.cancelled() and slot.result():
                self.release(tenant)
            raise
        finally:
            timer.cancel()
            self._leave(tenant, number)

    def release(self, tenant: str = "") -> None:
        """Give a slot back; the next in the queue has it at once."""
        self.in_flight -= 1
        left = self._held[tenant] - 1
        if left:
            self._held[tenant] = left
        else:
            del self._held[tenant]
        if self._queues:
            self._hand_out()

    def _take(self, tenant: str) -> None:
        self.in_flight += 1
        self._held[tenant] = self._held.get(tenant, 0) + 1

    def _hand_out(self) -> None:
        """Give free slots to the first in the queue whose tenants have less than their share."""
        while self._queues and self.in_flight < self.most:
            open_to = [tenant for tenant in self._queues if self._held.get(tenant, 0) < self.share]
            if not open_to:
                return
            tenant = min(open_to, key=self._first)
            slot = self._leave(tenant, self._first(tenant))
            if slot is not None and not slot.done() and not slot.get_loop().is_closed():
                self._take(tenant)
                self._tell(slot, tenant, granted=True)

    def _first(self, tenant: str) -> int:
        return next(iter(self._queues[tenant]))

    def _room_in_queue(self, tenant: str) -> bool:
        """Whether one more may wait. In a full queue where tenants have shares, the last request of the tenant with the
        most makes room for another tenant's."""
        if self.waiting < self.queue:
            return True
        if self.share == inf or not self._queues:
            return False
        crowd = max(self._queues, key=lambda each: len(self._queues[each]))
        if len(self._queues[crowd]) <= len(self._queues.get(tenant, ())) + 1:
            return False
        self._send_away(crowd, next(reversed(self._queues[crowd])))
        return True

    def _send_away(self, tenant: str, number: int) -> None:
        slot = self._leave(tenant, number)
        if slot is not None:
            self._tell(slot, tenant, granted=False)

    def _leave(self, tenant: str, number: int) -> Future[bool] | None:
        """Take a request out of the queue; None if it has left."""
        queue = self._queues.get(tenant)
        slot = None if queue is None else queue.pop(number, None)
        if slot is not None:
            self.waiting -= 1
            if not queue:
                del self._queues[tenant]
        return slot

    def _tell(self, slot: Future[bool], tenant: str, *, granted: bool) -> None:
        """Wake a request up, whose event loop may run in another thread."""
        slot.get_loop().call_soon_threadsafe(self._settle, slot, tenant, granted)

    def _settle(self, slot: Future[bool], tenant: str, granted: bool) -> None:
        if not slot.done():
            slot.set_result(granted)
        elif granted:  # the wait was cancelled a moment ago
            self.release(tenant)


class EntrySlots:
    """The slots of each entry that has a `max_in_flight`. They outlive a reload.

    Args:
        queue: the most requests that wait for an entry.
        clock: as for `Slots`.
    """

    def __init__(self, queue: int = 0, *, clock: Clock = REAL) -> None:
        self.queue = queue
        self._clock = clock
        self._slots: dict[str, Slots] = {}

    def of(self, target: Target) -> Slots | None:
        """The slots of a target's entry, which all its keys and models share; None for any number."""
        most = target.max_in_flight
        if most is None:
            return None
        slots = self._slots.get(target.entry)
        if slots is None:
            slots = self._slots[target.entry] = Slots(most, queue=self.queue, clock=self._clock)
        elif (slots.most, slots.queue) != (most, self.queue):
            slots.resize(most, queue=self.queue)
        return slots


def busy(random: Callable[[], float] = random) -> GatewayBusy:
    """The refusal of a request for which no slot is free. It asks for a new try in 1 to 3 seconds, chosen at random."""
    return GatewayBusy(
        "The gateway has as many requests as it can take at once. Please try again.",
        retry_after=1 + int(3 * random()),
    )
