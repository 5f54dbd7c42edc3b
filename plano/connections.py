"""Chooses the transport to a target: plano's own, httpx's for a proxy, or the demo provider in this process."""

from __future__ import annotations

import asyncio
import os
import ssl

from plano.config import Config
from plano.config.assemble import entry_of
from plano.config.settings import Tls
from plano.errors import ConfigError
from plano.provider import Target
from plano.routing.models import ModelIndex
from plano.testing import FakeProvider
from plano.transport import AsyncBaseTransport, HTTP1Transport, HTTPXSender, Sender, Transports, tls_context


class Connections:
    """The transports of one `Plano`, made on first use.

    Connections belong to the event loop they were opened on. An application that is called on another
    loop than before, as test clients do, gets new ones; those of the old loop ended with it.

    Args:
        config: the configuration.
        override: sends everything instead of these transports. The caller has to close it.

    Raises:
        ConfigError: a TLS file, a proxy or a package does not work.
    """

    def __init__(self, config: Config, override: Sender | AsyncBaseTransport | None) -> None:
        self._tls = config.tls
        if isinstance(override, AsyncBaseTransport) and not isinstance(override, HTTP1Transport):
            override = HTTPXSender(override)  # plano's own transport is also a Sender, and faster as one
        self._override = override
        self._demo = FakeProvider(keep=0, name=f"demo_{os.urandom(4).hex()}")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._transports = self._new()
        self._by_entry: dict[str, Sender] = {}
        if override is None:
            self._try(config)

    def sender_for(self, target: Target) -> Sender:
        """The sender for a target. All URLs of an entry are on one host, so it is looked up once per entry."""
        if self._override is not None:
            return self._override
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            if self._loop is not None:
                self._transports, self._by_entry = self._new(), {}
            self._loop = loop
        sender = self._by_entry.get(target.entry)
        if sender is None:
            sender = self._by_entry[target.entry] = self._find(target)
        return sender

    def counts(self) -> dict[str, tuple[int, int, int]]:
        """The numbers of open and idle connections, and of requests that wait for one, by origin."""
        if self._override is not None:
            return self._override.counts() if isinstance(self._override, HTTP1Transport) else {}
        return self._transports.counts()

    async def aclose(self) -> None:
        """Closes the connections, but not an `override`."""
        self._by_entry = {}
        await self._transports.aclose()

    def _find(self, target: Target) -> Sender:
        if target.provider.name == "demo":
            return self._demo
        url = next(iter(target.endpoints.values())).url
        return self._transports.sender(url, proxy=target.proxy, http2=target.http2)

    def _try(self, config: Config) -> None:
        """Raises at start-up what would fail the first request: TLS files, a proxy's URL, a missing package."""
        if self._tls != Tls():
            _context(self._tls)
        for said in config.providers:
            entry = entry_of(said)
            if entry.provider.name == "demo":
                continue
            any_model = "any" if entry.model == "*" else entry.model
            try:
                self._find(ModelIndex([entry]).resolve(f"{entry.provider.name}/{any_model}"))
            except ConfigError as error:
                raise ConfigError(f"model_providers: {entry.name}: {error}") from error

    def _new(self) -> Transports:
        tls = self._tls
        if tls == Tls():
            return Transports()
        return Transports(tls=lambda: _context(tls))


def _context(tls: Tls) -> ssl.SSLContext:
    return tls_context(ca_path=tls.ca_path, certificate=tls.certificate, key=tls.key)
