"""Decides a request's `thinking`, `output_config.effort` and `max_tokens` from a conversation's reasoning.

Source: "Extended thinking", sections "Feature compatibility" and "Extended thinking with tool use". While
thinking is on, the API refuses a temperature other than 1, `top_k`, a `top_p` below 0.95, a forced tool, and a turn
of tool calls without its thinking blocks.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from plano.capabilities import Takes
from plano.capabilities.efforts import BUDGETS, EFFORTS, budget_of, clamped, effort_of
from plano.conversation import Conversation, Message, Reasoning, RedactedThinking, Thinking, ToolCall, ToolResult
from plano.dialects.fields import own
from plano.losses import Losses

DEFAULT_MAX_TOKENS = 4096
"""Output tokens, if neither the client nor the catalogue gives a number; the field is required."""


class Plan(Struct, frozen=True, kw_only=True):
    """The fields to write. `thinking` and `effort` are None if they are left out."""

    max_tokens: int
    thinking: dict[str, Any] | None = None
    effort: str | None = None

    @property
    def thinks(self) -> bool:
        """Whether the model will think."""
        return self.thinking is not None and self.thinking.get("type") != "disabled"


def plan(conversation: Conversation, losses: Losses, takes: Takes | None = None) -> Plan:
    """The fields for a conversation; settings that they cannot express are reported to `losses`. `takes` is the row of
    the model."""
    reasoning = conversation.reasoning
    max_tokens = conversation.max_tokens
    silent = Plan(max_tokens=max_tokens if max_tokens is not None else DEFAULT_MAX_TOKENS)
    if reasoning is None:
        return silent
    losses.drop_extras(reasoning.extras, "messages", "reasoning.")
    if "messages" in reasoning.extras:
        return _native(reasoning, conversation, silent, losses, takes)
    if reasoning.summary not in (None, "auto"):
        losses.drop("reasoning.summary", "the messages API has one kind of summary")
    found = _translated(reasoning, conversation, silent, losses, takes)
    if reasoning.summary is None or found.thinking is None or not found.thinks:
        return found
    return replace(found, thinking={**found.thinking, "display": "summarized"})  # newer models hide it unless asked


def _decides(takes: Takes | None) -> bool:
    """Whether the model decides how much to think, and only an effort guides it."""
    return takes is not None and takes.thinking is not None and takes.thinking.claude in ("adaptive", "both", "switch")


def _native(
    reasoning: Reasoning, conversation: Conversation, silent: Plan, losses: Losses, takes: Takes | None
) -> Plan:
    """The fields as a client of this dialect wrote them. Thinking is left out only if tool calls that another vendor's
    model made forbid it."""
    said = replace(silent, effort=reasoning.effort)
    thinking = dict[str, Any](own(reasoning.extras, "messages"))
    if reasoning.mode is not None:
        thinking = {"type": reasoning.mode, **thinking}
    if reasoning.budget is not None:
        thinking["budget_tokens"] = reasoning.budget
    if not thinking:
        return said
    if reasoning.mode == "enabled" and not _decides(takes) and _calls_unthought(conversation.messages):
        losses.drop("thinking", _UNTHOUGHT)
        return said
    return replace(said, thinking=thinking)


def _translated(
    reasoning: Reasoning, conversation: Conversation, silent: Plan, losses: Losses, takes: Takes | None
) -> Plan:
    """The fields for reasoning that a client of another dialect asked for."""
    if reasoning.mode == "disabled" or reasoning.effort == "none" or reasoning.budget == 0:
        return replace(silent, thinking={"type": "disabled"})
    if reasoning.mode == "adaptive":
        return replace(silent, thinking={"type": "adaptive"}, effort=reasoning.effort)
    if reasoning.effort is None and reasoning.budget is None:
        return silent
    if takes is not None and takes.thinking is not None and takes.thinking.when == "never":
        losses.drop("reasoning_effort", "the model does not think")
        return silent
    if _decides(takes) and (reasoning.effort is None or reasoning.effort in EFFORTS):
        effort = reasoning.effort or effort_of(reasoning.budget or 0)
        return replace(silent, thinking={"type": "adaptive"}, effort=effort)
    hindrance = _hindrance(conversation)
    budget = _budget(reasoning, conversation.max_tokens)
    if hindrance is None and budget is None:
        known = reasoning.budget is not None or reasoning.effort in BUDGETS
        hindrance = "max_tokens leaves no room for it" if known else "the messages API has no such effort"
    if hindrance is not None or budget is None:
        losses.drop("reasoning_effort", hindrance or "")
        return silent
    max_tokens = silent.max_tokens if conversation.max_tokens is not None else silent.max_tokens + budget
    return Plan(max_tokens=max_tokens, thinking={"type": "enabled", "budget_tokens": budget})


def _budget(reasoning: Reasoning, max_tokens: int | None) -> int | None:
    """The budget for thinking, in tokens; None if there is no room for it, or the effort is unknown."""
    if reasoning.budget is not None:
        return clamped(reasoning.budget, max_tokens)
    return budget_of(reasoning.effort or "", max_tokens)


_UNTHOUGHT = "the tool calls being answered were made without thinking that the messages API signed"


def _hindrance(conversation: Conversation) -> str | None:
    """The reason why this API cannot think in this conversation, or None."""
    choice = conversation.tool_choice
    if choice is not None and (choice.mode in ("required", "named") or (choice.mode == "allowed" and choice.required)):
        return "the messages API does not think when a tool is forced"
    return _UNTHOUGHT if _calls_unthought(conversation.messages) else None


def _calls_unthought(messages: tuple[Message, ...]) -> bool:
    """Whether the conversation ends in results of calls, and the turn that made those has no thinking that this API
    signed."""
    if not messages or not any(isinstance(part, ToolResult) for part in messages[-1].parts):
        return False
    turn = []
    for message in reversed(messages):
        if message.role == "assistant":
            turn.append(message)
        elif turn:
            break
    parts = [part for message in turn for part in message.parts]
    called = any(isinstance(part, ToolCall) for part in parts)
    return called and not any(
        isinstance(part, RedactedThinking) or (isinstance(part, Thinking) and part.origin == "messages" and part.seal)
        for part in parts
    )
