"""xAI, whose chat API has web search as a tool and refuses OpenAI's option for it."""

from __future__ import annotations

from plano.conversation import Losses
from plano.provider import Fields, Provider
from plano.providers.quirks import strip
from plano.types import Dialect


def prepare(dialect: Dialect, model: str, fields: Fields, losses: Losses) -> None:
    if dialect == "chat":
        strip(fields, ("web_search_options",), losses, "xAI's chat API does not take it")


XAI = Provider(
    name="xai",
    base_url="https://api.x.ai",
    paths={"chat": "/chat/completions", "responses": "/responses"},
    key_variable="XAI_API_KEY",
    prepare=prepare,
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
