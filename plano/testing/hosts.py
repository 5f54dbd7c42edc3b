"""Several fake providers behind one transport, for tests of failover."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from plano.errors import UpstreamUnavailable
from plano.runtime.clock import REAL, Clock
from plano.testing.playback import FakeExchange
from plano.testing.provider import FakeProvider
from plano.transport import Outgoing


class FakeHosts:
    """A transport to several fake providers, which are told apart by the host of their entry's `base_url`.

        hosts = FakeHosts("first", "second")
        hosts["first"].fail(503)
        hosts["second"].reply("I am here.")
        gateway = Plano(config, transport=hosts)    # entries with `base_url: http://first` and `http://second`

    Args:
        names: the hosts.
        clock: the time by which delays pass: the machine's, or a `FakeClock`.

    Attributes:
        down: hosts that refuse connections.
        calls: the hosts that were asked, in order; those that are down too.
    """

    def __init__(self, *names: str, clock: Clock = REAL) -> None:
        self._providers = {name: FakeProvider(name=name, clock=clock) for name in names}
        self.down: set[str] = set()
        self.calls: list[str] = []

    def __getitem__(self, host: str) -> FakeProvider:
        return self._providers[host]

    def __iter__(self) -> Iterator[str]:
        return iter(self._providers)

    async def send(self, request: Outgoing) -> FakeExchange:
        """Answer a transport's request.

        Raises:
            UpstreamUnavailable: the host is down or unknown.
        """
        host = urlsplit(request.url).hostname or ""
        self.calls.append(host)
        if host in self.down or host not in self._providers:
            raise _refusal()
        return await self._providers[host].send(request)

    async def aclose(self) -> None:
        """Do nothing, because nothing is held. The hosts can be used again."""


def _refusal() -> UpstreamUnavailable:
    """The error of a connection that was refused, so that nothing was sent."""
    error = UpstreamUnavailable("The upstream could not be reached.")
    error.sent = False
    return error
