"""Moonshot AI, whose kimi-k3 models refuse sampling settings."""

from __future__ import annotations

from plano.losses import Losses
from plano.provider import Fields, Provider
from plano.providers.quirks import developer_as_system, strip
from plano.types import UpstreamDialect

_SAMPLING = ("temperature", "top_p", "presence_penalty", "frequency_penalty")


def prepare(dialect: UpstreamDialect, model: str, fields: Fields, losses: Losses) -> None:
    """Make developer messages system messages, and drop the sampling settings of kimi-k3 models."""
    developer_as_system(fields)
    if model.startswith("kimi-k3"):
        strip(fields, _SAMPLING, losses, f"{model} sets its sampling itself")


def heeds(dialect: UpstreamDialect, model: str) -> tuple[str, ...]:
    """The words that `prepare` looks for."""
    return ("developer", *_SAMPLING)


MOONSHOTAI = Provider(
    name="moonshotai",
    base_url="https://api.moonshot.ai",
    paths={"chat": "/chat/completions"},
    key_variable="MOONSHOT_API_KEY",
    prepare=prepare,
    heeds=heeds,
    models=("kimi-k3", "kimi-k2.5", "kimi-k2-thinking", "kimi-k2-0905-preview", "kimi-latest"),
)
