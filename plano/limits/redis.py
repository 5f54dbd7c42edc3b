"""Counts in Redis: one script call for a decision, exact over all processes that share the server."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from typing import Any

import msgspec

from plano.limits import redis_scripts as scripts
from plano.limits.cells import LEASE_SECONDS, Cell, Lease, Rate, Sum, Verdict
from plano.limits.owed import Batch
from plano.redis_client import RedisClient, Script


class RedisCounts:
    """Counts in Redis, by the server's clock. The layout of the keys is in `plano.limits.redis_scripts`.

    Its methods raise one of `RedisClient.failures` where Redis cannot be used, and wait as long as the client does.
    `plano.limits.shared` puts a deadline and a substitute around it.

    Args:
        client: the connections.
        clock: Unix seconds, for tests; None for the server's own time, which all processes share.
    """

    def __init__(self, client: RedisClient, *, clock: Callable[[], float] | None = None) -> None:
        self._client = client
        self._clock = clock
        self._name = secrets.token_hex(8)
        self._numbers = count(1)
        self._renewals: dict[int, set[str]] = {}

    async def take(self, cells: Sequence[Cell]) -> Verdict:
        """Takes all cells or none."""
        said = await self._run(scripts.TAKE, _keys(cells), LEASE_SECONDS, [_asked(cell) for cell in cells])
        return _verdict(said)

    async def settle(self, corrections: Sequence[tuple[Cell, float]]) -> None:
        """Corrects cells that were taken: for each the actual amount minus the reserved one."""
        await self.tell(self.batch(corrections))

    def batch(self, corrections: Sequence[tuple[Cell, float]]) -> Batch:
        """Makes a batch of corrections, each of one take."""
        settlements = [(cell, difference, 1) for cell, difference in corrections if not isinstance(cell, Lease)]
        return Batch(self.mark(), settlements)

    def mark(self) -> str:
        """A new mark for a batch. Marks grow, so that Redis forgets the oldest first."""
        return str(next(self._numbers))

    async def tell(self, batch: Batch) -> None:
        """Corrects cells, once however often the batch is told."""
        if batch.settlements:
            keys = [scripts.MARKS + self._name, *_keys(cell for cell, *_ in batch.settlements)]
            await self._run(scripts.SETTLE, keys, batch.mark, [_corrected(*each) for each in batch.settlements])

    async def release(self, leases: Sequence[Lease]) -> None:
        """Gives places back."""
        if not leases:
            return
        for renewed in self._renewals.values():
            renewed.update(lease.holder for lease in leases)
        await self._run(scripts.RELEASE, _keys(leases), [lease.holder for lease in leases])

    async def renew(self, leases: Sequence[Lease]) -> None:
        """Holds places for another `LEASE_SECONDS`, those included that a restarted server has forgotten."""
        if not leases:
            return
        released = self._renewals[id(leases)] = set[str]()
        try:
            await self._run(scripts.RENEW, _keys(leases), LEASE_SECONDS, [lease.holder for lease in leases])
        finally:
            del self._renewals[id(leases)]
        # The two may have met on their way: a place that was given back meanwhile is held again.
        late = [lease for lease in leases if lease.holder in released]
        if late:
            await self.release(late)

    async def ping(self) -> None:
        """Returns when the server that keeps the counts accepts a write."""
        await self._run(scripts.RELEASE, (), ())

    def reconnect(self) -> None:
        """Has no connection used again that is open now."""
        self._client.renew()

    @property
    def degraded(self) -> bool:
        return False

    async def aclose(self) -> None:
        await self._client.aclose()

    async def _run(self, script: Script, keys: Sequence[str], *values: object) -> Any:
        now = None if self._clock is None else self._clock()
        return await self._client.run(script, [scripts.NOTHING, *keys], _encode((now, *values)))


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[int, float, bool, list[tuple[float, float]]]).decode


def _keys(cells: Iterable[Cell]) -> list[str]:
    return [scripts.COUNTS + cell.key for cell in cells]


def _asked(cell: Cell) -> tuple[object, ...]:
    """A cell as TAKE reads it."""
    match cell:
        case Rate():
            return ("rate", cell.limit, cell.period, cell.cost)
        case Lease():
            return ("lease", cell.limit, cell.holder)
        case Sum():
            return ("sum", cell.limit, cell.cost, cell.ends, cell.period)


def _corrected(cell: Rate | Sum, difference: float, takes: int) -> tuple[object, ...]:
    """A correction as SETTLE reads it."""
    kind, ends = ("sum", cell.ends) if isinstance(cell, Sum) else ("rate", None)
    return (kind, cell.limit, cell.period, ends, cell.cost, difference, takes)


def _verdict(said: bytes) -> Verdict:
    refused, retry_after, reserved, states = _decode(said)
    return Verdict(
        refused=None if refused < 0 else refused,
        retry_after=retry_after,
        left=tuple([left for left, _ in states]),
        reset=tuple([reset for _, reset in states]),
        reserved=reserved,
    )
