"""The choice of a transport for an upstream: plano's own, or httpx's for a proxy or HTTP/2."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from math import inf

import httpx

from plano.errors import ConfigError
from plano.transport.adapter import HTTPXSender
from plano.transport.aging import AgingTransport
from plano.transport.dial import KEEP_ALIVE
from plano.transport.http1 import HTTP1Transport
from plano.transport.pool import Limits
from plano.transport.sender import Sender
from plano.transport.tls import tls_context

_HTTP2_IDLE = 5.0
"""Seconds that an idle HTTP/2 connection is kept. httpx does not notice that a server has closed one, and the next
request would fail on it."""


class Transports:
    """Makes one sender for each proxy and protocol, on first use. Upstreams with the same ones share its connections.

    Args:
        limits: the limits of each origin's pool.
        tls: makes the TLS settings, once for each sender. Use `lambda: tls_context(ca_path=...)` for an authority of
            your own; the default trusts the usual ones.
        environ: the mapping that holds `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`.
    """

    def __init__(
        self,
        *,
        limits: Limits | None = None,
        tls: Callable[[], ssl.SSLContext] | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._limits = limits or Limits()
        self._tls = tls
        self._environ = environ
        self._made: dict[tuple[str | None, bool], Sender] = {}

    def sender(self, url: str, *, proxy: str | None = None, http2: bool = False) -> Sender:
        """The sender for requests to `url`: over `proxy`, else over the one the environment names, else direct.

        Raises:
            ConfigError: TLS files cannot be loaded, the proxy's URL cannot be used, or a package is not installed.
        """
        way = (proxy or proxy_for(url, self._environ), http2)
        sender = self._made.get(way)
        if sender is None:
            sender = self._made[way] = self._make(*way)
        return sender

    def counts(self) -> dict[str, tuple[int, int, int]]:
        """The numbers of connections open, idle and waited for, by origin; httpx does not tell its own."""
        return {
            origin: counts
            for sender in self._made.values()
            if isinstance(sender, HTTP1Transport)
            for origin, counts in sender.counts().items()
        }

    async def aclose(self) -> None:
        made, self._made = self._made, {}
        await asyncio.gather(*(sender.aclose() for sender in made.values()))

    def _make(self, proxy: str | None, http2: bool) -> Sender:
        if http2 and find_spec("h2") is None:
            raise ConfigError("HTTP/2 to an upstream needs the package `h2`: pip install 'httpx[http2]'.")
        tls = self._tls() if self._tls else None
        if proxy is None and not http2:
            return HTTP1Transport(limits=self._limits, tls=tls)
        try:
            return HTTPXSender(AgingTransport(self._httpx(proxy, http2, tls), max_age=self._limits.max_age))
        except ImportError as error:
            raise ConfigError(f"A package that this upstream needs is not installed: {error}") from error
        except (ValueError, httpx.InvalidURL) as error:
            # The URL may hold the proxy's password, and so may the error's text.
            raise ConfigError("The proxy's URL cannot be used: http, https or socks5, a host and a port.") from error

    def _httpx(
        self, proxy: str | None, http2: bool, tls: ssl.SSLContext | None
    ) -> Callable[[], httpx.AsyncBaseTransport]:
        return partial(
            httpx.AsyncHTTPTransport,
            verify=tls or tls_context(),
            http2=http2,
            proxy=proxy,
            trust_env=False,
            socket_options=KEEP_ALIVE,
            limits=httpx.Limits(
                max_connections=self._limits.max_open,
                max_keepalive_connections=self._limits.max_idle,
                keepalive_expiry=min(self._limits.idle_expiry, _HTTP2_IDLE if http2 else inf),
            ),
        )


def proxy_for(url: str, environ: Mapping[str, str]) -> str | None:
    """The proxy that the environment names for `url`, or None. Variables in lower case win, as in curl.

    A `NO_PROXY` entry is a host with all its subdomains, an address, a network (`10.0.0.0/8`), any of them
    with `:port`, or `*`.
    """
    parsed = httpx.URL(url)
    port = parsed.port or (443 if parsed.scheme == "https" else 80)
    if any(_excepts(entry, parsed.host, port) for entry in _variable(environ, "no_proxy").split(",")):
        return None
    proxy = _variable(environ, f"{parsed.scheme}_proxy") or _variable(environ, "all_proxy")
    if proxy and "://" not in proxy:
        proxy = f"http://{proxy}"
    return proxy or None


def _variable(environ: Mapping[str, str], name: str) -> str:
    # A CGI server turns a request's `Proxy:` header into HTTP_PROXY; plano is not run by one (httpoxy, CVE-2016-5385).
    return (environ.get(name) or environ.get(name.upper()) or "").strip()


def _excepts(entry: str, host: str, port: int) -> bool:
    entry = entry.strip().lower()
    if not entry or entry == "*":
        return entry == "*"
    with suppress(ValueError):
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry.strip("[]"), strict=False)
    name, _, wanted = entry.rpartition(":")
    if name and wanted.isdigit():
        return int(wanted) == port and _excepts(name, host, port)
    name = entry.removeprefix("*").removeprefix(".")
    return host.lower() == name or host.lower().endswith("." + name)
