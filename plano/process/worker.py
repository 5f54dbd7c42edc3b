"""A worker of several: serves the sockets that it was given, and obeys the process that started it."""

from __future__ import annotations

import logging
import multiprocessing
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing.connection import Connection as Pipe
from types import FrameType
from typing import Any

from plano.app import Plano
from plano.errors import ConfigError
from plano.process.launch import Launch, adjust_logs, set_up_logs
from plano.process.memory import tune_memory
from plano.process.server import Server

logger = logging.getLogger("plano")

READY = "ready"
FAILED = "failed"

CANNOT_START = 3
"""The exit status of a worker that could not start, as uvicorn has it."""


def work(launch: Launch, sockets: list[socket.socket], pipe: Pipe) -> None:
    """Serves until told to stop. The parent sends a `Launch` to be served from now on; the worker answers with `READY`
    once it listens, and with `FAILED` if it could not take one in."""
    for number in (signal.SIGINT, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])):
        signal.signal(number, signal.SIG_IGN)  # a terminal sends them to the parent too, which says what to do
    try:
        config = launch.config()
        set_up_logs(config)
        application = Plano(config, open=True)
    except ConfigError as error:
        for problem in error.problems:
            logger.error("%s", problem)
        sys.exit(CANNOT_START)
    tune_memory()
    _Worker(application, launch, pipe).run(sockets)


class _Worker(Server):
    def __init__(self, application: Plano, launch: Launch, pipe: Pipe) -> None:
        super().__init__(application, launch, started=self._listens)
        self._pipe = pipe

    def _listens(self) -> None:
        with suppress(OSError):  # the parent may be gone already
            self._pipe.send(READY)
        threading.Thread(target=self._obey, name="plano-parent", daemon=True).start()

    def signals(self) -> Mapping[signal.Signals, Callable[[int, FrameType | None], Any]]:
        return {signal.SIGTERM: self.handle_exit}

    def _obey(self) -> None:
        """Takes in what the parent sends, until the parent is gone. A parent that was killed cannot ask to stop."""
        try:
            while True:
                self._take_in(self._pipe.recv())
        except (EOFError, OSError):
            if not self.should_exit:
                parent = multiprocessing.parent_process()
                pid = None if parent is None else parent.pid
                logger.warning("process %s, which started this worker, is gone; the worker ends", pid)
                signal.raise_signal(signal.SIGTERM)

    def _take_in(self, launch: Launch) -> None:
        try:
            config = launch.config()
            self.serve_config(config)
        except ConfigError as error:
            for problem in error.problems:
                logger.error("this worker ends and another one starts, because it cannot reload: %s", problem)
            self._pipe.send(FAILED)
        else:
            adjust_logs(config)
