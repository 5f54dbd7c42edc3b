"""How a process of plano's own logs: JSON for machines, text for a terminal.

Only `plano up` calls `setup`. A service that mounts plano has its own logging, and plano's loggers (`plano`,
`plano.access`, `plano.bodies`) go where that says.
"""

from __future__ import annotations

import asyncio
import logging
import re
import sys
import time
from collections.abc import Iterable
from typing import Any, Literal, TextIO

import msgspec

from plano.credentials.masking import Mask
from plano.observability.access import Line, LineHandler, Lines
from plano.observability.access import logger as access_logger
from plano.observability.log_writer import writer_to
from plano.types import Secret

Format = Literal["auto", "json", "text"]

FLUSH_SECONDS = 0.1
"""How long a line may wait for others, so that a busy gateway writes many at once."""

CLOSE_SECONDS = 1.0
"""How long the end of the process waits for whoever reads the log."""

_COMMA = ord(",")
_encoder = msgspec.json.Encoder(enc_hook=str)
_encode, _encode_into = _encoder.encode, _encoder.encode_into
_LEVELS = {logging.DEBUG: "debug", logging.INFO: "info"}

_CONTROLS = "\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069"
"""Of Unicode: C0 and C1, the separators of lines and paragraphs, and what turns the direction of text around. Tab and
line feed are missing; a traceback has them."""

_IN_TRACEBACK = re.compile(f"[{_CONTROLS}]")
_IN_LINE = re.compile(f"[{_CONTROLS}\t\n]")


def setup(
    level: str, format: Format = "auto", *, secrets: Iterable[Secret] = (), stream: TextIO | None = None
) -> BatchHandler:
    """Log everything of this process to `stream` (standard error), uvicorn's own words included.

    Nobody who logs waits for `stream`; see `plano.observability.log_writer`.

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
    return handler


def dropped() -> int:
    """How many lines of this process's log were dropped; nothing is where a host has its own logging."""
    return sum(handler.dropped for handler in logging.getLogger().handlers if isinstance(handler, BatchHandler))


class _Formatter(logging.Formatter):
    def __init__(self, secrets: Iterable[Secret]) -> None:
        super().__init__()
        self._without_secrets = Mask(secret.reveal() for secret in secrets).out_of_text

    def add(self, lines: bytearray, level: int, created: float, line: Line) -> None:
        """Add a line of the access log to others."""
        raise AssertionError("each formatter has its own")


class JSONFormatter(_Formatter):
    """One object a line: `time` (UTC), `level`, `logger`, `message`; an access line's fields; `exception`."""

    def __init__(self, secrets: Iterable[Secret] = ()) -> None:
        super().__init__(secrets)
        self._second = (0, "")
        self._head = (0, 0, b"")

    def format(self, record: logging.LogRecord) -> str:
        if isinstance(record.msg, Line):
            lines = bytearray()
            self.add(lines, record.levelno, record.created, record.msg)
            return lines[:-1].decode()
        found = {
            "time": self._time(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self._without_secrets(record.getMessage()),
        }
        if record.exc_info:
            found["exception"] = self._without_secrets(self.formatException(record.exc_info))
        return _encode(found).decode()

    def add(self, lines: bytearray, level: int, created: float, line: Line) -> None:
        now = int(created * 1000)
        moment, of, head = self._head
        if moment != now or of != level:  # many lines are of one millisecond
            head = f'{{"time":"{self._time(created)}","level":"{_LEVELS[level]}","logger":"plano.access"'.encode()
            self._head = now, level, head
        lines += head
        place = len(lines)
        _encode_into(line, lines, place)
        lines[place] = _COMMA  # in place of the brace that begins the object
        lines += b"\n"

    def _time(self, created: float) -> str:
        """UTC, to the millisecond. The second is the same for many lines."""
        second = int(created)
        if self._second[0] != second:
            self._second = (second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)))
        return f"{self._second[1]}.{int((created - second) * 1000):03d}Z"


class TextFormatter(_Formatter):
    """A line for people; below it a traceback, if there is one.

    Control characters are escaped, for a message may quote anybody: it can neither look like two lines nor steer a
    terminal.
    """

    def format(self, record: logging.LogRecord) -> str:
        message = _escaped(_IN_LINE, self._without_secrets(record.getMessage()))
        text = self._head(record.created, record.levelname, record.name) + message
        if record.exc_info:
            traceback = self._without_secrets(self.formatException(record.exc_info))
            text += "\n" + _escaped(_IN_TRACEBACK, traceback)
        return text

    def add(self, lines: bytearray, level: int, created: float, line: Line) -> None:
        text = self._head(created, logging.getLevelName(level), "plano.access") + _escaped(_IN_LINE, str(line))
        lines += text.encode(errors="backslashreplace") + b"\n"

    def _head(self, created: float, level: str, name: str) -> str:
        return f"{time.strftime('%H:%M:%S', time.localtime(created))} {level:<7} {name}: "


def _escaped(controls: re.Pattern[str], text: str) -> str:
    """The text with its control characters as in a Python string: `\\n`, `\\x1b`."""
    if text.isprintable():
        return text
    return controls.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


class BatchHandler(LineHandler):
    """Writes lines together: `delay` seconds after the first one, and at once when it is a warning or worse.

    A line that is logged outside an event loop is written at once as well, for nothing would write it later.

    Where the stream takes too little, lines are dropped; once it takes more, a line says how many.
    """

    def __init__(self, stream: TextIO, formatter: _Formatter, delay: float) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self._add = formatter.add
        self._writer = writer_to(stream)
        self._dropped = self._told = 0
        self._delay = delay
        self.batching = delay > 0
        self._lines = bytearray()
        self._waiting: asyncio.AbstractEventLoop | None = None

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._lines += self.format(record).encode(errors="backslashreplace") + b"\n"
            if record.levelno >= logging.WARNING:
                self.flush()
            else:
                self._flush_soon()
        except Exception:
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """A line that could not be made is told in the log: `logging` would write to standard error, and wait."""
        self._lines += self._said(logging.ERROR, "a line of the log could not be made", exc_info=sys.exc_info())
        self._flush_soon()

    def take(self, level: int, lines: Lines) -> None:
        """See `LineHandler`. A line that cannot be written raises, once the others are."""
        add, failed = self._add, None
        assert self.lock is not None, "made by logging.Handler"
        with self.lock:  # a warning of another thread may flush meanwhile
            written = self._lines
            for created, line in lines:
                size = len(written)
                try:
                    add(written, level, created, line)
                except Exception as error:
                    failed = error
                    del written[size:]  # half a line would spoil the next one
        self._flush_soon()
        if failed is not None:
            raise failed

    def flush(self) -> None:
        """Write what waits, or drop it."""
        assert self.lock is not None, "made by logging.Handler"
        with self.lock:
            lines, self._lines = self._lines, bytearray()
            if self._writer.full:
                self._dropped += lines.count(b"\n")
                return
            if self._told != self.dropped:
                lines = self._gap() + lines
            if lines:
                self._writer.write(lines)

    def close(self) -> None:
        """Called by `logging` when the process ends."""
        self.flush()
        self._writer.close(CLOSE_SECONDS)
        super().close()

    @property
    def dropped(self) -> int:
        """How many lines nobody will read."""
        return self._dropped + self._writer.lost

    def _gap(self) -> bytearray:
        """The line that says how many others are missing before it."""
        dropped = self.dropped
        missing, self._told = dropped - self._told, dropped
        return self._said(logging.WARNING, f"{missing} lines of the log were dropped: it was not read in time")

    def _said(self, level: int, message: str, **more: Any) -> bytearray:
        """A line of the log's own."""
        record = {"name": "plano", "levelno": level, "levelname": logging.getLevelName(level), "msg": message} | more
        return bytearray(self.format(logging.makeLogRecord(record)).encode(errors="backslashreplace") + b"\n")

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
