"""The access log: one line for each request, on the logger `plano.access`.

A line says who asked what, how it went and what it took; never what was said, and never a key.
"""

from __future__ import annotations

import logging
import re
from functools import partial
from typing import Any

from plano.journal import Journal
from plano.request import Request
from plano.types import Scope

logger = logging.getLogger("plano.access")

_LONGEST = 200
"""Characters of a model's name or a path that nobody has."""

LIKE_A_KEY = re.compile(r"(?i)\b(?:sk|pk|rk|gsk|xai|key|ghp|pat)[-_][\w-]{6,}|AIza[\w-]{10,}|bearer\s+\S+")

_FIRST = ("method", "path", "status")

_QUIET = ("/healthz", "/readyz", "/metrics")
"""Asked every few seconds, so they are logged on the level `debug`."""


class Line:
    """What one line says. `str()` is for people; `fields` for machines."""

    __slots__ = ("fields",)

    def __init__(self, fields: dict[str, Any]) -> None:
        self.fields = fields

    def __str__(self) -> str:
        fields = self.fields
        words = [fields["method"], fields["path"], str(fields["status"])]
        words += [
            f"{name}={_shown(value)}" for name, value in fields.items() if name not in ("method", "path", "status")
        ]
        return " ".join(words)


def watch(request: Request, scope: Scope) -> None:
    """Have a line written when the request is over, if anybody listens."""
    if logger.isEnabledFor(logging.INFO):
        request.journal.closers.append(partial(_write_request, request, scope))


def write_other(scope: Scope, route: str, status: int, seconds: float) -> None:
    """A line for a request that asks no model. Its query is left out; it may hold a key."""
    level = logging.DEBUG if route in _QUIET else logging.INFO
    if logger.isEnabledFor(level):
        path = scope["path"] if route != "other" else _safe(scope["path"])
        _write(level, {"method": _safe(scope["method"]), "path": path, "status": status, "seconds": _rounded(seconds)})


def _write_request(request: Request, scope: Scope) -> None:
    journal = request.journal
    ended = journal.ended or journal.started
    fields: dict[str, Any] = {
        "method": _safe(scope["method"]),
        "path": scope["path"],
        "status": journal.status,
        "id": request.id,
        "caller": journal.caller.name,
        "client_dialect": journal.dialect,
        "upstream_dialect": journal.upstream_dialect,
        "asked": asked_model(request),
        "served": None if journal.target is None else journal.target.name,
        "stream": request.stream,
        "outcome": journal.outcome,
        "seconds": _rounded(ended - journal.started),
        "upstream_seconds": _rounded(journal.waited + journal.waited_in_stream),
        "bytes_in": journal.bytes_in,
        "bytes_out": journal.bytes_out,
        "losses": len(journal.losses),
    }
    if journal.first_token is not None:
        fields["first_token_seconds"] = _rounded(journal.first_token - journal.started)
    usage = journal.usage
    if usage is not None:
        fields["input_tokens"] = usage.input_tokens
        fields["output_tokens"] = usage.output_tokens
        if usage.cached_tokens:
            fields["cached_tokens"] = usage.cached_tokens
        if journal.estimated:
            fields["estimated"] = True
    if journal.attempts > 1:
        fields["attempts"] = journal.attempts
    if journal.upstream_id is not None:
        fields["upstream_id"] = _safe(journal.upstream_id)
    _add_error(fields, journal)
    _write(logging.INFO, fields)


def _add_error(fields: dict[str, Any], journal: Journal) -> None:
    if journal.error is not None:
        fields["error"] = journal.error.code or journal.error.kind
    elif journal.failures:
        fields["error"] = journal.failures[-1][1]


def asked_model(request: Request) -> str | None:
    """The model's name as it was asked for. One that nobody has may be anything, a key in the wrong place too."""
    if request.model is None or request.journal.target is not None:
        return request.model
    return _safe(request.model)


def _write(level: int, fields: dict[str, Any]) -> None:
    # What `logger.info` does, without walking the stack to find out who calls.
    record = logger.makeRecord(logger.name, level, __file__, 0, Line(fields), (), None, "access")
    logger.handle(record)


def _safe(text: str) -> str:
    """A text that anybody may have made up, on one line, shortened, and without what looks like a key."""
    text = LIKE_A_KEY.sub("***", text[: 2 * _LONGEST])[:_LONGEST]
    return text if text.isprintable() else ascii(text)[1:-1]


def _rounded(seconds: float) -> float:
    return round(seconds, 6)


def _shown(value: Any) -> str:
    return "-" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
