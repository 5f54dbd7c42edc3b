"""The rows of the messages and responses APIs of compatible servers, each with its sources.

A server of the catalogue hosts no web search unless its documentation says so. Claude behind a gateway takes what it
takes at Anthropic's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from msgspec.structs import replace

from plano.capabilities import Refused, Takes, Thinking
from plano.providers.anthropic import MODELS

Rows = Mapping[str, Takes]

EVERY_MODEL: Mapping[str, str] = {"messages": "*", "responses": "?*"}
"""The patterns that all models match, besides the empty one of the first API, because a pattern has one row."""

_SEARCHLESS = Takes(searches=False)
_SEARCHES = Takes(searches=True)


def other_apis(models: Rows | None = None, *, messages: Takes = _SEARCHLESS, responses: Takes = _SEARCHLESS) -> Rows:
    """The rows of a server's other APIs: those of all its models, and those of `models` in the messages API. The
    patterns of `models` are told apart from those of the first API by a `*` at their end."""
    return {
        EVERY_MODEL["messages"]: replace(messages, dialects=("messages",)),
        EVERY_MODEL["responses"]: replace(responses, dialects=("responses",)),
        **{f"{start}*": replace(row, dialects=("messages",)) for start, row in (models or {}).items()},
    }


def claude(prefix: str) -> Rows:
    """The rows of Claude's models under a gateway's names: after this prefix, and with versions as `4-5` or `4.5`."""
    return {prefix + _dotted(start): replace(row, dialects=("messages",)) for start, row in MODELS.items()}


def _dotted(start: str) -> str:
    """A pattern that takes a point too where a version has a hyphen, which is one outside of brackets."""
    return re.sub(r"\[.*?\]|(?<=\d)-", lambda found: "[-.]" if found[0] == "-" else found[0], start)


NOTHING_KNOWN = other_apis()

# "Anthropic API", section "Anthropic API Compatibility Details": `budget_tokens` is ignored, of `output_config` only
# the effort is taken, and results of web searches are not supported. While it thinks, no tool can be forced
# (deepseek-ai/awesome-deepseek-integration#606), and an effort is a 400 beside thinking that is turned off
# (anthropics/claude-code#65863).
DEEPSEEK = other_apis(
    messages=Takes(
        thinking=Thinking("default", ("low", "high", "max"), claude="switch"),
        forces="unthinking",
        refuses=(Refused(fields=("top_k", "container", "mcp_servers"), reason="DeepSeek passes it over"),),
        searches=False,
    )
)

# "Compatible Anthropic API", section "Supported Parameters".
MINIMAX = other_apis(
    messages=Takes(
        refuses=(
            Refused(
                fields=("top_k", "stop_sequences", "mcp_servers", "context_management", "container"),
                reason="MiniMax passes it over",
            ),
        ),
        searches=False,
    )
)

# "Anthropic compatible - Messages": `thinking` with a budget, which the Coder series does not take. "OpenAI compatible
# - Responses", section "Built-in tools": `web_search`.
QWEN = other_apis(
    {"qwen3-coder": Takes(thinking=Thinking("never", claude="budget"))},
    messages=Takes(thinking=Thinking("asked", claude="budget"), searches=False),
    responses=_SEARCHES,
)

# "Anthropic API Compatibility" and "Deep Thinking": `thinking.type` is `enabled` or `disabled`.
XIAOMI = other_apis(messages=Takes(thinking=Thinking("default", claude="switch"), searches=False))

# "Anthropic compatibility", sections "Reasoning effort mapping" and "Unsupported features": `adaptive` is not taken,
# and there are no server tools.
FIREWORKS = other_apis(
    messages=Takes(thinking=Thinking("asked", ("low", "medium", "high"), claude="budget"), searches=False)
)

# "Agent API", section "Tools": `web_search`.
PERPLEXITY = other_apis(responses=_SEARCHES)
