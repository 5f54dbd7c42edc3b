"""xAI, whose chat API refuses OpenAI's option for web search, and whose older models refuse an effort.

Each of those models either thinks or does not; its name says which.
"""

from __future__ import annotations

import re

from plano.capabilities import Fields, Refused, Takes
from plano.losses import Losses
from plano.provider import Provider
from plano.providers.quirks import strip_effort
from plano.types import UpstreamDialect

_EFFORTLESS = re.compile(r"grok-(3(?!-mini)|4(?!\.|-[2-9])|4\.20(?!-multi)|code)")
"""The models that refuse `reasoning_effort` (docs, "Reasoning"); grok-3-mini takes it, as do all from grok-4.3 on."""


def prepare(dialect: UpstreamDialect, model: str, fields: Fields, losses: Losses) -> None:
    if _EFFORTLESS.match(model):
        thinks = not model.startswith("grok-3") and "non-reasoning" not in model
        strip_effort(dialect, fields, losses, f"{model} is not told how hard to think", thinks=thinks)


def triggers(dialect: UpstreamDialect, model: str) -> tuple[str, ...]:
    """The name of the field that `prepare` looks for."""
    return ("reasoning_effort",) if dialect == "chat" else ("reasoning",)


_REFUSED = Refused(fields=("web_search_options",), reason="xAI's chat API does not take it")

XAI = Provider(
    name="xai",
    base_url="https://api.x.ai",
    paths={"chat": "/chat/completions", "responses": "/responses"},
    key_variables=("XAI_API_KEY",),
    takes={"": Takes(dialects=("chat",), refuses=(_REFUSED,))},
    prepare=prepare,
    triggers=triggers,
)
