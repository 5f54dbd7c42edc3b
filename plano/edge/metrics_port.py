"""`/metrics` on a port of its own, and the directory in which workers count together."""

from __future__ import annotations

import os
import socket
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import uvicorn

from plano.edge.exposition import DIRECTORY, Exposition, named_directory
from plano.errors import ConfigError

_BACKLOG = 64
"""The most connections that wait to be accepted; a scraper opens few."""

IN_MEMORY = "/dev/shm"
"""Linux's file system in memory, which containers can write even if their root file system is read-only."""


class MetricsPort:
    """A server for metrics alone.

    Args:
        host, port: the address. The port listens at once; connections wait until the server starts.

    Raises:
        ConfigError: this address cannot be listened on.
    """

    def __init__(self, exposition: Exposition, host: str, port: int) -> None:
        self._sockets = [_listening(host, port)]
        config = uvicorn.Config(
            exposition,
            host=host,
            port=port,
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)

    async def start(self) -> None:
        """Serve in the running event loop."""
        self._server.config.load()
        self._server.lifespan = self._server.config.lifespan_class(self._server.config)
        await self._server.startup(self._sockets)

    async def stop(self) -> None:
        await self._server.shutdown(self._sockets)

    @contextmanager
    def in_thread(self) -> Iterator[None]:
        """Serve from a thread, for the supervising process of several workers, which has no event loop."""
        thread = threading.Thread(target=self._server.run, args=(self._sockets,), name="plano-metrics", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._server.should_exit = True
            thread.join(timeout=5)


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise ConfigError(f"metrics.port: nothing can listen on {host} port {port}: {error.strerror}") from error


@contextmanager
def shared_directory(folders: Sequence[str | None] = (None, IN_MEMORY)) -> Iterator[str]:
    """A directory in which only this process's children count, removed at the end.

    If the environment names one already, that one is used and kept.

    Args:
        folders: where it may be made, best first. None is the system's folder for temporary files.

    Raises:
        ConfigError: nothing can be written there.
    """
    given = named_directory()
    if given is not None:
        yield given
        return
    with _temporary_directory(folders) as directory:
        os.environ[DIRECTORY] = directory
        try:
            yield directory
        finally:
            del os.environ[DIRECTORY]


def _temporary_directory(folders: Sequence[str | None]) -> tempfile.TemporaryDirectory[str]:
    for folder in folders:
        with suppress(OSError):
            return tempfile.TemporaryDirectory(prefix="plano-metrics-", dir=folder, ignore_cleanup_errors=True)
    raise ConfigError(
        "several workers count in files that they share, and no folder for temporary files can be written. Name one "
        "with TMPDIR, or run one worker"
    )
