"""Reads and writes the Response object around a reply's output: status, usage, and echoes of the request.

Source: API reference, "The response object", and the schema of Open Responses, which requires more of its fields. Only
in echoes are the API's defaults written, because the types of clients require them; here a default tells the client
what was done, and asks for nothing.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import Raw

from plano.conversation import Conversation, Extras, Finish, Usage
from plano.dialects.finish import read_finish
from plano.dialects.responses.settings import write_reasoning, write_text
from plano.dialects.responses.tools import write_choice, write_tools
from plano.errors import UnsupportedConversion
from plano.losses import Losses

ResponseStatus = Literal["in_progress", "completed", "incomplete", "failed"]

_INCOMPLETE: dict[Finish, str] = {
    "length": "max_output_tokens",
    "context_window": "max_output_tokens",
    "content_filter": "content_filter",
    "refusal": "content_filter",
}
"""The finish reasons of a reply that is `incomplete`, and the reason that it gives. All others are `completed`."""

_NOT_ECHOED = frozenset({"text", "include", "stream_options", "context_management"}) | {
    "id",
    "object",
    "created_at",
    "completed_at",
    "status",
    "error",
    "incomplete_details",
    "output",
    "output_text",
    "usage",
}
"""The request's fields that are not echoed as they were sent: some settings, and fields with a name that a reply has
for something else."""


def incomplete_reason(finish: Finish) -> str | None:
    """The reason that an incomplete reply gives, None for one that is completed."""
    return _INCOMPLETE.get(finish)


def echoes(asked: Conversation) -> dict[str, Any]:
    """The fields that repeat the request, with the API's default for each that it left out."""
    silent = Losses()  # these losses were reported when the request was written
    text = write_text(asked)
    reasoning = {} if asked.reasoning is None else write_reasoning(asked.reasoning)
    instructions = [system.text for system in asked.system if "responses" not in system.extras]
    return {
        "background": False,
        "instructions": "\n\n".join(instructions) if instructions else None,
        "frequency_penalty": _or(asked.frequency_penalty, 0.0),
        "max_output_tokens": asked.max_tokens,
        "max_tool_calls": None,
        "metadata": asked.metadata if asked.metadata is not None else {},
        "parallel_tool_calls": asked.parallel_tool_calls is not False,
        "presence_penalty": _or(asked.presence_penalty, 0.0),
        "previous_response_id": None,
        "prompt_cache_key": asked.prompt_cache_key,
        "reasoning": {"effort": None, "summary": None, **reasoning},
        "safety_identifier": asked.safety_identifier,
        "service_tier": asked.service_tier or "default",
        "store": asked.store is not False,
        "temperature": _or(asked.temperature, 1.0),
        "text": {"format": {"type": "text"}, "verbosity": "medium", **text},
        "tool_choice": _choice(asked),
        "tools": [_whole(tool) for tool in write_tools(asked, silent)],
        "top_logprobs": asked.top_logprobs or 0,
        "top_p": _or(asked.top_p, 1.0),
        "truncation": "disabled",
        "user": asked.user,
        **_others(asked),
    }


def _whole(tool: Any) -> Any:
    """The echo of a tool. That of a function has all fields (Open Responses, `FunctionTool`)."""
    if isinstance(tool, dict) and tool["type"] == "function":
        return {"description": None, "parameters": None, "strict": None, **tool}
    return tool


def _or(value: float | None, default: float) -> float:
    return default if value is None else value


def _choice(asked: Conversation) -> Any:
    """The echo of `tool_choice`; `auto` for a choice that this dialect cannot say."""
    if asked.tool_choice is None:
        return "auto"
    try:
        return write_choice(asked)
    except UnsupportedConversion:
        return "auto"


def _others(asked: Conversation) -> dict[str, Any]:
    """The settings that only this dialect has; `conversation` is echoed as an object."""
    fields: dict[str, Any] = {
        name: raw for name, raw in asked.extras.get("responses", {}).items() if name not in _NOT_ECHOED
    }
    conversation = fields.get("conversation")
    if conversation is not None and bytes(memoryview(conversation)[:1]) == b'"':
        fields["conversation"] = {"id": conversation}
    return fields


def response(
    *,
    id_: str,
    created: int,
    model: str,
    status: ResponseStatus,
    output: list[Any],
    echo: dict[str, Any],
    finish: Finish | None = None,
    usage: Usage | None = None,
    error: dict[str, Any] | None = None,
    extras: Extras | None = None,
) -> dict[str, Any]:
    """The whole object, ready to encode. A field of the upstream's own (`service_tier`) replaces its echo.

    `completed_at` is required (Open Responses, `ResponseResource`). No upstream of another dialect says it, and no
    codec reads a clock, so it is `created` again.
    """
    reason = None if finish is None else incomplete_reason(finish)
    return {
        "id": id_,
        "object": "response",
        "created_at": created,
        "completed_at": created if status == "completed" else None,
        "status": status,
        "error": error,
        "incomplete_details": None if reason is None else {"reason": reason},
        "model": model,
        "output": output,
        "usage": None if usage is None else write_usage(usage),
        **echo,
        **({} if extras is None else _own(extras)),
    }


def _own(extras: Extras) -> dict[str, Raw]:
    """This dialect's fields, with the chat API's `service_tier`, which means the same."""
    own = dict(extras.get("responses", {}))
    tier = extras.get("chat", {}).get("service_tier")
    return own if tier is None else {"service_tier": tier} | own


def write_usage(usage: Usage) -> dict[str, Any]:
    """The `usage` object of a reply."""
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cached_tokens,
            "cache_write_tokens": usage.cache_creation_tokens,
        },
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }


# --- reading ---------------------------------------------------------------------------------------


class _InputDetails(msgspec.Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class _OutputDetails(msgspec.Struct):
    reasoning_tokens: int | None = None


class WireUsage(msgspec.Struct):
    input_tokens: int | None = None
    output_tokens: int | None = None
    input_tokens_details: _InputDetails | None = None
    output_tokens_details: _OutputDetails | None = None


def read_usage(usage: WireUsage | None) -> Usage | None:
    """Read a reply's `usage`; None if it counts nothing."""
    if usage is None or (usage.input_tokens is None and usage.output_tokens is None):
        return None
    read, written = usage.input_tokens_details or _InputDetails(), usage.output_tokens_details or _OutputDetails()
    return Usage(
        input_tokens=usage.input_tokens or 0,
        output_tokens=usage.output_tokens or 0,
        cached_tokens=read.cached_tokens or 0,
        cache_creation_tokens=read.cache_write_tokens or 0,
        reasoning_tokens=written.reasoning_tokens or 0,
    )


class IncompleteDetails(msgspec.Struct):
    reason: str | None = None


def finish_of(status: str | None, details: IncompleteDetails | None, called: bool) -> Finish:
    """The finish reason of a reply. If it has no status, a reason to be incomplete shows that it is.

    Args:
        called: whether it holds a call of a function or a custom tool.
    """
    reason = None if details is None else details.reason
    if status == "incomplete" or (reason and not status):
        found = read_finish(reason, called=False)
        return "length" if found == "stop" else found
    return "tool_calls" if called else "stop"
