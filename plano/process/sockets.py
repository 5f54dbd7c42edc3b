"""The sockets that `plano up` listens on. They are bound before anything is said, so that a start fails in one line."""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence

from plano.errors import ConfigError

BACKLOG = 2048
"""The most connections that wait to be accepted, as uvicorn has it."""


def bound(host: str, port: int) -> list[socket.socket]:
    """Binds every address of `host`, all at one port. They accept nothing before a server listens.

    `::` takes IPv4 as well, also where the system's default is another (RFC 3493 section 5.3). A name may have several
    addresses; those that this machine does not have are left out if another one can be bound.

    Args:
        port: 0 for any free port.

    Raises:
        ConfigError: one line that says why not, and what helps.
    """
    found: list[socket.socket] = []
    failed: OSError | None = None
    for family, address in _addresses(host, port):
        try:
            found.append(_bind(family, address, found[0].getsockname()[1] if found else port))
        except OSError as error:
            if failed is None or error.errno == errno.EADDRINUSE:
                failed = error
    if failed is not None and (not found or failed.errno == errno.EADDRINUSE):
        for each in found:
            each.close()
        raise refused(host, port, failed)
    return found


def refused(host: str, port: int, error: OSError) -> ConfigError:
    """Says in one line why nothing can listen at an address."""
    if error.errno == errno.EADDRINUSE:
        other = port + 1 if port < 65535 else 0
        return ConfigError(
            f"another program listens on {host} port {port}. Stop it, or choose another port: `plano up --port {other}`"
        )
    reason = error.strerror or str(error)
    hint = _HINTS.get(error.errno or 0, "")
    return ConfigError(f"nothing can listen on {host} port {port}: {reason[:1].lower()}{reason[1:]}{hint}")


_HINTS = {
    errno.EADDRNOTAVAIL: ". `--host` must be an address of this machine; 127.0.0.1 is reached from here only, and "
    "0.0.0.0 from everywhere",
    errno.EACCES: ". Ports below 1024 need a privilege; `plano up --port 12000` needs none",
    errno.EAFNOSUPPORT: ". This machine has no IPv6; `plano up --host 0.0.0.0` takes IPv4",
}


def url_of(host: str, sockets: Sequence[socket.socket]) -> str:
    """A URL that reaches the sockets from this machine."""
    port = sockets[0].getsockname()[1]
    at = "127.0.0.1" if host in ("0.0.0.0", "::") else host
    return f"http://{f'[{at}]' if ':' in at else at}:{port}"


def _addresses(host: str, port: int) -> list[tuple[socket.AddressFamily, str]]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise ConfigError(
            f"nothing can listen on {host[:100]}: it is no address, and no name of this machine. "
            "`plano up --host 127.0.0.1` is reached from here only, and 0.0.0.0 from everywhere"
        ) from error
    return list(dict.fromkeys((family, str(address[0])) for family, _, _, _, address in found))


def _bind(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # asyncio sets it only where it made the socket
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, address != "::")
        made.bind((address, port))
    except OSError:
        made.close()
        raise
    return made
