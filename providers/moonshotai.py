"""Moonshot AI, whose newer models set their sampling themselves."""

from __future__ import annotations

from plano.provider import Provider
from plano.providers import compatible
from plano.providers.windows import WINDOWS

MOONSHOTAI = Provider(
    name="moonshotai",
    base_url="https://api.moonshot.ai",
    prefixes={"messages": "/anthropic/v1"},
    paths={"chat": "/chat/completions", "messages": "/messages"},
    speaks=("chat",),
    key_variables=("MOONSHOT_API_KEY",),
    takes=compatible.MOONSHOTAI,
    windows=WINDOWS["moonshotai"],
)
