"""Guards a keyless loopback gateway: local programs may call it, web pages from other origins may not.

A browser shows the source of a request in two header fields that no page can change:

- `Origin` is sent with every POST (Fetch, section 3.2) and names the page. Without CORS the page could not read the
  answer, but it could make the gateway spend money.
- `Host` names the server that the page addresses. A page can let its own name point at 127.0.0.1 after it has loaded
  (DNS rebinding). Then the gateway is its own origin, GET requests have no `Origin`, and the page could read answers.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from urllib.parse import urlsplit

from plano.types import RawHeaders

CONTAINERS = ("host.docker.internal", "host.containers.internal")
"""The names by which containers reach the machine that they run on. The domain `internal` is reserved, so no web page
comes from there."""

APPLICATIONS = ("app", "file", "tauri", "vscode-file", "vscode-webview")
"""Schemes of programs that show pages of their own. No browser sends one of them, since a file that is opened in a
browser has the origin `null`. Browser extensions have schemes too, but are refused because they come from elsewhere."""


def is_loopback(host: str) -> bool:
    """Whether an address, or a name, is this machine's own."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def objection(headers: RawHeaders) -> str | None:
    """Says why a request with these headers is refused; None if it is allowed.

    A request without `Host` (HTTP/1.0) does not come from a browser.
    """
    named = dict(headers)
    host, origin = named.get(b"host"), named.get(b"origin")
    if host is not None and not _is_here(host):
        return (
            f"This gateway has no keys for callers, so it only answers to names of this machine (localhost, "
            f"127.0.0.1), and not to {_shown(host)}. To use another name, configure `auth: {{keys: [...]}}`; "
            "a proxy on this machine may send `Host: localhost` instead."
        )
    if origin is not None and not _may_ask(origin):
        return (
            f"A web page of {_shown(origin)} may not use this gateway, which has no keys for callers. "
            "To serve pages, configure `auth: {keys: [...]}`."
        )
    return None


@lru_cache(maxsize=64)
def _is_here(host: bytes) -> bool:
    try:
        name = urlsplit(f"//{host.decode('latin-1')}").hostname or ""
    except ValueError:
        return False
    return is_loopback(name) or name in CONTAINERS


@lru_cache(maxsize=64)
def _may_ask(origin: bytes) -> bool:
    try:
        parts = urlsplit(origin.decode("latin-1"))
        return parts.scheme in APPLICATIONS or (parts.scheme in ("http", "https") and is_loopback(parts.hostname or ""))
    except ValueError:
        return False


def _shown(value: bytes) -> str:
    return value[:100].decode("latin-1")
