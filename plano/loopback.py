"""Who may ask a gateway that listens on loopback and has no callers' keys: what runs on this machine, and no web page
of elsewhere that happens to be open in its browser."""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from urllib.parse import urlsplit

from plano.errors import PermissionDenied


def is_loopback(host: str) -> bool:
    """Whether an address, or a name, is this machine's own."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def refuse_page(origin: bytes) -> None:
    """Raise PermissionDenied for the `Origin` of a web page that this machine does not serve itself.

    Browsers send it with every POST (Fetch, section 3.2), and no page can leave it out or change it. Without CORS a
    page cannot read the answer, but it could spend what the answer costs; one whose name was pointed at 127.0.0.1 after
    it had loaded could read it too. Programs with origins of their own kind (`vscode-webview:`) are no pages.
    """
    if _is_elsewhere(origin):
        raise PermissionDenied(
            f"A web page of {origin[:100].decode('latin-1')} may not use this gateway, which has no keys for callers. "
            "To serve pages, configure `auth: {keys: [...]}`."
        )


@lru_cache(maxsize=64)
def _is_elsewhere(origin: bytes) -> bool:
    try:
        parts = urlsplit(origin.decode("latin-1"))
        return parts.scheme in ("http", "https", "") and not is_loopback(parts.hostname or "")
    except ValueError:
        return True
