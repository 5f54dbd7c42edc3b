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
    prefixes={"messages": "/anthropic/v1"},
    paths={"chat": "/chat/completions", "messages": "/messages"},
    speaks=("chat",),
    key_variables=("MOONSHOT_API_KEY",),
    takes={"": Takes(developer=False), "kimi-k3": Takes(refuses=(_SAMPLING,))},
)
