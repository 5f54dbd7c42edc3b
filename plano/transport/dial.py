"""Connects sockets to hosts by name: a look-up in a thread, then Happy Eyeballs (RFC 8305)."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import chain, zip_longest
from typing import Any, TypeAlias

from plano.transport.errors import exhausted

Address: TypeAlias = tuple[int, Any]
"""An address family, and the address that `socket.connect` takes."""

Resolve: TypeAlias = Callable[[str, int], Awaitable[list[Address]]]

ATTEMPT_DELAY = 0.25
"""Seconds before the next address is tried beside one that has not answered (RFC 8305 section 5)."""

_PROBES = {"TCP_KEEPIDLE": 30, "TCP_KEEPALIVE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}
"""Seconds of silence before the first probe (Linux, then macOS), seconds between two, and how many may be lost. The
systems' own default is to begin after two hours (RFC 9293 section 3.8.4)."""

KEEP_ALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *((socket.IPPROTO_TCP, getattr(socket, name), value) for name, value in _PROBES.items() if hasattr(socket, name)),
)
"""Socket options. A model may think for minutes. Without probes, a NAT on the way would silently forget the connection,
and nobody would notice a network that is gone."""


async def resolve(host: str, port: int) -> list[Address]:
    """The addresses of a host in the system's order, best first. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [(family, address) for family, _, _, _, address in found]


class Directory:
    """The addresses of one host. Connections that are made at the same time or shortly after share one look-up."""

    def __init__(self, host: str, port: int, resolve: Resolve, age: float) -> None:
        self._age = age  # seconds for which addresses are used
        self._host = host
        self._port = port
        self._resolve = resolve
        self._asking = asyncio.Lock()
        self._found: list[Address] = []
        self._until = 0.0

    async def addresses(self) -> list[Address]:
        """The addresses, best first. Raises OSError."""
        async with self._asking:
            now = asyncio.get_running_loop().time()
            if now >= self._until:
                self._found = await self._resolve(self._host, self._port)
                self._until = now + self._age
            return self._found

    def forget(self) -> None:
        """Make the next caller look the addresses up again, because these failed."""
        self._until = 0.0


async def open_socket(addresses: Iterable[Address], *, delay: float = ATTEMPT_DELAY) -> socket.socket:
    """Connects to the first address that answers, a new one joining the race every `delay` seconds.

    Afterwards, also after cancellation, no socket but the winner's is open and no task goes on. If all addresses fail,
    this raises the first OSError that comes from the host itself.
    """
    waiting = deque(interleaved(addresses))
    if len(waiting) == 1:
        return await _connect(waiting[0])
    racing: set[asyncio.Task[socket.socket]] = set()
    failures: list[BaseException] = []
    winner: socket.socket | None = None
    try:
        while waiting or racing:
            if waiting:
                racing.add(asyncio.ensure_future(_connect(waiting.popleft())))
            await asyncio.wait(racing, timeout=delay if waiting else None, return_when=asyncio.FIRST_COMPLETED)
            for task in [task for task in racing if task.done()]:
                racing.discard(task)
                failure = task.exception()
                if failure is None:
                    winner = task.result()
                    return winner
                failures.append(failure)
    finally:
        await call_off(racing, winner)
    if not failures:
        raise OSError("the host has no address")
    failures = [telling(failures)]
    raise failures.pop()  # an error that is raised must not be held here


def telling(failures: Sequence[BaseException]) -> BaseException:
    """The first failure that is the host's own, such as a refusal by one address where another cannot be reached."""
    return next((failure for failure in failures if not exhausted(failure)), failures[0])


def interleaved(addresses: Iterable[Address]) -> list[Address]:
    """The addresses with families in turns, the first address's family first (RFC 8305 section 4)."""
    by_family: dict[int, list[Address]] = {}
    for address in addresses:
        by_family.setdefault(address[0], []).append(address)
    return [address for address in chain.from_iterable(zip_longest(*by_family.values())) if address is not None]


async def _connect(address: Address) -> socket.socket:
    family, where = address
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for option in KEEP_ALIVE:
            sock.setsockopt(*option)
        await asyncio.get_running_loop().sock_connect(sock, where)
    except BaseException:
        sock.close()
        raise
    return sock


async def call_off(racing: set[asyncio.Task[socket.socket]], winner: socket.socket | None) -> None:
    """Ends the attempts that are no longer needed, also those that were about to win."""
    for task in racing:
        task.cancel()
    try:
        for outcome in await asyncio.gather(*racing, return_exceptions=True):
            if isinstance(outcome, socket.socket):
                outcome.close()
    except asyncio.CancelledError:
        if winner is not None:
            winner.close()
        raise
