"""Addresses to listen on: IPv4, IPv6, or a name of this machine."""

from __future__ import annotations

import ipaddress
import re

from plano.config.showing import shown

_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*\.?")
_WITH_PORT = re.compile(r"(\[[^\]]*\]|[^:\[\]]*):\d+")


def bare_address(address: str) -> str:
    """An address without the brackets that IPv6 has in URLs."""
    return address[1:-1] if address.startswith("[") and address.endswith("]") else address


def wrong_address(address: str) -> str | None:
    """Says why nothing can listen on an address; None if it is an IP address, or may be a name of this machine."""
    bare = bare_address(address)
    try:
        ipaddress.ip_address(bare)
    except ValueError:
        pass
    else:
        return None
    if "://" in address or "/" in address:
        return f"must be an IP address or a host name such as `127.0.0.1`, not the URL {shown(address)}"
    if _WITH_PORT.fullmatch(address):
        return f"must be an address alone; {shown(address)} has a port, which goes into `port`"
    last = bare.rstrip(".").rpartition(".")[2]
    if _NAME.fullmatch(bare) is None or last.isdigit():  # RFC 1123 section 2.1: digits at the end are an address
        return f"must be an IP address or a host name such as `127.0.0.1`, not {shown(address)}"
    return None
