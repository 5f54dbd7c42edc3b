"""Talking to a gateway over several turns: short requests, and what comes back of them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from plano import Plano
from plano.testing import FakeProvider
from plano.types import CLIENT_DIALECTS as DIALECTS
from plano.types import Dialect
from tests.asgi import Answer, ask

PATHS: dict[str, str] = {"chat": "/v1/chat/completions", "messages": "/v1/messages", "responses": "/v1/responses"}
JSON = {"content-type": "application/json"}
SSE = {"content-type": "text/event-stream"}


@asynccontextmanager
async def gateway(provider: FakeProvider, storage: dict[str, Any] | None = None, **config: Any) -> AsyncIterator[Plano]:
    """A gateway in front of one server for each dialect: `chat_server/m`, `messages_server/m`, `responses_server/m`."""
    entries = [
        {
            "model": f"{dialect}_server/m",
            "provider_interface": "openai",
            "base_url": f"https://{dialect}.example/v1",
            "apis": [dialect],
            "access_key": "sk-upstream",
        }
        for dialect in DIALECTS
    ]
    # An entry of its own for a second server of the responses API.
    entries.append({**entries[-1], "model": "other_server/m", "base_url": "https://other.example/v1"})
    said = {} if storage is None else {"state_storage": storage}
    app = Plano({"model_providers": entries, **said, **config}, transport=provider)
    try:
        yield app
    finally:
        await app.aclose()


async def respond(
    app: Plano, input: Any = "Hi", *, server: str = "chat", key: str | None = None, **fields: Any
) -> Answer:
    body = {"model": f"{server}_server/m", "input": input, **fields}
    return await ask(app, "POST", "/v1/responses", body, _headers(key))


async def complete(
    app: Plano, said: Any = "Hi", *, server: str = "chat", key: str | None = None, **fields: Any
) -> Answer:
    messages = [{"role": "user", "content": said}] if isinstance(said, str) else said
    body = {"model": f"{server}_server/m", "messages": messages, **fields}
    return await ask(app, "POST", "/v1/chat/completions", body, _headers(key))


def _headers(key: str | None) -> dict[str, str]:
    return {} if key is None else {"authorization": f"Bearer {key}"}


def events(answer: Answer) -> list[Any]:
    """The parsed data of a stream's events, `[DONE]` left out."""
    lines = [line[5:].strip() for line in answer.body.decode().split("\n") if line.startswith("data:")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def reply(answer: Answer) -> Any:
    """The Response or the completion of an answer, streamed or not (of a streamed completion, its first chunk)."""
    assert answer.status == 200, answer.body
    if answer.headers["content-type"] == "application/json":
        return answer.json()
    found = events(answer)
    return found[-1]["response"] if "response" in found[-1] else found[0]


def id_of(answer: Answer) -> str:
    id_: str = reply(answer)["id"]
    return id_


def error(answer: Answer) -> tuple[int, Any, Any]:
    """Status, code and param."""
    said = answer.json()["error"]
    return answer.status, said["code"], said["param"]


def native(id: str, *output: dict[str, Any], status: str = "completed", **more: Any) -> dict[str, Any]:
    """A Response object as a server of the responses API says it."""
    return {
        "id": id,
        "object": "response",
        "created_at": 1,
        "status": status,
        "error": None,
        "model": "m",
        "output": list(output),
        "previous_response_id": None,
        "store": True,
        "usage": None,
        **more,
    }


def message(id: str, text: str) -> dict[str, Any]:
    content = [{"type": "output_text", "text": text, "annotations": []}]
    return {"id": id, "type": "message", "role": "assistant", "status": "completed", "content": content}


def frames(response: dict[str, Any], *, repeated: bool = True) -> list[bytes]:
    """The stream that says this Response; without `repeated`, its last event does not repeat the items."""
    said: list[dict[str, Any]] = [{"type": "response.created", "response": {**response, "status": "in_progress"}}]
    for place, item in enumerate(response["output"]):
        said.append({"type": "response.output_item.added", "output_index": place, "item": item})
        said.append({"type": "response.output_item.done", "output_index": place, "item": item})
    last = response if repeated else {**response, "output": []}
    said.append({"type": f"response.{response['status']}", "response": last})
    return [
        f"event: {event['type']}\ndata: {json.dumps({**event, 'sequence_number': number})}\n\n".encode()
        for number, event in enumerate(said)
    ]


__all__ = [
    "JSON",
    "PATHS",
    "SSE",
    "Dialect",
    "complete",
    "error",
    "events",
    "frames",
    "gateway",
    "id_of",
    "message",
    "native",
    "reply",
    "respond",
]
