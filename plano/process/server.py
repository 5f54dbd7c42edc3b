"""Serves in one process, with uvicorn's server and plano's own connections, and drains and reloads on signals.

serving ──SIGTERM, SIGINT──▶ draining ──`drain.delay`──▶ closing ──`drain.timeout`──▶ last words ──▶ over
   │ ▲                          │ /readyz: 503              │ accepts nothing;              │ a stream ends in its
   └─┘ reload                   │ connection: close         │ what runs goes on             │ API's error event
                                └───────────────────────────┴──── a second signal ──────────▶

"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

import uvicorn

from plano.app import Plano
from plano.config import Config
from plano.edge.metrics_port import MetricsPort
from plano.process.launch import Launch
from plano.process.reload import reload
from plano.process.sockets import BACKLOG
from plano.server import Connection

logger = logging.getLogger("plano")

LAST_WORDS_SECONDS = 2.0
"""Seconds in which what is ended writes its last event, and what follows from that is counted, stored and closed."""

_TICK = 0.05


class Server(uvicorn.Server):
    """Serves an application until it is asked to stop.

    Args:
        launch: read again at a reload.
        started: called once it listens.
        metrics: the server for metrics alone, if there is one.

    Attributes:
        hurried: it was asked twice to end, so it did not wait for what was running.
    """

    def __init__(
        self,
        application: Plano,
        launch: Launch,
        *,
        started: Callable[[], None],
        metrics: MetricsPort | None = None,
    ) -> None:
        super().__init__(uvicorn.Config(application, **options(application.config)))
        self._application = application
        self._launch = launch
        self._on_started = started
        self._metrics = metrics
        self.hurried = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._reloading = threading.Lock()

    # -- The start --

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        if self._metrics is not None:
            await self._metrics.start()
        await super().startup(sockets)
        if self.started:
            self._on_started()

    # -- Signals --

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handles signals while it runs. uvicorn raises them again at the end, but to stop on request is a success."""
        with handled(self.signals()):
            yield

    def signals(self) -> Mapping[signal.Signals, Callable[[int, FrameType | None], Any]]:
        """The handlers by signal. SIGHUP has none if it is ignored already, as it is under nohup."""
        stop = {signal.SIGTERM: self.handle_exit, signal.SIGINT: self.handle_exit}
        if not hasattr(signal, "SIGHUP") or signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
            return stop
        return {**stop, signal.SIGHUP: lambda number, frame: self.reload_soon()}

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Asks for the end; the second time, for the end at once."""
        self._application.drain()
        self._nobody_stays()
        self.hurried = self.force_exit = self.should_exit
        self.should_exit = True

    # -- Reload --

    def reload_soon(self) -> None:
        """Reads the configuration again in a thread, so that streams go on meanwhile."""
        threading.Thread(target=self._reload, name="plano-reload", daemon=True).start()

    def _reload(self) -> None:
        with self._reloading:
            self._launch = reload(self._launch, self.serve_config)

    def serve_config(self, config: Config) -> tuple[str, ...]:
        """Calls `Plano.reload` in the thread of the event loop. Call this in any other thread."""
        assert self._loop is not None, "called once it has started"
        return asyncio.run_coroutine_threadsafe(self._replace(config), self._loop).result()

    async def _replace(self, config: Config) -> tuple[str, ...]:
        return self._application.reload(config)

    # -- The end --

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drains, as drawn above, and then ends the application."""
        drain = self._application.config.drain
        await self._until(self._nobody_stays, drain.delay)
        for server in self.servers:
            server.close()
        for each in sockets or ():
            each.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        if self.server_state.tasks:
            logger.info("stopping: %s running requests have %g seconds", len(self.server_state.tasks), drain.timeout)
        await self._until(self._idle, drain.timeout)
        if not self._idle():
            await self._end_requests()
        await self.lifespan.shutdown()
        if self._metrics is not None:
            await self._metrics.stop()

    def _nobody_stays(self) -> bool:
        """Has every connection close after its next response. Others may come as long as it listens, so it is never
        done."""
        for connection in list(self.server_state.connections):
            connection.drain()  # type: ignore[union-attr]
        return False

    def _idle(self) -> bool:
        return not self.server_state.connections and not self.server_state.tasks

    async def _end_requests(self) -> None:
        tasks = list(self.server_state.tasks)
        if tasks:
            logger.warning("%s requests were ended, because they ran when the gateway had to stop", len(tasks))
        for task in tasks:
            task.cancel()
        self.force_exit = False  # the last words are waited for in any case
        await self._until(self._idle, LAST_WORDS_SECONDS)

    async def _until(self, done: Callable[[], bool], seconds: float) -> None:
        """Waits until something is so, for some seconds at most, or until a second signal comes."""
        end = time.monotonic() + seconds
        while not done() and time.monotonic() < end and not self.force_exit:  # noqa: ASYNC110 - uvicorn has no event
            await asyncio.sleep(_TICK)


def options(config: Config) -> dict[str, Any]:
    """uvicorn's options. The sockets come from `plano.process.sockets`."""
    return {
        "backlog": BACKLOG,
        "http": Connection,
        "ws": "none",
        "log_level": "debug" if config.log_level == "debug" else "warning",
        "log_config": None,
        "access_log": False,
        "proxy_headers": False,
        "server_header": False,
        "timeout_keep_alive": 75,
    }


@contextmanager
def handled(handlers: Mapping[signal.Signals, Any]) -> Iterator[None]:
    """Handles signals by these functions for a while."""
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
