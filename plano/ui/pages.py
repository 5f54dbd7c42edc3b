"""The endpoints below `/ui`."""

from __future__ import annotations

import inspect
import os
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import parse_qs

import msgspec

from plano.edge.answers import send_error
from plano.errors import MethodNotAllowed, PlanoError
from plano.routing.models import ModelIndex
from plano.types import Caller, Headers, RawHeaders, Receive, Scope, Send
from plano.ui.record import BIN_RATIO, FIRST_BIN_SECONDS, WINDOW_SECONDS, Record
from plano.version import VERSION

Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
Admit: TypeAlias = Callable[[Scope, Headers], Awaitable[Caller]]

PAGE = "index.html"
FILES: Mapping[str, str] = {
    "charts.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
    "live.js": "text/javascript; charset=utf-8",
    "main.js": "text/javascript; charset=utf-8",
    "playground.js": "text/javascript; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
}

_FOLDER = Path(__file__).parent / "static"

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'self'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS: RawHeaders = [
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-cache"),
]

_SEEN = re.compile(r"([0-9a-f]{8})-(\d{1,12})-(\d{1,15})")
"""A worker, the second up to which the page has its counts, and the number of the last request that the page has."""


class Ui:
    """The page and its data.

    Args:
        record: the recorded requests.
        models: the index of all names.
        admit: returns the caller of a request; raises a PlanoError if its key is not valid.
        refresh: brings the record up to date.
        targets: gives the conditions of all targets, which operators see.
        shared: other processes serve the same port. Each answer then closes its connection, so that the next request
            may reach another process; the page adds up their counts.
    """

    def __init__(
        self,
        record: Record,
        models: ModelIndex,
        admit: Admit,
        refresh: Callable[[], None],
        targets: Callable[[], list[dict[str, Any]]],
        *,
        shared: bool = False,
    ) -> None:
        self._record = record
        self._refresh = refresh
        self._models = models
        self._targets = targets
        self._admit = admit
        self._worker = os.urandom(4).hex()
        self._headers: RawHeaders = [*_HEADERS, (b"connection", b"close")] if shared else _HEADERS
        self._started = time.time()

    def endpoints(self) -> dict[str, Application]:
        """The applications by path."""
        page = (_FOLDER / PAGE).read_text(encoding="utf-8")
        files: dict[str, Application] = {
            f"/ui/{name}": _File((_FOLDER / name).read_bytes(), kind, self._headers) for name, kind in FILES.items()
        }
        return {"/ui": _Page(page, self._headers), "/ui/data": _Data(self.data, self._headers), **files}

    async def data(self, scope: Scope, headers: Headers) -> dict[str, Any]:
        """Returns the data that the page does not have yet, which is all of it if it has none from this process."""
        caller = await self._admit(scope, headers)
        query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
        since, after = _seen(query.get("seen", [""])[0], self._worker)
        self._refresh()
        record, now = self._record, time.time()
        return {
            "worker": self._worker,
            "seen": f"{self._worker}-{int(now)}-{record.number}",
            "version": VERSION,
            "now": now,
            "started": self._started,
            "caller": caller.name,
            "operator": caller.operator,
            "running": record.running if caller.operator else None,
            "window": WINDOW_SECONDS,
            "bins": [FIRST_BIN_SECONDS, BIN_RATIO],
            "counts": list(record.counts(caller, since)),
            "requests": record.rows(caller, after),
            "models": self._names(caller) if not since else None,
            "targets": self._targets() if caller.operator else None,
        }

    def _names(self, caller: Caller) -> list[dict[str, Any]]:
        aliases = self._models.aliases()
        return [
            {
                "name": info.id,
                "provider": info.owner,
                "target": info.target,
                "alias": info.id in aliases,
                "apis": self._models.resolve(info.id).dialects if not info.id.endswith("*") else (),
            }
            for info in self._models.listing()
            if caller.may_use(info.id) or caller.may_use(info.target)
        ]


def _seen(text: str, worker: str) -> tuple[int, int]:
    """The latest second and the latest number that the page has from this worker, or zeros. That second was not over
    when it was sent, so it is sent again."""
    for match in _SEEN.finditer(text[:10_000]):
        if match[1] == worker:
            return int(match[2]), int(match[3])
    return 0, 0


class _File:
    """Serves a file that does not change while the process runs."""

    def __init__(self, body: bytes, kind: str, headers: RawHeaders) -> None:
        self._body = body
        self._headers = [(b"content-type", kind.encode()), *headers]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if await _refused(scope, send):
            return
        await _send(scope, send, self._body, self._headers)


class _Page:
    """Serves the page. Its links are relative, so that it works under any mount point and behind any proxy."""

    def __init__(self, page: str, headers: RawHeaders) -> None:
        self._page = page
        self._headers = [(b"content-type", b"text/html; charset=utf-8"), *headers]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if await _refused(scope, send):
            return
        base = "./" if scope["path"].endswith("/") else "ui/"
        await _send(scope, send, self._page.replace("{base}", base).encode(), self._headers)


class _Data:
    """Serves the data as JSON, or an error in the client's dialect."""

    def __init__(self, answer: Callable[[Scope, Headers], Any], headers: RawHeaders) -> None:
        self._answer = answer
        self._headers = [
            (b"content-type", b"application/json"),
            *(header for header in headers if header[0] != b"cache-control"),
            (b"cache-control", b"no-store"),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if await _refused(scope, send):
            return
        headers = Headers(scope["headers"])
        try:
            found = self._answer(scope, headers)
            if inspect.isawaitable(found):
                found = await found
        except PlanoError as error:
            await send_error(scope, headers, error, send)
            return
        await _send(scope, send, msgspec.json.encode(found), self._headers)


async def _refused(scope: Scope, send: Send) -> bool:
    if scope["method"] in ("GET", "HEAD"):
        return False
    error = MethodNotAllowed(f"{scope['method'][:20]} is not allowed here, only GET.", allow="GET, HEAD")
    await send_error(scope, Headers(scope["headers"]), error, send)
    return True


async def _send(scope: Scope, send: Send, body: bytes, headers: RawHeaders) -> None:
    raw = [*headers, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": raw})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
