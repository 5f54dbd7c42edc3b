"""xAI, whose chat API refuses OpenAI's option for web search, and whose older models refuse an effort.

Each of those models either thinks or does not; its name says which.
"""

from __future__ import annotations

import re

from plano.losses import Losses
from plano.provider import Fields, Provider
from plano.providers.quirks import strip, strip_effort
from plano.types import UpstreamDialect

_EFFORTLESS = re.compile(r"grok-(3(?!-mini)|4(?!\.|-[2-9])|4\.20(?!-multi)|code)")
"""The models that refuse `reasoning_effort` (docs, "Reasoning"); grok-3-mini takes it, as do all from grok-4.3 on."""


def prepare(dialect: UpstreamDialect, model: str, fields: Fields, losses: Losses) -> None:
    """Drop the option for web search, and the effort for models that refuse it."""
    if dialect == "chat":
        strip(fields, ("web_search_options",), losses, "xAI's chat API does not take it")
    if _EFFORTLESS.match(model):
        thinks = not model.startswith("grok-3") and "non-reasoning" not in model
        strip_effort(dialect, fields, losses, f"{model} is not told how hard to think", thinks=thinks)


def heeds(dialect: UpstreamDialect, model: str) -> tuple[str, ...]:
    """The names of the fields that `prepare` looks for."""
    return ("web_search_options", "reasoning_effort") if dialect == "chat" else ("reasoning",)


XAI = Provider(
    name="xai",
    base_url="https://api.x.ai",
    paths={"chat": "/chat/completions", "responses": "/responses"},
    key_variable="XAI_API_KEY",
    prepare=prepare,
    heeds=heeds,
    models=(
        "grok-4",
        "grok-4-0709",
        "grok-4-fast-reasoning",
        "grok-4-fast-non-reasoning",
        "grok-code-fast-1",
        "grok-3",
        "grok-3-mini",
    ),
)
