"""The catalogue of providers. A new one is a row in `others`, or a file of its own if it has quirks."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from plano.provider import Provider
from plano.providers.anthropic import ANTHROPIC
from plano.providers.azure_openai import AZURE_OPENAI
from plano.providers.chatgpt import CHATGPT
from plano.providers.mistral import MISTRAL
from plano.providers.moonshotai import MOONSHOTAI
from plano.providers.openai import OPENAI
from plano.providers.others import OTHERS
from plano.providers.plain import PLAIN
from plano.providers.xai import XAI

CATALOGUE: Mapping[str, Provider] = MappingProxyType(
    {row.name: row for row in (OPENAI, ANTHROPIC, AZURE_OPENAI, CHATGPT, MISTRAL, MOONSHOTAI, XAI, *PLAIN, *OTHERS)}
)
"""The rows by the names of their providers."""
