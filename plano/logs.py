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
from collections.abc import Iterable
from typing import Any, Literal, TextIO

import msgspec

from plano.access import Line
from plano.types import Secret

Format = Literal["auto", "json", "text"]

FLUSH_SECONDS = 0.1
"""How long a line may wait for others, so that a busy gateway writes many at once."""

_encode = msgspec.json.Encoder(enc_hook=str).encode
_SHORTEST_SECRET = 6


def setup(level: str, format: Format = "auto", *, secrets: Iterable[Secret] = (), stream: TextIO | None = None) -> None:
    """Log everything of this process to `stream` (standard error), uvicorn's own words included.

    Args:
        level: `debug`, `info`, `warning` or `error`.
        secrets: what must not appear, whatever an exception says.
    """
    stream = stream or sys.stderr
    terminal = stream.isatty()
    as_text = format == "text" or (format == "auto" and terminal)
    formatter = TextFormatter(secrets) if as_text else JSONFormatter(secrets)
    handler = BatchHandler(stream, FLUSH_SECONDS if not terminal else 0.0)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    for old in [old for old in root.handlers if isinstance(old, BatchHandler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    atexit.register(handler.flush)


class _Formatter(logging.Formatter):
    def __init__(self, secrets: Iterable[Secret]) -> None:
        super().__init__()
        revealed = {secret.reveal() for secret in secrets}
        self._second = (0, "")
        self._secrets = sorted((text for text in revealed if len(text) >= _SHORTEST_SECRET), key=len, reverse=True)

    def _clock(self, created: float) -> str:
        """UTC to the second, which is the same for many lines."""
        now = int(created)
        if self._second[0] != now:
            self._second = (now, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)))
        return self._second[1]

    def _without_secrets(self, text: str) -> str:
        for secret in self._secrets:
            if secret in text:
                text = text.replace(secret, "***")
        return text


class JSONFormatter(_Formatter):
    """One object a line: `time` (UTC), `level`, `logger`, `message`; an access line's fields; `exception`."""

    def format(self, record: logging.LogRecord) -> str:
        found: dict[str, Any] = {
            "time": f"{self._clock(record.created)}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
        }
        if isinstance(record.msg, Line):
            found |= record.msg.fields
            return _encode(found).decode()
        found["message"] = self._without_secrets(record.getMessage())
        if record.exc_info:
            found["exception"] = self._without_secrets(self.formatException(record.exc_info))
        return _encode(found).decode()


class TextFormatter(_Formatter):
    """A line for people; below it a traceback, if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        line = f"{clock} {record.levelname:<7} {record.name}: {record.getMessage()}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return self._without_secrets(line)


class BatchHandler(logging.Handler):
    """Writes lines together: `delay` seconds after the first one, and at once when it is a warning or worse.

    A line that is logged outside an event loop is written at once as well, for nothing would write it later.
    """

    def __init__(self, stream: TextIO, delay: float) -> None:
        super().__init__()
        self._stream = stream
        self._delay = delay
        self._lines: list[str] = []
        self._waiting: asyncio.AbstractEventLoop | None = None

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._lines.append(self.format(record))
            if record.levelno >= logging.WARNING or not self._delay:
                self.flush()
            else:
                self._flush_soon()
        except Exception:
            self.handleError(record)

    def flush(self) -> None:
        """Write what waits."""
        self.acquire()
        try:
            lines, self._lines = self._lines, []
            if lines:
                self._stream.write("\n".join(lines) + "\n")
                self._stream.flush()
        finally:
            self.release()

    def _flush_soon(self) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.flush()
            return
        if self._waiting is not loop:  # a loop that ended with a line waiting does not keep later ones
            self._waiting = loop
            loop.call_later(self._delay, self._flush_waiting)

    def _flush_waiting(self) -> None:
        self._waiting = None
        self.flush()
