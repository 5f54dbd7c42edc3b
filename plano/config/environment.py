"""Makes a configuration from the environment, for a start without a file."""

from __future__ import annotations

from collections.abc import Mapping

from plano.config.headers import without_outer_blanks, wrong_key
from plano.config.problems import Problems
from plano.config.settings import Config, ProviderEntry
from plano.provider import Provider
from plano.providers import CATALOGUE
from plano.routing.models import WILDCARD
from plano.types import Secret

DEFAULTS: Mapping[str, str] = {
    "openai": "gpt-5.4-mini",
    "anthropic": "claude-haiku-5-5",
    "gemini": "gemini-2.5-flash",
    "mistral": "mistral-small-latest",
    "deepseek": "deepseek-flash",
    "xai": "grok-4.3",
    "groq": "openai/gpt-oss-20b",
    "demo": "echo",
}
"""The model that answers a request that names none, by provider; the first provider that is available counts."""


def from_environment(environ: Mapping[str, str], *, ollama_answers: bool = False) -> Config:
    """Configures `provider/*` for every provider whose usual key variable is set, for a running Ollama, and for `demo`.

    Providers that need more than a key (Azure needs a URL) need a configuration file.

    Args:
        environ: the environment variables.
        ollama_answers: an Ollama listens on its usual port.

    Raises:
        ConfigError: a key has a character that no header can carry. The message names the variable.
    """
    keys = _keys(environ)
    offered = [row for row in CATALOGUE.values() if _offered(row, keys, ollama_answers)]
    names = {row.name for row in offered}
    default = next(name for name in DEFAULTS if name in names)
    entries = [_entry(row, DEFAULTS[default], keys, default=True) for row in offered if row.name == default]
    entries += [_entry(row, WILDCARD, keys) for row in offered]
    return Config(providers=tuple(entries))


def _keys(environ: Mapping[str, str]) -> dict[str, str]:
    """The usual key variables that are set, with the blanks around the keys removed."""
    problems = Problems("environment")
    keys: dict[str, str] = {}
    for variable in sorted({variable for row in CATALOGUE.values() for variable in row.key_variables}):
        key = without_outer_blanks(environ.get(variable, ""))
        wrong = wrong_key(key)
        if wrong is not None:
            problems.error(None, variable, wrong)
        elif key:
            keys[variable] = key
    problems.raise_errors()
    return keys


def _offered(row: Provider, keys: Mapping[str, str], ollama_answers: bool) -> bool:
    if row.name == "demo":
        return True
    if row.name == "ollama":
        return ollama_answers
    return row.base_url is not None and any(variable in keys for variable in row.key_variables)


def _entry(row: Provider, model: str, keys: Mapping[str, str], *, default: bool = False) -> ProviderEntry:
    key = next((keys[variable] for variable in row.key_variables if variable in keys), None)
    name = f"{row.name}/{model}"
    return ProviderEntry(provider=row.name, model=model, name=name, key=Secret(key) if key else None, default=default)
