"""OpenAI, whose models refuse some fields if they reason, and others if they do not."""

from __future__ import annotations

import re

from plano.capabilities import Fields, decoded, encoded, limits, rename, strip, strip_unless
from plano.losses import Losses
from plano.provider import Provider
from plano.providers.paths import EMBEDDINGS
from plano.providers.quirks import strip_effort
from plano.types import UpstreamDialect

_REASONING = re.compile(r"o\d|gpt-[5-9](?!.*-chat)")
"""The models that reason: o1, o3, o4-mini ..., and from gpt-5 on all but `gpt-5-chat-latest` and its kind."""

_NOT_REASONING = re.compile(r"(ft:)?gpt-[34]|chatgpt-|gpt-[5-9].*-chat")
"""The models that refuse `reasoning_effort` (chat: an unrecognized argument) and `reasoning` (responses: an unsupported
parameter), with any value."""

_SEALS = "reasoning.encrypted_content"

_RESPONSES_ONLY = re.compile(r"(o\d|gpt-[5-9]).*-(pro|codex|deep-research|cyber)|computer-use")
"""The models that the model pages list only under the responses API."""

_BETTER_IN_RESPONSES = re.compile(r"gpt-(5\.[6-9]|[6-9])")
"""The models that, in the chat API, refuse function tools together with reasoning (`To use function tools, use
/v1/responses or set reasoning_effort to 'none'`)."""

_QUIET_BY_DEFAULT = re.compile(r"gpt-5\.[1-4]")
"""The reasoning models that only reason if they are asked to, and until then take temperature and the like."""

_SAMPLING: dict[str, float | None] = {
    "temperature": 1,
    "top_p": 1,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "logprobs": False,
    "top_logprobs": None,
    "logit_bias": None,
}


def prepare(dialect: UpstreamDialect, model: str, fields: Fields, losses: Losses) -> None:
    """Fit the fields to the model.

    A reasoning model gets `max_tokens` under its new name, and no sampling settings while it reasons. Any other model
    gets nothing about reasoning.
    """
    if _NOT_REASONING.match(model):
        _say_nothing_of_reasoning(dialect, model, fields, losses)
    if not model.startswith(("gpt-", "o")) or _REASONING.match(model) is None:
        return
    if dialect == "chat":
        rename(fields, "max_tokens", "max_completion_tokens")
    if _reasons(dialect, model, fields):
        strip_unless(fields, _SAMPLING, losses, f"{model} does not take it while it reasons")


def triggers(dialect: UpstreamDialect, model: str) -> tuple[str, ...]:
    """The names of the fields that `prepare` looks for."""
    if _NOT_REASONING.match(model):
        return ("reasoning_effort",) if dialect == "chat" else ("reasoning", "include")
    return ("max_tokens", *_SAMPLING) if _REASONING.match(model) else ()


def _say_nothing_of_reasoning(dialect: UpstreamDialect, model: str, fields: Fields, losses: Losses) -> None:
    """Drop everything about reasoning."""
    reason = f"{model} does not reason"
    strip_effort(dialect, fields, losses, reason)
    if dialect == "responses":
        strip(fields, ("reasoning",), losses, reason)
        include = decoded(fields.get("include"))
        if isinstance(include, list) and _SEALS in include:  # refused as well, and the reply would have no seals
            fields["include"] = encoded([item for item in include if item != _SEALS])


def served_over(model: str) -> tuple[UpstreamDialect, ...]:
    """The dialects that serve a model, the best first.

    Chat comes first, because every client dialect can be translated to it, except for models that are better under
    responses, or that only responses serves.
    """
    if _RESPONSES_ONLY.match(model):
        return ("responses",)
    if _BETTER_IN_RESPONSES.match(model):
        return ("responses", "chat")
    return ("chat", "responses")


def _reasons(dialect: UpstreamDialect, model: str, fields: Fields) -> bool:
    """Whether the model will reason on this request."""
    if dialect == "chat":
        effort = decoded(fields.get("reasoning_effort"))
    else:
        reasoning = decoded(fields.get("reasoning"))
        effort = reasoning.get("effort") if isinstance(reasoning, dict) else None
    if effort is None:
        return _QUIET_BY_DEFAULT.match(model) is None
    return effort != "none"


OPENAI = Provider(
    name="openai",
    base_url="https://api.openai.com",
    paths={"chat": "/chat/completions", "responses": "/responses"},
    narrow=served_over,
    operations={("responses", "count_tokens"): "/responses/input_tokens", **EMBEDDINGS},
    key_variables=("OPENAI_API_KEY",),
    prepare=prepare,
    triggers=triggers,
    takes=limits(
        {
            "chatgpt-4o": 16_384,
            "gpt-3.5": 4_096,
            "gpt-4-turbo": 4_096,
            "gpt-4.1": 32_768,
            "gpt-4.5": 16_384,
            "gpt-4o": 16_384,
            "gpt-4o-2024-05-13": 4_096,
        }
    ),
)
