"""A bare ASGI client for tests: unlike `httpx.ASGITransport` it shows each message as it is sent, and can leave."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

from plano.types import Message, Receive, Scope, Send


@dataclass
class Answer:
    """What an application sent."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    chunks: list[bytes] = field(default_factory=list)
    complete: bool = False

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    def json(self) -> Any:
        return json.loads(self.body)


class Exchange:
    """One request under way. `leave()` is the client closing its connection."""

    def __init__(self, *bodies: bytes, complete: bool = True) -> None:
        self.answer = Answer()
        self.gone = asyncio.Event()
        self.progress = asyncio.Event()
        last = len(bodies) - 1
        self._inbox: list[Message] = [
            {"type": "http.request", "body": body, "more_body": index < last or not complete}
            for index, body in enumerate(bodies)
        ]

    def leave(self) -> None:
        self.gone.set()

    async def receive(self) -> Message:
        if self._inbox:
            return self._inbox.pop(0)
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.answer.status = message["status"]
            self.answer.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            if message.get("body"):
                self.answer.chunks.append(message["body"])
            self.answer.complete = not message.get("more_body", False)
        self.progress.set()


class Leaving(Exchange):
    """A client that goes once so many pieces of the reply are there."""

    def __init__(self, after: int, *bodies: bytes) -> None:
        super().__init__(*bodies)
        self._after = after

    async def send(self, message: Any) -> None:
        await super().send(message)
        if len(self.answer.chunks) >= self._after:
            self.leave()


def scope(method: str, path: str, headers: dict[str, str] | None = None, root_path: str = "") -> Scope:
    path, _, query = path.partition("?")
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": root_path,
        "query_string": query.encode(),
        "headers": [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
        "state": {},
    }


async def ask(
    app: Any,
    method: str,
    path: str,
    body: Any = b"",
    headers: dict[str, str] | None = None,
) -> Answer:
    """Send one request and wait for all of the answer. A body that is not bytes is sent as JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    exchange = Exchange(data)
    async with asyncio.timeout(20):
        await app(scope(method, path, headers), exchange.receive, exchange.send)
    assert exchange.answer.complete, "the application returned without finishing its answer"
    return exchange.answer


__all__ = ["Answer", "Exchange", "Receive", "Send", "ask", "scope"]
