"""Chooses the transport to a target: plano's own, httpx's for a proxy, or the demo provider in this process."""

from __future__ import annotations

import asyncio
import os
import ssl
from weakref import WeakSet

from plano.config import Config
from plano.config.assemble import entry_of
from plano.config.settings import Tls
from plano.errors import ConfigError
from plano.provider import Target
from plano.routing.models import ModelIndex
from plano.testing import FakeProvider
from plano.transport import AsyncBaseTransport, HTTP1Transport, HTTPXSender, Sender, Transports, tls_context


class Connections:
    """The transports of one `Plano`, made on first use. Generations with the same `tls` share them.

    Connections belong to the event loop they were opened on. An application that is called on another
    loop than before, as test clients do, gets new ones; those of the old loop ended with it.

    Args:
        override: sends everything instead of these transports. The caller has to close it.
    """

    def __init__(self, override: Sender | AsyncBaseTransport | None) -> None:
        if isinstance(override, AsyncBaseTransport) and not isinstance(override, HTTP1Transport):
            override = HTTPXSender(override)  # plano's own transport is also a Sender, and faster as one
        self._override = override
        self._demo = FakeProvider(keep=0, name=f"demo_{os.urandom(4).hex()}")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._transports: dict[Tls, Transports] = {}
        self._all: WeakSet[Senders] = WeakSet()

    def senders(self, config: Config) -> Senders:
        """The senders of a configuration's targets.

        Raises:
            ConfigError: a TLS file, a proxy or a package does not work.
        """
        made = Senders(self, config.tls, self._override)
        if self._override is None:
            self._try(config)
            self._all.add(made)
        return made

    def counts(self) -> dict[str, tuple[int, int, int]]:
        """The numbers of open and idle connections, and of requests that wait for one, by origin."""
        if self._override is not None:
            return self._override.counts() if isinstance(self._override, HTTP1Transport) else {}
        found: dict[str, tuple[int, int, int]] = {}
        for transports in self._transports.values():
            for origin, (open_, idle, waiting) in transports.counts().items():
                before = found.get(origin, (0, 0, 0))
                found[origin] = (before[0] + open_, before[1] + idle, before[2] + waiting)
        return found

    async def aclose(self) -> None:
        """Closes the connections, but not an `override`."""
        closing = list(self._transports.values())
        self._forget()
        await asyncio.gather(*(transports.aclose() for transports in closing))

    def find(self, target: Target, tls: Tls) -> Sender:
        """The sender for a target, made if there is none yet."""
        if target.provider.name == "demo":
            return self._demo
        transports = self._transports.get(tls)
        if transports is None:
            transports = self._transports[tls] = _transports(tls)
        url = next(iter(target.endpoints.values())).url
        return transports.sender(url, proxy=target.proxy, http2=target.http2)

    def on(self, loop: asyncio.AbstractEventLoop) -> None:
        """Forgets what belongs to another event loop than this one."""
        if loop is not self._loop:
            if self._loop is not None:
                self._forget()
            self._loop = loop

    def _forget(self) -> None:
        self._transports = {}
        for senders in self._all:
            senders.forget()

    def _try(self, config: Config) -> None:
        """Raises at start-up what would fail the first request: TLS files, a proxy's URL, a missing package."""
        if config.tls != Tls():
            _context(config.tls)
        for said in config.providers:
            entry = entry_of(said)
            if entry.provider.name == "demo":
                continue
            any_model = "any" if entry.model == "*" else entry.model
            try:
                self.find(ModelIndex([entry]).resolve(f"{entry.provider.name}/{any_model}"), config.tls)
            except ConfigError as error:
                raise ConfigError(f"model_providers: {entry.name}: {error}") from error


class Senders:
    """The senders of one configuration's targets, found on first use.

    A target's place names it, so an entry of the same name in another configuration has a sender of its own.
    """

    def __init__(self, connections: Connections, tls: Tls, override: Sender | None) -> None:
        self._connections = connections
        self._tls = tls
        self._override = override
        self._loop: asyncio.AbstractEventLoop | None = None
        self._by_place: dict[str, Sender] = {}

    def sender_for(self, target: Target) -> Sender:
        """The sender for a target. All URLs of a place are on one host, so it is looked up once for each."""
        if self._override is not None:
            return self._override
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._connections.on(loop)
            self._loop = loop
        sender = self._by_place.get(target.place)
        if sender is None:
            sender = self._by_place[target.place] = self._connections.find(target, self._tls)
        return sender

    def forget(self) -> None:
        """Forgets the senders, because they are closed or belong to another event loop."""
        self._by_place, self._loop = {}, None


def _transports(tls: Tls) -> Transports:
    return Transports() if tls == Tls() else Transports(tls=lambda: _context(tls))


def _context(tls: Tls) -> ssl.SSLContext:
    return tls_context(ca_path=tls.ca_path, certificate=tls.certificate, key=tls.key)
