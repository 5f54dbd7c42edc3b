"""Threads that own SQLite connections, fed by queues: the event loop never waits for a disk."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Any, TypeAlias, TypeVar

T = TypeVar("T")
Connect: TypeAlias = Callable[[], "FileConnection"]
Work: TypeAlias = Callable[[sqlite3.Connection], T]
Job: TypeAlias = tuple[Future[Any], Work[Any]]
Perform: TypeAlias = Callable[[sqlite3.Connection, list[Job]], None]


class FileConnection(sqlite3.Connection):
    """A connection that knows which file it opened."""

    path = ""
    file: tuple[int, int] | None = None

    def note_file(self, path: str) -> None:
        """Remembers the file that is at `path` now."""
        self.path = path
        self.file = _file_at(path)

    @property
    def leads_on(self) -> bool:
        """Whether that file is still there. In one that was deleted or replaced, SQLite goes on reading and writing as
        if nothing had happened, and nobody would find it again."""
        return _file_at(self.path) == self.file


def _file_at(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


class Threads:
    """`count` threads, each with a connection, that take jobs from one queue, up to `batch` at a time.

    The threads start with the first job, so a process may fork before that. They are daemons: a process that ends
    without `close` loses nothing that was acknowledged. A job whose future is cancelled before its turn is not run.
    """

    def __init__(self, connect: Connect, perform: Perform, *, count: int, batch: int) -> None:
        self._connect = connect
        self._perform = perform
        self._count = count
        self._batch = batch
        self._queue: SimpleQueue[Job | None] = SimpleQueue()
        self._threads: list[Thread] = []
        self._lock = Lock()

    def submit(self, work: Work[T]) -> Future[T]:
        """Queues a job. The future raises what the job raises, and sqlite3.Error or OSError for the connection."""
        if not self._threads:
            self._start()
        future: Future[T] = Future()
        self._queue.put((future, work))
        return future

    def close(self) -> None:
        """Finishes the queued jobs and closes the connections. Blocks, so call it off the event loop."""
        with self._lock:
            threads, self._threads = self._threads, []
        for _ in threads:
            self._queue.put(None)
        for thread in threads:
            thread.join()

    def _start(self) -> None:
        with self._lock:
            if self._threads:
                return
            self._threads = [
                Thread(target=self._serve, name="plano-state-sqlite", daemon=True) for _ in range(self._count)
            ]
            for thread in self._threads:
                thread.start()

    def _serve(self) -> None:
        connection: FileConnection | None = None
        open_for_jobs = True
        while open_for_jobs:
            jobs, open_for_jobs = self._take()
            if not jobs:
                continue
            try:
                if connection is not None and not connection.leads_on:
                    connection.close()
                    connection = None
                connection = connection or self._connect()
                self._perform(connection, jobs)
            except (sqlite3.Error, OSError) as error:
                # A connection that failed is not trusted again; the next job opens another.
                for future, _ in jobs:
                    if not future.done():
                        future.set_exception(error)
                if connection is not None:
                    connection.close()
                    connection = None
        if connection is not None:
            connection.close()

    def _take(self) -> tuple[list[Job], bool]:
        """Waits for a job and takes the others that are queued. The flag is False when the thread must end."""
        jobs: list[Job] = []
        job = self._queue.get()
        while job is not None:
            if job[0].set_running_or_notify_cancel():
                jobs.append(job)
            if len(jobs) >= self._batch:
                return jobs, True
            try:
                job = self._queue.get_nowait()
            except Empty:
                return jobs, True
        return jobs, False


def read(connection: sqlite3.Connection, jobs: list[Job]) -> None:
    """Runs each job by itself."""
    for future, work in jobs:
        try:
            result = work(connection)
        except sqlite3.Error:
            raise
        except Exception as error:
            future.set_exception(error)
        else:
            future.set_result(result)


def write(connection: sqlite3.Connection, jobs: list[Job]) -> None:
    """Runs all jobs in one transaction, so that they share one sync of the disk, and answers them when it is
    committed. A job that fails is undone; the others are not."""
    answers: list[Callable[[], None]] = []
    connection.execute("BEGIN IMMEDIATE")
    try:
        for future, work in jobs:
            answers.append(_attempt(connection, future, work))
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    for answer in answers:
        answer()


def _attempt(connection: sqlite3.Connection, future: Future[Any], work: Work[Any]) -> Callable[[], None]:
    connection.execute("SAVEPOINT job")
    try:
        result = work(connection)
    except Exception as error:
        connection.execute("ROLLBACK TO job")
        connection.execute("RELEASE job")
        failure = error
        return lambda: future.set_exception(failure)
    connection.execute("RELEASE job")
    return lambda: future.set_result(result)
