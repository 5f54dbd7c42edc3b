"""Moonshot AI, whose newer models set their sampling themselves."""

from __future__ import annotations

from plano.provider import Provider
from plano.providers import compatible

MOONSHOTAI = Provider(
    name="moonshotai",
    base_url="https://api.moonshot.ai",
    paths={"chat": "/chat/completions"},
    key_variable="MOONSHOT_API_KEY",
    takes=compatible.MOONSHOTAI,
    models=("kimi-k3", "kimi-k2.5", "kimi-k2-thinking", "kimi-k2-0905-preview", "kimi-latest"),
)
