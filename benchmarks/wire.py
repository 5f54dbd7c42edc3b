"""Requests, replies and stream frames of the three APIs, as short as those in practice."""

from __future__ import annotations

import json
from typing import Any

TEXT = "The quick brown fox jumps over the lazy dog."

PATHS = {"chat": "/v1/chat/completions", "messages": "/v1/messages", "responses": "/v1/responses"}
LAST = {"chat": b"data: [DONE]", "messages": b"message_stop", "responses": b"response.completed"}
"""The bytes in the last frame of a stream that ended well, by dialect."""


def compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def request(dialect: str, model: str, *, stream: bool = False, size: int = 0, store: bool | None = None) -> bytes:
    """A request's body of at least `size` bytes; `store` says whether the reply may be stored."""
    text = TEXT if size < 300 else (TEXT + " ") * ((size - 150) // (len(TEXT) + 1) + 1)
    body: dict[str, Any] = {"model": model, "stream": stream}
    if store is not None:
        body["store"] = store
    message = {"role": "user", "content": text}
    if dialect == "responses":
        return compact({"store": False} | body | {"input": [message], "temperature": 0.5})
    extra: dict[str, Any] = {"max_tokens": 256} if dialect == "messages" else {"max_completion_tokens": 256}
    return compact(body | {"messages": [message], "temperature": 0.5} | extra)


def _response(status: str, output: list[Any], usage: Any) -> dict[str, Any]:
    return {
        "id": "resp_bench0123456789",
        "object": "response",
        "created_at": 1760000000,
        "status": status,
        "model": "bench",
        "output": output,
        "usage": usage,
    }


_RESPONSES_USAGE = {
    "input_tokens": 16,
    "input_tokens_details": {"cached_tokens": 0},
    "output_tokens": 12,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 28,
}


def _item(text: str, status: str = "completed") -> dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": []}
    content = [part] if text else []
    return {"id": "msg_bench", "type": "message", "role": "assistant", "status": status, "content": content}


REPLIES = {
    "chat": compact(
        {
            "id": "chatcmpl-bench0123456789",
            "object": "chat.completion",
            "created": 1760000000,
            "model": "bench",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": TEXT},
                    "logprobs": None,
                    "finish_reason": "stop",
                }
            ],
            "usage": {"prompt_tokens": 16, "completion_tokens": 12, "total_tokens": 28},
        }
    ),
    "messages": compact(
        {
            "id": "msg_bench0123456789",
            "type": "message",
            "role": "assistant",
            "model": "bench",
            "content": [{"type": "text", "text": TEXT}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": 16, "output_tokens": 12},
        }
    ),
    "responses": compact(_response("completed", [_item(TEXT)], _RESPONSES_USAGE)),
}


def _named(data: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (data["type"].encode(), compact(data))


def _chat(delta: dict[str, Any], finish: str | None = None) -> bytes:
    return b"data: %b\n\n" % compact(
        {
            "id": "chatcmpl-bench0123456789",
            "object": "chat.completion.chunk",
            "created": 1760000000,
            "model": "bench",
            "system_fingerprint": "fp_0123456789",
            "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}],
        }
    )


def _chat_usage() -> bytes:
    usage = {"prompt_tokens": 16, "completion_tokens": 100, "total_tokens": 116}
    chunk = {"id": "chatcmpl-bench0123456789", "object": "chat.completion.chunk", "created": 1760000000}
    return b"data: %b\n\n" % compact(chunk | {"model": "bench", "choices": [], "usage": usage})


def _place(kind: str, sequence: int, **more: Any) -> bytes:
    return _named(
        {"type": kind, "item_id": "msg_bench", "output_index": 0, "content_index": 0, "sequence_number": sequence}
        | more
    )


_MESSAGE = {
    "id": "msg_bench0123456789",
    "type": "message",
    "role": "assistant",
    "model": "bench",
    "content": [],
    "stop_reason": None,
    "stop_sequence": None,
    "usage": {"input_tokens": 16, "output_tokens": 1},
}
_PART = {"type": "output_text", "text": "", "annotations": []}

OPENING = {
    "chat": _chat({"role": "assistant", "content": ""}),
    "messages": _named({"type": "message_start", "message": _MESSAGE})
    + _named({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
    "responses": _named({"type": "response.created", "response": _response("in_progress", [], None)})
    + _named({"type": "response.output_item.added", "output_index": 0, "item": _item("", "in_progress")})
    + _place("response.content_part.added", 2, part=_PART),
}
CLOSING = {
    "chat": _chat({}, "stop") + _chat_usage() + b"data: [DONE]\n\n",
    "messages": _named({"type": "content_block_stop", "index": 0})
    + _named(
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"output_tokens": 100},
        }
    )
    + _named({"type": "message_stop"}),
    "responses": _place("response.output_text.done", 3, text=TEXT)
    + _place("response.content_part.done", 4, part=_PART | {"text": TEXT})
    + _named({"type": "response.output_item.done", "output_index": 0, "item": _item(TEXT)})
    + _named({"type": "response.completed", "response": _response("completed", [_item(TEXT)], _RESPONSES_USAGE)}),
}
ID = b"bench0123456789"
"""The id in these replies; the upstream replaces it with a new one of the same length for each reply."""

_MARK = "@here@"
_DELTAS = {
    "chat": _chat({"content": _MARK}),
    "messages": _named({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": _MARK}}),
    "responses": _place("response.output_text.delta", 5, delta=_MARK),
}
_CUT = {dialect: frame.split(_MARK.encode() + b'"') for dialect, frame in _DELTAS.items()}


def delta(dialect: str, text: bytes, id_: bytes = ID) -> bytes:
    """A frame with a text that needs no escaping."""
    before, after = _CUT[dialect]
    if id_ is not ID and dialect == "chat":
        before = before.replace(ID, id_)
    return b'%b%b"%b' % (before, text, after)
