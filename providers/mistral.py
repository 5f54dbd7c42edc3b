"""Mistral, whose chat API refuses fields that it does not know, and has its own word for two of them."""

from __future__ import annotations

from plano.conversation import Losses
from plano.provider import Fields, Provider
from plano.providers.quirks import developer_as_system, rename
from plano.types import Dialect


def prepare(dialect: Dialect, model: str, fields: Fields, losses: Losses) -> None:
    developer_as_system(fields)
    rename(fields, "max_completion_tokens", "max_tokens")
    rename(fields, "seed", "random_seed")
    # Usage comes with the last chunk of every stream, asked for or not: leaving this out loses nothing.
    fields.pop("stream_options", None)


def heeds(dialect: Dialect, model: str) -> tuple[str, ...]:
    """What `prepare` looks for."""
    return ("developer", "max_completion_tokens", "seed", "stream_options")


MISTRAL = Provider(
    name="mistral",
    base_url="https://api.mistral.ai",
    paths={"chat": "/chat/completions"},
    embeddings="/embeddings",
    key_variable="MISTRAL_API_KEY",
    prepare=prepare,
    heeds=heeds,
    models=(
        "mistral-large-latest",
        "mistral-medium-latest",
        "mistral-small-latest",
        "magistral-medium-latest",
        "magistral-small-latest",
        "codestral-latest",
        "devstral-medium-latest",
        "devstral-small-latest",
        "ministral-8b-latest",
        "ministral-3b-latest",
        "open-mistral-nemo",
    ),
)
