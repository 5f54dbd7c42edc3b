"""Writes a request to an upstream."""

from __future__ import annotations

from typing import Any

import msgspec

from plano.capabilities import Takes
from plano.capabilities.efforts import NOT_THINKING
from plano.conversation import Conversation
from plano.dialects import web_search
from plano.dialects.fields import STRINGS
from plano.dialects.openai import SHARED_FIELDS, user_of
from plano.dialects.responses.request import LOGPROBS, SEALS
from plano.dialects.responses.settings import write_reasoning, write_text
from plano.dialects.responses.tools import write_choice, write_tools
from plano.dialects.responses.write_history import History
from plano.losses import Losses, refuse

_MERGED_FIELDS = frozenset({"include", "text"})
"""The extras that belong to a field which is written from several sources."""

_LEAST_TOKENS = 16
"""OpenAI refuses a smaller `max_output_tokens` ("Expected a value >= 16")."""

_UNSUPPORTED_FIELDS: tuple[tuple[str, str], ...] = (
    ("top_k", "the responses API has no top-k sampling"),
    ("stop", "the responses API has no stop sequences"),
    ("seed", "the responses API takes no seed"),
    ("presence_penalty", "the responses API has no penalties"),
    ("frequency_penalty", "the responses API has no penalties"),
)


def write_request(conversation: Conversation, losses: Losses, takes: Takes | None = None) -> bytes:
    """Write the body of a request; see `plano.dialects.codec.Codec`."""
    if takes is not None and takes.searches is False:
        conversation = web_search.withheld(conversation, "responses")
    _check(conversation, losses)
    fields: dict[str, Any] = {"model": conversation.model}
    instructions = [system.text for system in conversation.system if "responses" not in system.extras]
    if instructions:
        fields["instructions"] = "\n\n".join(instructions)
    fields["input"] = _input(conversation, losses)
    fields |= _tools(conversation, losses)
    fields |= {
        "parallel_tool_calls": conversation.parallel_tool_calls,
        "max_output_tokens": _limit(conversation, losses),
        "temperature": conversation.temperature,
        "top_p": conversation.top_p,
        "top_logprobs": conversation.top_logprobs,
        "reasoning": _reasoning(conversation, losses, takes),
        "text": write_text(conversation) or None,
        "include": _include(conversation) or None,
        "service_tier": conversation.service_tier,
        "user": user_of(conversation),
        "safety_identifier": conversation.safety_identifier,
        "metadata": conversation.metadata,
        "store": _store(conversation),
        "prompt_cache_key": conversation.prompt_cache_key,
        "stream": conversation.stream or None,
    }
    written = {name: value for name, value in fields.items() if value is not None}
    return msgspec.json.encode(written | _extras(conversation, losses))


def _tools(conversation: Conversation, losses: Losses) -> dict[str, Any]:
    """`tools` and `tool_choice`. If this API can be given none of the tools, the choice is left out as well.

    Raises:
        UnsupportedConversion: a tool is forced that this API cannot be given.
    """
    fields: dict[str, Any] = {}
    tools, choice = write_tools(conversation, losses), conversation.tool_choice
    if tools:
        fields["tools"] = tools
    if conversation.tools and not tools and choice is not None:
        if choice.mode == "required":
            reason = "it asks for a tool call, and there is no tool that the responses API can be given"
            raise refuse("tool_choice", reason)
        if choice.mode in ("auto", "none"):
            return fields
    if choice is not None:
        fields["tool_choice"] = write_choice(conversation)
    return fields


def _store(conversation: Conversation) -> bool | None:
    """`store`, which is false for a request from another API that does not say: there nothing is stored by default,
    here a reply is stored for thirty days."""
    return False if conversation.store is None and conversation.is_foreign_to("responses") else conversation.store


def _limit(conversation: Conversation, losses: Losses) -> int | None:
    """The limit of output tokens, raised to the least that this API takes."""
    limit = conversation.max_tokens
    if limit is not None and limit < _LEAST_TOKENS and conversation.is_foreign_to("responses"):
        losses.drop("max_tokens", f"the responses API wants at least {_LEAST_TOKENS}; sent as that")
        return _LEAST_TOKENS
    return limit


def _check(conversation: Conversation, losses: Losses) -> None:
    """Refuse and report the settings that this API does not have."""
    if conversation.n is not None and conversation.n > 1:
        raise refuse("n", "the responses API gives one answer")
    modalities = conversation.extras.get("chat", {}).get("modalities")
    if modalities is not None and b'"audio"' in bytes(modalities):
        raise refuse("modalities", "the responses API answers in text only")
    for field, reason in _UNSUPPORTED_FIELDS:
        if getattr(conversation, field) not in (None, ()):
            losses.drop(field, reason)


def _input(conversation: Conversation, losses: Losses) -> list[Any]:
    """The `input` items of the instructions and messages."""
    history = History(losses, conversation.tools)
    for system in conversation.system:
        if system.cache is not None:
            losses.drop("system.cache_control", "the responses API has other cache marks")
        losses.drop_extras(system.extras, "responses", "system.")
        if "responses" in system.extras:
            history.instruction(system)
    for message in conversation.messages:
        history.turn(message)
    return history.items


def _reasoning(conversation: Conversation, losses: Losses, takes: Takes | None) -> dict[str, Any] | None:
    reasoning = conversation.reasoning
    if reasoning is None:
        return None
    losses.drop_extras(reasoning.extras, "responses", "reasoning.")
    if reasoning.mode == "disabled" and reasoning.effort is not None:
        losses.drop("output_config.effort", NOT_THINKING)
    written = write_reasoning(reasoning)
    if reasoning.mode == "disabled" and takes is not None and takes.thinking is not None:
        written["effort"] = "none"  # the model's row knows its word for it
    return written or None


def _include(conversation: Conversation) -> list[str]:
    """`include`. Seals are requested if the client asked for them or for thinking, whose blocks have a signature in the
    messages API; and also if nothing is stored, because then only its seal carries the reasoning of one turn to the
    next ("Reasoning models", section "Encrypted reasoning items"). Providers take it out again for models that do not
    reason."""
    own = conversation.extras.get("responses", {}).get("include")
    include = [] if own is None else STRINGS.decode(own)
    reasoning = conversation.reasoning
    thinking = reasoning is not None and reasoning.mode in ("enabled", "adaptive")
    if conversation.include_seals or thinking or _store(conversation) is False:
        include.append(SEALS)
    if conversation.logprobs:
        include.append(LOGPROBS)
    return include


def _extras(conversation: Conversation, losses: Losses) -> dict[str, Any]:
    """The fields that only this dialect has, and those that it shares with chat; all others are reported."""
    shared = {name: raw for name, raw in conversation.extras.get("chat", {}).items() if name in SHARED_FIELDS}
    foreign = {
        dialect: {name: raw for name, raw in fields.items() if name not in shared}
        for dialect, fields in conversation.extras.items()
    }
    losses.drop_extras(foreign, "responses")
    own = conversation.extras.get("responses", {})
    return shared | {name: raw for name, raw in own.items() if name not in _MERGED_FIELDS}
