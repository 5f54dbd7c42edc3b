"""Guards a gateway that listens on loopback and has no callers' keys: programs of this machine may ask, web pages from
elsewhere that happen to be open in its browser may not.

A browser shows where a request comes from in two header fields, neither of which a page can change:

- `Origin` goes with every POST (Fetch, section 3.2) and names the page that asks. Without CORS a page cannot read the
  answer, but it could spend what the answer costs.
- `Host` names what the page believes to ask. A page may have its own name point at 127.0.0.1 once it has loaded (DNS
  rebinding): then it asks its own origin, GET requests go without `Origin`, and it may read all answers.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from urllib.parse import urlsplit

from plano.types import RawHeaders

CONTAINERS = ("host.docker.internal", "host.containers.internal")
"""What containers call the machine that they run on. The domain `internal` is reserved, so no page comes from there."""

APPLICATIONS = ("app", "file", "tauri", "vscode-file", "vscode-webview")
"""Schemes of programs that show pages of their own. A browser sends none of them: a file opened there has the origin
`null`. Extensions of browsers have schemes too, and are refused: they come from elsewhere."""


def is_loopback(host: str) -> bool:
    """Whether an address, or a name, is this machine's own."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def objection(headers: RawHeaders) -> str | None:
    """Why a request with these headers is not answered, or None for one that is.

    One without `Host` (HTTP/1.0) comes from no browser.
    """
    named = dict(headers)
    host, origin = named.get(b"host"), named.get(b"origin")
    if host is not None and not _is_here(host):
        return (
            f"This gateway has no keys for callers, so it answers to names of this machine alone (localhost, "
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
