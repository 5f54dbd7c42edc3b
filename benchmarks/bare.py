"""An ASGI application that answers by itself, to measure the cost of uvicorn alone."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from benchmarks.wire import CLOSING, OPENING, REPLIES, delta

_ASKED = re.compile(rb'"s-(\d+)-(\d+)"')
_REPLY = REPLIES["chat"]
_HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(_REPLY))]
_STREAM_HEADERS = [(b"content-type", b"text/event-stream")]

Message = MutableMapping[str, Any]


async def app(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    assert scope["type"] == "http"
    parts: list[bytes] = []
    more = True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    asked = _ASKED.search(b"".join(parts))
    if asked is None:
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        await send({"type": "http.response.body", "body": _REPLY})
        return
    await send({"type": "http.response.start", "status": 200, "headers": _STREAM_HEADERS})
    await send({"type": "http.response.body", "body": OPENING["chat"], "more_body": True})
    for _ in range(int(asked[1])):
        await asyncio.sleep(int(asked[2]) / 1000)
        await send({"type": "http.response.body", "body": delta("chat", b"neutral words "), "more_body": True})
    await send({"type": "http.response.body", "body": CLOSING["chat"]})
