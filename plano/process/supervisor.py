"""The parent of several workers: starts them, replaces one that died, passes reloads on, and stops them.

It reads the configuration and hands its text on, so a file that is broken later ends nothing, and no two workers serve
different models for longer than a reload takes. It waits for a worker as long as that takes to import, and learns from
the worker itself that it listens.
"""

from __future__ import annotations

import logging
import multiprocessing
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait
from types import FrameType

from plano.app import Plano
from plano.process.launch import Launch
from plano.process.reload import reload
from plano.process.server import handled
from plano.process.worker import FAILED, READY, work

logger = logging.getLogger("plano")

multiprocessing.allow_connection_pickling()
_spawn = multiprocessing.get_context("spawn")

LONGEST_PAUSE = 30.0
"""The most seconds until another worker is started in place of those that ended before they listened."""

_STOPS = (signal.SIGTERM, signal.SIGINT)
_HANGUP = getattr(signal, "SIGHUP", None)


class Worker:
    """A process, as its parent sees it.

    Attributes:
        ready: it has said that it listens.
    """

    def __init__(self, launch: Launch, sockets: list[socket.socket]) -> None:
        self.pipe, theirs = _spawn.Pipe()
        self.process = _spawn.Process(target=work, args=(launch, sockets, theirs), name="plano-worker")
        with _ignored(signal.SIGINT, _HANGUP):  # a terminal's would end it before it can ignore them itself
            self.process.start()
        theirs.close()
        self.ready = False

    def heard(self) -> str | None:
        """The next message; None if the worker has closed its end."""
        try:
            message: str = self.pipe.recv()
        except (EOFError, OSError):
            return None
        return message

    def tell(self, launch: Launch) -> None:
        """Has it serve another configuration. One that is ending does not hear it."""
        try:
            self.pipe.send(launch)
        except OSError:
            return


class Supervisor:
    """Keeps workers running until it is asked to stop.

    Args:
        launch: handed on to each worker.
        application: the same application in this process, which serves nothing; it checks reloads.
        sockets: bound, and not listening.
        started: called once, when every worker listens.
    """

    def __init__(
        self,
        launch: Launch,
        application: Plano,
        sockets: list[socket.socket],
        started: Callable[[], None],
    ) -> None:
        self._launch = launch
        self._application = application
        self._sockets = sockets
        self._on_started = started
        self._workers: list[Worker] = []
        self._failures = 0  # workers in a row that ended before they listened
        self._next_start = 0.0
        self._started = False
        self._signals: list[int] = []
        self._broken = False

    def run(self) -> int:
        """Runs until a signal ends it, or until the first workers cannot start. Returns the exit status."""
        numbers = [*_STOPS, *([_HANGUP] if _HANGUP and signal.getsignal(_HANGUP) is not signal.SIG_IGN else [])]
        with _woken() as alarm, handled(dict.fromkeys(numbers, self._note)):
            while not self._ending:
                self._fill()
                self._wait(alarm)
                self._obey()
            return self._stop(alarm)

    @property
    def _ending(self) -> bool:
        return self._broken or any(number in _STOPS for number in self._signals)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._signals.append(number)

    def _fill(self) -> None:
        """Starts workers until there are enough."""
        while len(self._workers) < self._launch.workers and time.monotonic() >= self._next_start:
            self._workers.append(Worker(self._launch, self._sockets))

    def _wait(self, alarm: socket.socket, seconds: float | None = None) -> None:
        """Waits until a worker says something or ends, or a signal comes."""
        if seconds is None and len(self._workers) < self._launch.workers:
            seconds = max(0.0, self._next_start - time.monotonic())
        pipes = {worker.pipe: worker for worker in self._workers}
        ready = wait([alarm, *pipes, *(worker.process.sentinel for worker in self._workers)], seconds)
        if alarm in ready:
            alarm.recv(4096)
        for pipe, worker in pipes.items():
            if pipe in ready:
                self._listen_to(worker)
        for worker in [worker for worker in self._workers if not worker.process.is_alive()]:
            self._lost(worker)

    def _listen_to(self, worker: Worker) -> None:
        message = worker.heard()
        if message is None:
            worker.process.join()  # it has ended, or is about to
        elif message == READY:
            worker.ready = True
            self._failures = 0
            if self._started:
                logger.info("worker %s listens", worker.process.pid)
            elif len(self._workers) == self._launch.workers and all(w.ready for w in self._workers):
                self._started = True
                self._on_started()
        elif message == FAILED:
            worker.process.terminate()

    def _lost(self, worker: Worker) -> None:
        self._workers.remove(worker)
        worker.pipe.close()
        if self._ending:
            return
        how = _how(worker.process.exitcode)
        if not self._started:
            logger.error("a worker %s before it listened, so the gateway does not start", how)
            self._broken = True
            return
        if not worker.ready:
            self._failures += 1
            self._next_start = time.monotonic() + min(2.0 ** (self._failures - 1), LONGEST_PAUSE)
        logger.warning("worker %s %s; another one takes its place", worker.process.pid, how)

    def _obey(self) -> None:
        """Does what the signals say, but for the end."""
        while _HANGUP in self._signals and not self._ending:
            self._signals.remove(_HANGUP)
            before, self._launch = self._launch, reload(self._launch, self._application.reload)
            if self._launch is not before:
                for worker in self._workers:
                    worker.tell(self._launch)

    def _stop(self, alarm: socket.socket) -> int:
        """Stops the workers, each of which drains; a second signal ends them at once."""
        for each in self._sockets:
            each.close()  # else it would still accept connections that nobody serves
        for worker in self._workers:
            worker.process.terminate()
        while self._workers and sum(number in _STOPS for number in self._signals) < 2:
            self._wait(alarm)
        hurried = bool(self._workers)
        for worker in self._workers:
            worker.process.kill()
            worker.process.join()
        return 1 if self._broken or hurried else 0


def _how(status: int | None) -> str:
    if status is not None and status < 0:
        return f"was ended by signal {-status}"
    return f"ended with status {status}"


@contextmanager
def _ignored(*numbers: int | None) -> Iterator[None]:
    with handled({signal.Signals(number): signal.SIG_IGN for number in numbers if number is not None}):
        yield


@contextmanager
def _woken() -> Iterator[socket.socket]:
    """A socket that can be read from once a signal has come, because waiting goes on after a signal (PEP 475)."""
    alarm, ours = socket.socketpair()
    alarm.setblocking(False)
    ours.setblocking(False)
    before = signal.set_wakeup_fd(ours.fileno())
    try:
        yield alarm
    finally:
        signal.set_wakeup_fd(before)
        alarm.close()
        ours.close()
