"""Counts in Redis: one script call for a decision, exact over all processes that share the server."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count
from typing import Any

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
        values = [value for cell in cells for value in _asked(cell)]
        return _verdict(await self._run(scripts.TAKE, _keys(cells), str(LEASE_SECONDS), *values))

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
        values = [value for each in batch.settlements for value in _corrected(*each)]
        if values:
            keys = [scripts.MARKS + self._name, *_keys(cell for cell, *_ in batch.settlements)]
            await self._run(scripts.SETTLE, keys, batch.mark, *values)

    async def release(self, leases: Sequence[Lease]) -> None:
        """Gives places back."""
        if not leases:
            return
        for renewed in self._renewals.values():
            renewed.update(lease.holder for lease in leases)
        await self._run(scripts.RELEASE, _keys(leases), *(lease.holder for lease in leases))

    async def renew(self, leases: Sequence[Lease]) -> None:
        """Holds places for another `LEASE_SECONDS`, those included that a restarted server has forgotten."""
        if not leases:
            return
        released = self._renewals[id(leases)] = set[str]()
        try:
            await self._run(scripts.RENEW, _keys(leases), str(LEASE_SECONDS), *(lease.holder for lease in leases))
        finally:
            del self._renewals[id(leases)]
        # The two may have met on their way: a place that was given back meanwhile is held again.
        late = [lease for lease in leases if lease.holder in released]
        if late:
            await self.release(late)

    async def ping(self) -> None:
        """Returns when the server that keeps the counts accepts a write."""
        await self._run(scripts.RELEASE, ())

    def reconnect(self) -> None:
        """Has no connection used again that is open now."""
        self._client.renew()

    @property
    def degraded(self) -> bool:
        return False

    async def aclose(self) -> None:
        await self._client.aclose()

    async def _run(self, script: Script, keys: Sequence[str], *values: str) -> Any:
        now = "" if self._clock is None else repr(self._clock())
        return await self._client.run(script, [scripts.NOTHING, *keys], now, *values)


def _keys(cells: Iterable[Cell]) -> list[str]:
    return [scripts.COUNTS + cell.key for cell in cells]


def _asked(cell: Cell) -> Iterator[str]:
    """A cell as TAKE reads it."""
    match cell:
        case Rate():
            yield from ("rate", repr(cell.limit), repr(cell.period), repr(cell.cost), "")
        case Lease():
            yield from ("lease", repr(cell.limit), cell.holder, "", "")
        case Sum():
            yield from ("sum", repr(cell.limit), repr(cell.cost), _number(cell.ends), _number(cell.period))


def _corrected(cell: Rate | Sum, difference: float, takes: int) -> Iterator[str]:
    """A correction as SETTLE reads it."""
    kind, ends = ("sum", cell.ends) if isinstance(cell, Sum) else ("rate", None)
    yield from (kind, repr(cell.limit), _number(cell.period), _number(ends))
    yield from (repr(cell.cost), repr(difference), repr(takes))


def _number(value: float | None) -> str:
    return "" if value is None else repr(value)


def _verdict(said: bytes) -> Verdict:
    refused, retry_after, reserved, *rest = said.split()
    return Verdict(
        refused=None if refused == b"-1" else int(refused),
        retry_after=float(retry_after),
        left=tuple(map(float, rest[::2])),
        reset=tuple(map(float, rest[1::2])),
        reserved=reserved == b"1",
    )
