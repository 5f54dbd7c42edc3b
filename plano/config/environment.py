"""A configuration where nobody wrote one: what the environment offers."""

from __future__ import annotations

from collections.abc import Mapping

from plano.config.settings import Config, ProviderEntry
from plano.models import WILDCARD
from plano.provider import Provider
from plano.providers import CATALOGUE
from plano.types import Secret

DEFAULTS: Mapping[str, str] = {
    "openai": "gpt-5.4-mini",
    "anthropic": "claude-haiku-5-5",
    "gemini": "gemini-2.5-flash",
    "mistral": "mistral-small-latest",
    "deepseek": "deepseek-chat",
    "xai": "grok-4-fast-non-reasoning",
    "groq": "llama-3.3-70b-versatile",
    "demo": "echo",
}
"""Provider to the model that answers where a request names none; the first provider that is there counts."""


def from_environment(environ: Mapping[str, str], *, ollama_answers: bool = False) -> Config:
    """Every provider whose usual key variable is set, as `provider/*`; an Ollama on its port; and `demo`.

    Providers that need more than a key (Azure's own URL, say) need a configuration.
    """
    offered = [row for row in CATALOGUE.values() if _offered(row, environ, ollama_answers)]
    names = {row.name for row in offered}
    default = next(name for name in DEFAULTS if name in names)
    entries = [_entry(row, DEFAULTS[default], environ, default=True) for row in offered if row.name == default]
    entries += [_entry(row, WILDCARD, environ) for row in offered]
    return Config(providers=tuple(entries))


def _offered(row: Provider, environ: Mapping[str, str], ollama_answers: bool) -> bool:
    if row.name == "demo":
        return True
    if row.name == "ollama":
        return ollama_answers
    return row.base_url is not None and row.key_variable is not None and bool(environ.get(row.key_variable))


def _entry(row: Provider, model: str, environ: Mapping[str, str], *, default: bool = False) -> ProviderEntry:
    key = environ.get(row.key_variable) if row.key_variable is not None else None
    name = f"{row.name}/{model}"
    return ProviderEntry(provider=row.name, model=model, name=name, key=Secret(key) if key else None, default=default)
