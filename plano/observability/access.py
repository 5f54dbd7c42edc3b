"""The access log: one line for each request, on the logger `plano.access`.

A line says who asked what, how it went and what it took; never what was said, and never a key.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from time import time
from typing import Any, TypeAlias

import msgspec

from plano.journal import Journal
from plano.provider import Target
from plano.request import Request
from plano.types import Scope

logger = logging.getLogger("plano.access")

LIKE_A_KEY = re.compile(r"(?i)\b(?:sk|pk|rk|gsk|xai|key|ghp|pat)[-_][\w-]{6,}|AIza[\w-]{10,}|bearer\s+\S+")

_PLAIN = re.compile(r"""[^\s="]+""")

_LONGEST = 200
"""Characters of a model's name or a path that nobody has."""

_QUIET = ("/healthz", "/readyz", "/metrics", "/ui/data")
"""Asked every few seconds, so they are logged on the level `debug`."""


class Line(msgspec.Struct, omit_defaults=True, gc=False):
    """What one line says. What does not apply is left out.

    Attributes:
        id: the request's, as in `x-request-id`; `upstream_id` is the upstream's.
        asked, served: the model's name as it was asked for, and `provider/model` that it came to.
        outcome: `completed`, `failed` (a stream broke) or `aborted` (the client left).
        seconds: from the request's head to the last byte of the reply.
        upstream_seconds: of these, how long the upstream was waited for.
        bytes_in, bytes_out: of the bodies.
        losses: how many fields a translation could not carry.
        estimated: the upstream did not say how many tokens; these are guessed.
        error: its code, or its kind.
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
    attempts: int = 1
    upstream_id: str | None = None
    error: str | None = None

    def fields(self) -> dict[str, Any]:
        """What it says, by name."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        return found

    def __str__(self) -> str:
        fields = self.fields()
        first = [_shown(fields.pop(name)) for name in ("method", "path", "status")]
        return " ".join([*first, *(f"{name}={_shown(value)}" for name, value in fields.items())])


Lines: TypeAlias = Sequence[tuple[float, Line]]
"""Each with its time, in Unix seconds."""


class LineHandler(logging.Handler):
    """A handler that takes lines as they are. Where it is the only one, no log record is made for them.

    Attributes:
        batching: lines may come to it late, several at once.
    """

    batching = False

    def take(self, level: int, lines: Lines) -> None:
        """Log lines, all of one level."""
        for created, line in lines:
            self.handle(_record(level, created, line))


def at_once() -> bool:
    """Whether lines must be written while their request is at hand: a host's own handlers may look around them, at
    its context say."""
    return logger.isEnabledFor(logging.INFO) and not getattr(_only_handler(), "batching", False)


def taker() -> Callable[[int, Lines], None] | None:
    """What takes the lines of requests that ask a model, with their level; None if nobody listens."""
    if not logger.isEnabledFor(logging.INFO):
        return None
    handler = _only_handler()
    return _handle if handler is None else handler.take


def write_other(scope: Scope, route: str, status: int, seconds: float) -> None:
    """A line for a request that asks no model. Its query is left out; it may hold a key."""
    level = logging.DEBUG if route in _QUIET else logging.INFO
    if logger.isEnabledFor(level):
        path = scope["path"] if route != "other" else _safe(scope["path"])
        method = _safe(scope["method"])
        take = taker() or _handle
        take(level, [(time(), Line(method=method, path=path, status=status, seconds=round(seconds, 6)))])


def line_of(request: Request, method: str, path: str) -> Line:
    """What there is to say of a request that is over."""
    journal = request.journal
    answer, target = journal.answer, journal.target
    started, usage, losses = journal.started, answer.usage, answer.losses
    first, model = answer.first_token, request.model
    line = Line(  # by position: by name it would take ten times as long
        method if method == "POST" else _safe(method),
        path,
        journal.status,
        ((journal.ended or started) - started) * 1e6 // 1.0 / 1e6,  # for a tenth of what `round` takes
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
    # What most do not have would cost each of them something if it were set for all.
    if usage is not None and usage.cached_tokens:
        line.cached_tokens = usage.cached_tokens
    if usage is not None and usage.estimated:
        line.estimated = True
    if len(journal.attempts) != 1:
        line.attempts = len(journal.attempts)
    if answer.upstream_id is not None:
        line.upstream_id = answer.upstream_id
    if journal.error is not None or answer.failure is not None:
        line.error = _error(journal)
    return line


def asked_model(model: str | None, target: Target | None) -> str | None:
    """The model's name as it was asked for. One that nobody has may be anything, a key in the wrong place too."""
    return model if model is None or target is not None else _safe(model)


def _error(journal: Journal) -> str | None:
    if journal.error is not None:
        return _safe(journal.error.code or journal.error.kind)  # an upstream's own code may be anything
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
    """What `logger.info` makes, without walking the stack to find out who calls."""
    record = logger.makeRecord(logger.name, level, __file__, 0, line, (), None, "access")
    record.created, record.msecs = created, created % 1 * 1000
    return record


def _safe(text: str) -> str:
    """A text that anybody may have made up, on one line, shortened, and without what looks like a key."""
    text = LIKE_A_KEY.sub("***", text[: 2 * _LONGEST])[:_LONGEST]
    return text if text.isprintable() else ascii(text)[1:-1]


def _shown(value: Any) -> str:
    """A value as logfmt has it: quoted where it could be taken for more than one, or for a field of its own."""
    if isinstance(value, float):
        return f"{value:g}"
    text = str(value)
    if _PLAIN.fullmatch(text):
        return text
    escaped = text.replace("\\", r"\\").replace('"', r"\"")
    return f'"{escaped}"'
