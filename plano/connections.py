"""Which transport reaches a target: plano's own, httpx's behind a proxy, or the demo provider in this process."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

from plano.config import Config
from plano.provider import Target
from plano.testing import FakeProvider
from plano.transport import AsyncBaseTransport, AsyncHTTPTransport, HTTP1Transport, HTTPXSender, Sender, tls_context


class Connections:
    """The transports of one `Plano`, made on first use.

    Connections belong to the event loop they were opened on. An application that is called from another
    loop than before (as test clients do) gets new ones; the old loop's are gone with it.

    Args:
        override: sends everything, in place of all of this. It is the caller's to close.
    """

    def __init__(self, config: Config, override: Sender | AsyncBaseTransport | None) -> None:
        self._config = config
        self._override = HTTPXSender(override) if isinstance(override, AsyncBaseTransport) else override
        self._loop: asyncio.AbstractEventLoop | None = None
        self._made: dict[str, Sender] = {}

    def sender_for(self, target: Target) -> Sender:
        if self._override is not None:
            return self._override
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop, self._made = loop, {}
        if target.provider.name == "demo":
            return self._sender("demo", lambda: FakeProvider(keep=0))
        proxy = target.proxy
        if proxy is not None:
            return self._sender(proxy, lambda: HTTPXSender(AsyncHTTPTransport(proxy=proxy, verify=self._tls())))
        return self._sender("", lambda: HTTP1Transport(tls=self._tls() if self._config.tls.ca_path else None))

    async def aclose(self) -> None:
        made, self._made = self._made, {}
        for sender in made.values():
            await sender.aclose()

    def _tls(self) -> ssl.SSLContext:
        return tls_context(ca_path=self._config.tls.ca_path)

    def _sender(self, key: str, make: Callable[[], Sender]) -> Sender:
        sender = self._made.get(key)
        if sender is None:
            sender = self._made[key] = make()
        return sender
