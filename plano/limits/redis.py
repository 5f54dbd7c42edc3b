"""Counts in Redis: one script call for a decision, exact over all processes that share the server."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeAlias

from plano.limits import redis_scripts as scripts
from plano.limits.cells import LEASE_SECONDS, Cell, Lease, Rate, Sum, Verdict
from plano.redis_client import RedisClient

Settlement: TypeAlias = tuple[Cell, float, int]
"""A cell with the reserved amount as its cost, the actual amount minus that, and the number of takes it corrects."""


class RedisCounts:
    """Counts in Redis, by the server's clock. The layout of the keys is in `plano.limits.redis_scripts`.

    Its methods raise one of `RedisClient.failures` where Redis cannot be used, and wait as long as the client does.
    `plano.limits.shared` puts a deadline and a substitute around it.

    Args:
        client: the connections.
        clock: Unix seconds, for tests; None for the server's own time, which all processes share.
    """

    def __init__(self, client: RedisClient, *, clock: Callable[[], float] | None = None) -> None:
        self.client = client
        self._clock = clock
        self._renewals: dict[int, set[str]] = {}

    async def take(self, cells: Sequence[Cell]) -> Verdict:
        """Takes all cells or none."""
        values = [value for cell in cells for value in _asked(cell)]
        return _verdict(await self._run(scripts.TAKE, (cell.key for cell in cells), str(LEASE_SECONDS), *values))

    async def settle(self, corrections: Sequence[tuple[Cell, float]]) -> None:
        """Corrects cells that were taken: for each the actual amount minus the reserved one."""
        await self.settle_all([(cell, difference, 1) for cell, difference in corrections])

    async def settle_all(self, settlements: Sequence[Settlement]) -> None:
        """Corrects cells of which each may sum up several takes of one key."""
        said = [each for each in settlements if not isinstance(each[0], Lease)]
        if said:
            values = [value for each in said for value in _corrected(*each)]
            await self._run(scripts.SETTLE, (cell.key for cell, *_ in said), *values)

    async def release(self, leases: Sequence[Lease]) -> None:
        """Gives places back."""
        for renewed in self._renewals.values():
            renewed.update(lease.holder for lease in leases)
        await self._run(scripts.RELEASE, *_places(leases))

    async def renew(self, leases: Sequence[Lease]) -> None:
        """Holds places for another `LEASE_SECONDS`, those included that a restarted server has forgotten."""
        released = self._renewals[id(leases)] = set[str]()
        keys, holders = _places(leases)[0], _places(leases)[1:]
        try:
            await self._run(scripts.RENEW, keys, str(LEASE_SECONDS), *holders)
        finally:
            del self._renewals[id(leases)]
        # The two may have met on their way: a place that was given back meanwhile is held again.
        late = [lease for lease in leases if lease.holder in released]
        if late:
            await self.release(late)

    async def ping(self) -> None:
        """Returns when the server that keeps the counts accepts a write."""
        await self._run(scripts.RELEASE, ())

    @property
    def degraded(self) -> bool:
        return False

    async def aclose(self) -> None:
        await self.client.aclose()

    async def _run(self, script: Any, keys: Iterable[str], *values: str) -> Any:
        now = "" if self._clock is None else repr(self._clock())
        return await self.client.run(script, [scripts.NOTHING, *(scripts.TAG + key for key in keys)], now, *values)


def _places(leases: Sequence[Lease]) -> tuple[Any, ...]:
    return ([lease.key for lease in leases], *(lease.holder for lease in leases))


def _asked(cell: Cell) -> Iterator[str]:
    """A cell as TAKE reads it."""
    match cell:
        case Rate():
            yield from ("rate", repr(cell.limit), repr(cell.period), repr(cell.cost), "")
        case Lease():
            yield from ("lease", repr(cell.limit), cell.holder, "", "")
        case Sum():
            yield from ("sum", repr(cell.limit), repr(cell.cost), _number(cell.ends), _number(cell.period))


def _corrected(cell: Cell, difference: float, takes: int) -> Iterator[str]:
    """A correction as SETTLE reads it."""
    assert not isinstance(cell, Lease), "a lease is released, not settled"
    ends = cell.ends if isinstance(cell, Sum) else None
    yield from ("rate" if isinstance(cell, Rate) else "sum", repr(cell.limit), _number(cell.period), _number(ends))
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
