"""The access log: one line for each request, on the logger `plano.access`.

A line names the caller and the model, and says how the request ended and how long it took. It never holds content or
a key.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from time import time
from typing import Any, TypeAlias

import msgspec

from plano.attempt import Attempt
from plano.journal import Journal
from plano.provider import Target
from plano.request import Request
from plano.types import ANONYMOUS, Scope

logger = logging.getLogger("plano.access")

LIKE_A_KEY = re.compile(r"(?i)\b(?:sk|pk|rk|gsk|xai|key|ghp|pat)[-_][\w-]{6,}|AIza[\w-]{10,}|bearer\s+\S+")

_PLAIN = re.compile(r"""[^\s="]+""")

_LOGGED_CHARACTERS = 200
"""The most characters that are logged of an unknown model's name or an unknown path."""

_SHOWN_CHARACTERS = 40
"""The most characters of a value on a terminal."""

_QUIET = ("/healthz", "/readyz", "/metrics", "/ui/data")
"""Paths that are polled every few seconds, so they are logged at level `debug`."""


class Tried(msgspec.Struct, omit_defaults=True, gc=False, rename={"outcome": "class"}):
    """One of the attempts of a request. It has no words of the upstream's.

    Attributes:
        entry: the entry that was asked.
        key_no: the number of its key, from 0.
        outcome: in the log `class`: the class of its failure, or `abandoned`; None if it answered.
        status: the upstream's status; 0 without one.
        ms: from its begin until it was known whether it answers.
        waited_ms: the wait before it; None if there was none.
    """

    entry: str
    key_no: int
    outcome: str | None = None
    status: int = 0
    ms: float | None = None
    waited_ms: float | None = None


class Line(msgspec.Struct, omit_defaults=True, gc=False):
    """The fields of one line. Fields that do not apply are left out.

    Attributes:
        id: the request's id, as in `x-request-id`; `upstream_id` is the upstream's.
        asked, served: the model's name in the request, and the `provider/model` that answered.
        outcome: `completed`, `failed` (a stream broke) or `aborted` (the client left).
        seconds: from the request's head to the last byte of the reply.
        upstream_seconds: the part of `seconds` that was spent waiting for the upstream.
        bytes_in, bytes_out: the sizes of the bodies.
        losses: how many fields a translation could not carry.
        estimated: the upstream did not report the tokens, so they are estimated.
        error: the error's code, or its kind.
        attempts: the attempts in order; None if the first one answered at once.
        committed_ms: from the request's head until it was certain which attempt answers.
        limited_by: the rule or the budget that last refused the request, or one of its targets.
        reserved, settled: the `tokens` and `dollars` that limits reserved, and what was used in their place.
    """

    method: str
    path: str
    status: int
    seconds: float
    id: str | None = None
    caller: str | None = None
    client_dialect: str | None = None
    upstream_dialect: str | None = None
    asked: str | None = None
    served: str | None = None
    stream: bool | None = None
    outcome: str | None = None
    upstream_seconds: float | None = None
    first_token_seconds: float | None = None
    bytes_in: int | None = None
    bytes_out: int | None = None
    losses: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    estimated: bool = False
    upstream_id: str | None = None
    error: str | None = None
    attempts: list[Tried] | None = None
    committed_ms: float | None = None
    limited_by: str | None = None
    reserved: Mapping[str, float] | None = None
    settled: Mapping[str, float] | None = None

    def fields(self) -> dict[str, Any]:
        """The fields that apply, by name."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        return found

    def __str__(self) -> str:
        return self._logfmt(self.fields())

    def short(self) -> str:
        """The line for a terminal, where it should fit: what is usual is left out, and long values are cut."""
        fields = {
            "method": self.method,
            "path": self.path,
            "status": self.status,
            "seconds": float(f"{self.seconds:.3g}"),
            "caller": self.caller if self.caller != ANONYMOUS.name else None,
            "asked": self.asked if self.served is None else None,
            "served": self.served,
            "in": self.input_tokens,
            "out": self.output_tokens,
            "losses": self.losses or None,
            "attempts": len(self.attempts) if self.attempts and len(self.attempts) > 1 else None,
            "limited_by": self.limited_by,
            "outcome": self.outcome if self.outcome != "completed" else None,
            "error": self.error,
        }
        return self._logfmt({name: _cut(value) for name, value in fields.items() if value is not None})

    @staticmethod
    def _logfmt(fields: dict[str, Any]) -> str:
        first = [_shown(fields.pop(name)) for name in ("method", "path", "status")]
        return " ".join([*first, *(f"{name}={_shown(value)}" for name, value in fields.items())])


Lines: TypeAlias = Sequence[tuple[float, Line]]
"""Lines, each with its time in Unix seconds."""


class LineHandler(logging.Handler):
    """A handler that takes lines directly. If it is the only handler, no log records are made for lines.

    Attributes:
        batching: it accepts lines late, several at once.
    """

    batching = False

    def take(self, level: int, lines: Lines) -> None:
        """Logs lines that all have one level."""
        for created, line in lines:
            self.handle(_record(level, created, line))


def at_once() -> bool:
    """Whether each line must be written while its request is running, because a handler of the host application may
    read the request's context variables."""
    return logger.isEnabledFor(logging.INFO) and not getattr(_only_handler(), "batching", False)


def taker() -> Callable[[int, Lines], None] | None:
    """The function that takes lines and their level; None if the access log is off."""
    if not logger.isEnabledFor(logging.INFO):
        return None
    handler = _only_handler()
    return _handle if handler is None else handler.take


def write_other(scope: Scope, route: str, status: int, seconds: float) -> None:
    """Logs a request that asks no model. Its query is left out because it may hold a key."""
    level = logging.DEBUG if route in _QUIET else logging.INFO
    if logger.isEnabledFor(level):
        path = scope["path"] if route != "other" else masked(scope["path"])
        method = masked(scope["method"])
        take = taker() or _handle
        take(level, [(time(), Line(method=method, path=path, status=status, seconds=round(seconds, 6)))])


def line_of(request: Request, method: str, path: str) -> Line:
    """Makes the line of a request that is over."""
    journal = request.journal
    answer = journal.answer
    target = answer.target or journal.resolved
    started, usage, losses = journal.started, answer.usage, answer.losses
    first, model = answer.first_token, request.model
    line = Line(  # by position, because names would take ten times as long
        method if method == "POST" else masked(method),
        path,
        journal.status,
        ((journal.ended or started) - started) * 1e6 // 1.0 / 1e6,  # takes a tenth of the time of `round`
        request.id,
        journal.caller.name,
        journal.dialect,
        answer.dialect,
        model if target is not None else asked_model(model, None),
        None if target is None else target.name,
        request.stream,
        journal.outcome,
        (journal.waited + journal.waited_in_stream) * 1e6 // 1.0 / 1e6,
        None if first is None else (first - started) * 1e6 // 1.0 / 1e6,
        journal.bytes_in,
        journal.bytes_out,
        sum(loss.count for loss in losses) if losses else 0,
        None if usage is None else usage.input_tokens,
        None if usage is None else usage.output_tokens,
    )
    # Most requests have none of these, so they are set only where they apply.
    if usage is not None and usage.cached_tokens:
        line.cached_tokens = usage.cached_tokens
    if usage is not None and usage.estimated:
        line.estimated = True
    line.attempts = tried(journal)
    if journal.committed is not None:
        line.committed_ms = _ms(journal.committed - started)
    if journal.limited_by is not None:
        line.limited_by = journal.limited_by
    if journal.reserved is not None:
        line.reserved, line.settled = journal.reserved, journal.settled
    if answer.upstream_id is not None:
        line.upstream_id = answer.upstream_id
    if journal.error is not None or answer.failure is not None:
        line.error = _error(journal)
    return line


def tried(journal: Journal) -> list[Tried] | None:
    """The attempts of a request that is over; None if the first one answered at once."""
    if len(journal.attempts) == 1 and journal.committed is None and journal.answer.failure is None:
        return None
    return [_tried(attempt, attempt.target) for attempt in journal.attempts if attempt.target is not None]


def _tried(attempt: Attempt, target: Target) -> Tried:
    over, outcome = attempt.decided or attempt.answered, attempt.outcome
    return Tried(
        target.entry,
        target.key_no,
        None if outcome == "answered" else outcome,
        attempt.status,
        None if over is None or attempt.sent is None else _ms(over - attempt.sent),
        _ms(attempt.pause) if attempt.pause else None,
    )


def _ms(seconds: float) -> float:
    return round(seconds * 1000.0, 1)


def asked_model(model: str | None, target: Target | None) -> str | None:
    """The model's name in a request. A name without a `target` may hold anything, even a misplaced key, so it is
    shortened and masked."""
    return model if model is None or target is not None else masked(model)


def _error(journal: Journal) -> str | None:
    if journal.error is not None:
        return masked(journal.error.code or journal.error.kind)  # an upstream's own code may hold anything
    return journal.answer.failure


def _handle(level: int, lines: Lines) -> None:
    for created, line in lines:
        logger.handle(_record(level, created, line))


def _only_handler() -> LineHandler | None:
    handlers = logger.handlers
    if len(handlers) == 1 and not logger.propagate:
        handler = handlers[0]
        if isinstance(handler, LineHandler):
            return handler
    return None


def _record(level: int, created: float, line: Line) -> logging.LogRecord:
    """Makes the record that `logger.info` would make, without walking the stack to find its caller."""
    record = logger.makeRecord(logger.name, level, __file__, 0, line, (), None, "access")
    record.created, record.msecs = created, created % 1 * 1000
    return record


def masked(text: str) -> str:
    """Makes a client's text safe to log: one line, shortened, with everything that looks like a key masked."""
    text = LIKE_A_KEY.sub("***", text[: 2 * _LOGGED_CHARACTERS])[:_LOGGED_CHARACTERS]
    return text if text.isprintable() else ascii(text)[1:-1]


def _cut(value: Any) -> Any:
    """A value that is short enough for a terminal."""
    long = isinstance(value, str) and len(value) > _SHOWN_CHARACTERS
    return f"{value[: _SHOWN_CHARACTERS - 1]}…" if long else value


def _shown(value: Any) -> str:
    """A value in logfmt. It is quoted if it could be read as several values or as another field."""
    if isinstance(value, float):
        return f"{value:g}"
    text = msgspec.json.encode(value).decode() if isinstance(value, list | dict) else str(value)
    if _PLAIN.fullmatch(text):
        return text
    escaped = text.replace("\\", r"\\").replace('"', r"\"")
    return f'"{escaped}"'
