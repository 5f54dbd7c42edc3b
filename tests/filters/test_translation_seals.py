"""Values that plano made for its clients, handed back to upstreams of the clients' own APIs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from plano import Plano
from plano.testing import FakeProvider, Verbatim
from plano.types import Dialect
from tests.asgi import ask

SEALED_ID = "call_1_plano-seal_00000000eyJhIjoxfQ"
HANDED_BACK: dict[Dialect, dict[str, Any]] = {
    "messages": {
        "system": "You are",
        "messages": [
            {"role": "user", "content": "Go on"},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "Hm.", "signature": "plano-seal.responses.rs_1.x"},
                    {"type": "tool_use", "id": SEALED_ID, "name": "f", "input": {}},
                ],
            },
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": SEALED_ID, "content": "ok"}]},
        ],
    },
    "responses": {
        "input": [
            {"role": "user", "content": "Go on"},
            {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "plano-seal.messages.-.x"},
            {"type": "function_call", "call_id": SEALED_ID, "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": SEALED_ID, "output": "ok"},
        ],
    },
}


@pytest.mark.parametrize(
    ("client", "path", "model"),
    [
        ("messages", "/v1/messages/count_tokens", "anthropic/claude-opus-4-5"),
        ("responses", "/v1/responses/input_tokens", "openai/gpt-4o"),
        ("responses", "/v1/responses/compact", "openai/gpt-4o"),
    ],
)
async def test_values_of_planos_own_reach_no_other_operation_either(client: Dialect, path: str, model: str) -> None:
    provider = FakeProvider()
    app = Plano({"model_providers": [{"model": model, "access_key": "k"}]}, transport=provider)
    body = {"model": model, **HANDED_BACK[client]}
    await ask(app, "POST", path, body)
    first = provider.requests[0]
    assert first.path == path
    assert b"plano-seal" not in first.body
    assert b"call_1" in first.body
    assert first.json.keys() == body.keys()


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_reply_of_the_clients_own_api_stays_as_it_is_though_the_request_was_written_anew(
    streamed: bool,
) -> None:
    choices = [{"index": n, "message": {"role": "assistant", "content": "c", "own": n}} for n in range(2)]
    whole = {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "own": 1, "choices": choices}
    stream = b'data: {"id":"x","model":"m","own":1,"choices":[{"index":1,"delta":{"content":"c","own":1}}]}\n\n'
    sent = stream + b"data: [DONE]\n\n" if streamed else json.dumps(whole).encode()
    provider = FakeProvider()
    provider.script(Verbatim(200, {"content-type": "text/event-stream" if streamed else "application/json"}, sent))
    app = Plano({"model_providers": [{"model": "openai/gpt-4o", "access_key": "k"}]}, transport=provider)
    call = {"id": SEALED_ID, "type": "function", "function": {"name": "f", "arguments": "{}"}}
    turns = [
        {"role": "user", "content": "Go on"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": SEALED_ID, "content": "ok"},
    ]
    body = {"model": "openai/gpt-4o", "n": 2, "messages": turns, "stream": streamed}
    answer = await ask(app, "POST", "/v1/chat/completions", body)
    assert b"plano-seal" not in provider.last.body
    assert answer.body == sent
