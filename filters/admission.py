"""Admits as many requests at once as the process is meant to have, and lets others wait for a short time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from plano.limits.admission import Slots, busy
from plano.pipeline import CallNext
from plano.request import Request
from plano.response import Response


class Admission:
    """Gives each request a slot, which it holds until the last byte of its reply has gone out, or its client has left.

    It stands below `auth`, because a slot counts for its caller's tenant.

    Args:
        slots: the slots of the process.
        wait: the most seconds that a request waits for one.
        waited: takes the seconds that a request has waited, whether it got a slot or not.

    Raises:
        GatewayBusy: no slot is free, and the queue is full or the wait was too long. The status is 503, or 529 for
            the messages API.
    """

    def __init__(
        self,
        slots: Slots,
        wait: float,
        *,
        waited: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        self._slots = slots
        self._wait = wait
        self._waited = waited

    def __call__(self, request: Request, call_next: CallNext) -> Awaitable[Response]:
        tenant = request.caller.tenant
        if not self._slots.try_take(tenant):
            return self._in_turn(request, call_next, tenant)
        self._keep(request, tenant)
        return call_next(request)

    async def _in_turn(self, request: Request, call_next: CallNext, tenant: str) -> Response:
        began = self._slots.now()
        try:
            if not await self._slots.wait(began + self._wait, tenant):
                request.journal.limit("admission", "admission")
                raise busy()
            self._keep(request, tenant)
        finally:
            self._waited(self._slots.now() - began)
        return await call_next(request)

    def _keep(self, request: Request, tenant: str) -> None:
        request.journal.releases += (partial(self._give_back, tenant),)

    async def _give_back(self, tenant: str) -> None:
        self._slots.release(tenant)


__all__ = ["Admission"]
