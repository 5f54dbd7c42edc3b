"""Logging of plano's own process: JSON for machines, text for a terminal.

Only `plano up` calls `setup`. A service that mounts plano configures its own logging, also for plano's loggers
(`plano`, `plano.access`, `plano.bodies`).
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
"""Seconds that a line may wait for others, so that a busy gateway writes many at once."""

CLOSE_SECONDS = 1.0
"""Seconds that the process waits at its end for the last lines to be written."""

_COMMA = ord(",")
_encoder = msgspec.json.Encoder(enc_hook=str)
_encode, _encode_into = _encoder.encode, _encoder.encode_into
_LEVELS = {logging.DEBUG: "debug", logging.INFO: "info"}

_CONTROLS = "\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069"
"""Unicode's C0 and C1, its separators of lines and paragraphs, and its characters that change the direction of text.
Tab and line feed are missing because tracebacks have them."""

_IN_TRACEBACK = re.compile(f"[{_CONTROLS}]")
_IN_LINE = re.compile(f"[{_CONTROLS}\t\n]")


def setup(
    level: str, format: Format = "auto", *, secrets: Iterable[Secret] = (), stream: TextIO | None = None
) -> BatchHandler:
    """Sends all logs of this process, uvicorn's included, to `stream`.

    No log call waits for `stream`; see `plano.observability.log_writer`.

    Args:
        level: `debug`, `info`, `warning` or `error`.
        format: `auto` is text on a terminal and JSON elsewhere.
        secrets: credentials that are masked in messages and tracebacks.
        stream: the destination; None for standard error.
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


def adjust(level: str, secrets: Iterable[Secret]) -> None:
    """Changes the level of what `setup` has set up, if it has, and masks more credentials. Those of before stay masked,
    because requests that began with them still run."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, BatchHandler):
            logging.getLogger().setLevel(level.upper())
            handler.hide(secrets)


def dropped() -> int:
    """The number of dropped lines of this process's log; always 0 if the host application has its own logging."""
    return sum(handler.dropped for handler in logging.getLogger().handlers if isinstance(handler, BatchHandler))


class _Formatter(logging.Formatter):
    def __init__(self, secrets: Iterable[Secret]) -> None:
        super().__init__()
        self._secrets: set[Secret] = set()
        self.hide(secrets)

    def hide(self, secrets: Iterable[Secret]) -> None:
        """Masks these credentials too from now on."""
        self._secrets |= set(secrets)
        self._without_secrets = Mask(secret.reveal() for secret in self._secrets).out_of_text

    def add(self, lines: bytearray, level: int, created: float, line: Line) -> None:
        """Appends a line of the access log to `lines`."""
        raise AssertionError("each formatter defines its own")


class JSONFormatter(_Formatter):
    """Writes each record as one line of JSON: `time` (UTC), `level`, `logger`, and then `message` and `exception`, or
    the fields of an access line."""

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
        lines[place] = _COMMA  # replaces the brace that begins the object
        lines += b"\n"

    def _time(self, created: float) -> str:
        """A time in UTC to the millisecond. The text of the second is kept, because many lines share it."""
        second = int(created)
        if self._second[0] != second:
            self._second = (second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)))
        return f"{self._second[1]}.{int((created - second) * 1000):03d}Z"


class TextFormatter(_Formatter):
    """Writes each record as a line for people, with its traceback below.

    Control characters are escaped because a message may quote a client. So it can neither look like two lines nor
    control a terminal.
    """

    def format(self, record: logging.LogRecord) -> str:
        message = _escaped(_IN_LINE, self._without_secrets(record.getMessage()))
        text = self._head(record.created, record.levelname, record.name) + message
        if record.exc_info:
            traceback = self._without_secrets(self.formatException(record.exc_info))
            text += "\n" + _escaped(_IN_TRACEBACK, traceback)
        return text

    def add(self, lines: bytearray, level: int, created: float, line: Line) -> None:
        text = self._head(created, logging.getLevelName(level), "plano.access") + _escaped(_IN_LINE, line.short())
        lines += text.encode(errors="backslashreplace") + b"\n"

    def _head(self, created: float, level: str, name: str) -> str:
        return f"{time.strftime('%H:%M:%S', time.localtime(created))} {level:<7} {name}: "


def _escaped(controls: re.Pattern[str], text: str) -> str:
    """Writes control characters as a Python string does: `\\n`, `\\x1b`."""
    if text.isprintable():
        return text
    return controls.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


class BatchHandler(LineHandler):
    """Writes lines in batches, `delay` seconds after the first; a warning or an error is written at once.

    A line that is logged outside an event loop is also written at once, because no timer could write it later.

    If the stream is too slow, lines are dropped. Once it accepts lines again, one of them says how many are missing.
    """

    def __init__(self, stream: TextIO, formatter: _Formatter, delay: float) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self._add = formatter.add
        self.hide = formatter.hide
        self._writer = writer_to(stream)
        self._dropped = self._reported = 0
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
        """Logs that a line could not be made. `logging` itself would write to standard error, and wait for it."""
        self._lines += self._own_line(logging.ERROR, "a line of the log could not be made", exc_info=sys.exc_info())
        self._flush_soon()

    def take(self, level: int, lines: Lines) -> None:
        """Takes lines, as `LineHandler` says. The error of a line that cannot be made is raised after the others."""
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
        """Writes the waiting lines, or drops them if the stream is too slow."""
        assert self.lock is not None, "made by logging.Handler"
        with self.lock:
            lines, self._lines = self._lines, bytearray()
            if self._writer.full:
                self._dropped += lines.count(b"\n")
                return
            if self._reported != self.dropped:
                lines = self._gap_line() + lines
            if lines:
                self._writer.write(lines)

    def close(self) -> None:
        """Writes the waiting lines and ends the writer. `logging` calls this when the process ends."""
        self.flush()
        self._writer.close(CLOSE_SECONDS)
        super().close()

    @property
    def dropped(self) -> int:
        """The number of dropped lines."""
        return self._dropped + self._writer.lost

    def _gap_line(self) -> bytearray:
        """The line that says how many lines are missing before it."""
        dropped = self.dropped
        missing, self._reported = dropped - self._reported, dropped
        return self._own_line(logging.WARNING, f"{missing} lines of the log were dropped: it was not read in time")

    def _own_line(self, level: int, message: str, **more: Any) -> bytearray:
        """A line about the log itself."""
        record = {"name": "plano", "levelno": level, "levelname": logging.getLevelName(level), "msg": message} | more
        return bytearray(self.format(logging.makeLogRecord(record)).encode(errors="backslashreplace") + b"\n")

    def _flush_soon(self) -> None:
        try:
            loop = asyncio.get_running_loop() if self._delay else None
        except RuntimeError:
            loop = None
        if loop is None:
            self.flush()
        elif self._waiting is not loop:  # a loop that ended while a line waited must not hold back later lines
            self._waiting = loop
            loop.call_later(self._delay, self._flush_waiting)

    def _flush_waiting(self) -> None:
        self._waiting = None
        self.flush()
