"""The requests that a fake provider received."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from functools import cached_property
from typing import Any, Literal, TypeAlias
from urllib.parse import urlsplit

import msgspec

from plano.conversation import Conversation
from plano.dialects import CLIENT_CODECS
from plano.operations import OPERATIONS
from plano.types import ClientDialect, RawHeaders

Outcome: TypeAlias = Literal["running", "complete", "broken", "left"]
"""The progress of an answer; `left` means that the client went away before its end."""

_SECRETS = frozenset({"authorization", "proxy-authorization", "x-api-key", "api-key", "cookie"})


class RecordedHeaders(dict[str, str]):
    """Headers by lower-case name. A repr hides keys, because it ends up in test reports."""

    def __repr__(self) -> str:
        return repr({name: "***" if name in _SECRETS else value for name, value in self.items()})


class Recorded:
    """A request that a fake provider received.

    Attributes:
        method: the HTTP method in capitals.
        url: the absolute URL, with its query.
        headers: the headers by lower-case name; of several with one name, the last. `raw_headers` has them all.
        body: the unchanged bytes.
        dialect: the dialect of its endpoint, None for `/models` and unknown paths.
        operation: `create`, `count_tokens`, `compact`, `embeddings`, …; None if `dialect` is.
        outcome: the progress of the answer.
    """

    def __init__(self, *, method: str, url: str, headers: RawHeaders, body: bytes) -> None:
        self.method = method
        self.url = url
        self.raw_headers = headers
        self.headers = RecordedHeaders((n.decode("latin-1").lower(), v.decode("latin-1")) for n, v in headers)
        self.body = body
        self.outcome: Outcome = "running"
        self._over: Future[Outcome] = Future()
        endpoint = _endpoint(self.path)
        self.dialect: ClientDialect | None = endpoint and endpoint[0]
        self.operation: str | None = endpoint and endpoint[1]

    async def over(self) -> Outcome:
        """Wait for the end of the answer, and return its outcome. Any thread's event loop may wait."""
        return await asyncio.shield(asyncio.wrap_future(self._over))

    def end(self, outcome: Outcome) -> None:
        """Note the outcome of the answer. Only the first one counts."""
        if self.outcome == "running":
            self.outcome = outcome
            self._over.set_result(outcome)

    @property
    def path(self) -> str:
        """The URL's path, percent-encoded as it came."""
        return urlsplit(self.url).path

    @property
    def query(self) -> str:
        return urlsplit(self.url).query

    @cached_property
    def json(self) -> Any:
        """The parsed body; raises msgspec.DecodeError if it is not JSON."""
        return msgspec.json.decode(self.body)

    @cached_property
    def conversation(self) -> Conversation:
        """The request in the neutral model.

        Raises:
            InvalidRequest: the body is not a request of the dialect.
        """
        assert self.dialect is not None
        assert self.operation is not None
        assert OPERATIONS[self.operation].converses, f"{self.path} asks for no reply"
        return CLIENT_CODECS[self.dialect].read_request(self.body)

    def __repr__(self) -> str:
        return f"<Recorded {self.method} {self.url}, {len(self.body)} bytes, {self.outcome}>"


def _endpoint(path: str) -> tuple[ClientDialect, str] | None:
    """The dialect and the operation that the end of a path stands for, after any prefix."""
    path = path.rstrip("/")
    for operation in OPERATIONS.values():
        for dialect, asked_at in operation.paths.items():
            if path.endswith(asked_at.removeprefix("/v1")):
                return dialect, operation.name
    return None
