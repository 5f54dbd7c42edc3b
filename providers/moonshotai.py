"""Moonshot AI, whose kimi-k3 models refuse sampling settings."""

from __future__ import annotations

from plano.capabilities import Refused, Takes
from plano.provider import Provider

_SAMPLING = Refused(
    fields=("temperature", "top_p", "presence_penalty", "frequency_penalty"), reason="{model} sets its sampling itself"
)

MOONSHOTAI = Provider(
    name="moonshotai",
    base_url="https://api.moonshot.ai",
    paths={"chat": "/chat/completions"},
    key_variable="MOONSHOT_API_KEY",
    takes={"": Takes(developer=False), "kimi-k3": Takes(refuses=(_SAMPLING,))},
    models=("kimi-k3", "kimi-k2.5", "kimi-k2-thinking", "kimi-k2-0905-preview", "kimi-latest"),
)
