"""How a process of plano's own logs: JSON for machines, text for a terminal.

Only `plano up` calls `setup`. A service that mounts plano has its own logging, and plano's loggers (`plano`,
`plano.access`, `plano.bodies`) go where that says.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Literal, TextIO

import msgspec

from plano.access import Line, LineHandler
from plano.access import logger as access_logger
from plano.types import Secret

Format = Literal["auto", "json", "text"]

FLUSH_SECONDS = 0.1
"""How long a line may wait for others, so that a busy gateway writes many at once."""

TOGETHER = 32
"""Lines that are made at once: one after the other they take half the time that they take in between requests."""

_AT_ONCE = 4096
"""Characters. POSIX write(): so many bytes go into a pipe undivided (PIPE_BUF); lines are ASCII but for names."""

_encode = msgspec.json.Encoder(enc_hook=str).encode
_LEVELS = {logging.DEBUG: "debug", logging.INFO: "info"}
_SHORTEST_SECRET = 6


def setup(
    level: str, format: Format = "auto", *, secrets: Iterable[Secret] = (), stream: TextIO | None = None
) -> BatchHandler:
    """Log everything of this process to `stream` (standard error), uvicorn's own words included.

    Args:
        level: `debug`, `info`, `warning` or `error`.
        secrets: what must not appear, whatever an exception says.
    """
    stream = stream or sys.stderr
    terminal = stream.isatty()
    as_text = format == "text" or (format == "auto" and terminal)
    formatter = TextFormatter(secrets) if as_text else JSONFormatter(secrets)
    handler = BatchHandler(stream, formatter, FLUSH_SECONDS if not terminal else 0.0)
    for logger in (logging.getLogger(), access_logger):
        for old in [old for old in logger.handlers if isinstance(old, BatchHandler)]:
            logger.removeHandler(old)
        logger.addHandler(handler)
    access_logger.propagate = False
    logging.getLogger().setLevel(level.upper())
    atexit.register(handler.flush)
    return handler


class _Formatter(logging.Formatter):
    def __init__(self, secrets: Iterable[Secret]) -> None:
        super().__init__()
        revealed = {secret.reveal() for secret in secrets}
        self._secrets = sorted((text for text in revealed if len(text) >= _SHORTEST_SECRET), key=len, reverse=True)

    def line(self, level: int, created: float, line: Line) -> str:
        """A line of the access log."""
        raise AssertionError("each formatter has its own")

    def _without_secrets(self, text: str) -> str:
        for secret in self._secrets:
            if secret in text:
                text = text.replace(secret, "***")
        return text


class JSONFormatter(_Formatter):
    """One object a line: `time` (UTC), `level`, `logger`, `message`; an access line's fields; `exception`."""

    def __init__(self, secrets: Iterable[Secret] = ()) -> None:
        super().__init__(secrets)
        self._second = (0, "")
        self._head = (0, 0, "")

    def format(self, record: logging.LogRecord) -> str:
        if isinstance(record.msg, Line):
            return self.line(record.levelno, record.created, record.msg)
        found = {
            "time": self._time(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self._without_secrets(record.getMessage()),
        }
        if record.exc_info:
            found["exception"] = self._without_secrets(self.formatException(record.exc_info))
        return _encode(found).decode()

    def line(self, level: int, created: float, line: Line) -> str:
        now = int(created * 1000)
        moment, of, head = self._head
        if moment != now or of != level:  # many lines are of one millisecond
            head = f'{{"time":"{self._time(created)}","level":"{_LEVELS[level]}","logger":"plano.access",'
            self._head = now, level, head
        return head + _encode(line)[1:].decode()

    def _time(self, created: float) -> str:
        """UTC, to the millisecond. The second is the same for many lines."""
        second = int(created)
        if self._second[0] != second:
            self._second = (second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)))
        return f"{self._second[1]}.{int((created - second) * 1000):03d}Z"


class TextFormatter(_Formatter):
    """A line for people; below it a traceback, if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        text = self._head(record.created, record.levelname, record.name) + record.getMessage()
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return self._without_secrets(text)

    def line(self, level: int, created: float, line: Line) -> str:
        return self._head(created, logging.getLevelName(level), "plano.access") + str(line)

    def _head(self, created: float, level: str, name: str) -> str:
        return f"{time.strftime('%H:%M:%S', time.localtime(created))} {level:<7} {name}: "


class BatchHandler(LineHandler):
    """Writes lines together: `delay` seconds after the first one, and at once when it is a warning or worse.

    A line that is logged outside an event loop is written at once as well, for nothing would write it later.
    """

    def __init__(self, stream: TextIO, formatter: _Formatter, delay: float) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self._line = formatter.line
        self._stream = stream
        self._delay = delay
        self._lines: list[str] = []
        self._unmade: list[tuple[int, float, Callable[[], Line]]] = []
        self._waiting: asyncio.AbstractEventLoop | None = None

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._make()
            self._lines.append(self.format(record))
            if record.levelno >= logging.WARNING:
                self.flush()
            else:
                self._flush_soon()
        except Exception:
            self.handleError(record)

    def take(self, level: int, created: float, line: Callable[[], Line]) -> None:
        self._unmade.append((level, created, line))
        count = len(self._unmade)
        if count == 1:
            self._flush_soon()
        elif count >= TOGETHER:
            self._make()

    def flush(self) -> None:
        """Write what waits."""
        self.acquire()
        try:
            self._make()
            lines, self._lines = self._lines, []
            for text in _whole(lines):
                self._stream.write(text)
                self._stream.flush()
        finally:
            self.release()

    def _make(self) -> None:
        unmade, self._unmade = self._unmade, []
        self._lines += [self._line(level, created, line()) for level, created, line in unmade]

    def _flush_soon(self) -> None:
        try:
            loop = asyncio.get_running_loop() if self._delay else None
        except RuntimeError:
            loop = None
        if loop is None:
            self.flush()
        elif self._waiting is not loop:  # a loop that ended with a line waiting does not keep later ones
            self._waiting = loop
            loop.call_later(self._delay, self._flush_waiting)

    def _flush_waiting(self) -> None:
        self._waiting = None
        self.flush()


def _whole(lines: Iterable[str]) -> Iterator[str]:
    """The lines, several together, each piece short enough to be written in one go: what several processes write
    into one pipe or file is then not mixed within a line."""
    piece: list[str] = []
    size = 0
    for line in lines:
        if size + len(line) >= _AT_ONCE and piece:
            yield "\n".join([*piece, ""])
            piece, size = [], 0
        piece.append(line)
        size += len(line) + 1
    if piece:
        yield "\n".join([*piece, ""])
