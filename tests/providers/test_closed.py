"""An entry for a service that has closed is an error that says what to use instead."""

from __future__ import annotations

from typing import Any

import pytest

from plano.config import load
from plano.errors import ConfigError
from plano.providers import CATALOGUE
from plano.providers.closed import CLOSED

GITHUB = (
    "GitHub Models closed on 30 July 2026. Ask the models' own providers, such as `openai/*`, or a router, such as "
    "`openrouter/*`"
)
META = "Meta's Llama API closed on 6 July 2026. Its successor is `meta/*` with a `META_API_KEY` and without `base_url`"
PERPLEXITY = (
    "Perplexity's chat API closed on 27 September 2026. Leave `apis` out: its responses API serves every client, "
    "with models such as `perplexity/sonar`"
)


@pytest.mark.parametrize(
    ("entry", "key", "said"),
    [
        ({"model": "github/openai/gpt-4o"}, "model", GITHUB),
        ({"model": "github/*", "access_key": "k"}, "model", GITHUB),
        (
            {"model": "g/x", "base_url": "https://models.github.ai/inference", "provider_interface": "openai"},
            "base_url",
            GITHUB,
        ),
        (
            {"model": "meta/Llama-3.3-70B-Instruct", "base_url": "https://api.llama.com/compat/v1"},
            "base_url",
            META,
        ),
        ({"model": "perplexity/sonar", "apis": ["chat"]}, "apis", PERPLEXITY),
        ({"model": "perplexity/sonar", "apis": ["chat"], "base_url": "https://api.perplexity.ai"}, "apis", PERPLEXITY),
    ],
)
def test_a_closed_service_is_an_error(entry: dict[str, Any], key: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load({"model_providers": [entry]}, {})
    assert caught.value.problems == [f"config: model_providers[0].{key}: {said}"]


@pytest.mark.parametrize(
    "entry",
    [
        {"model": "github/gpt-4o", "base_url": "http://127.0.0.1:1", "provider_interface": "openai"},
        {"model": "meta/muse", "access_key": "k"},
        {"model": "perplexity/perplexity/sonar", "access_key": "k"},
        {"model": "perplexity/x", "base_url": "http://127.0.0.1:1", "apis": ["chat"]},
    ],
)
def test_an_open_service_of_the_same_name_is_no_error(entry: dict[str, Any]) -> None:
    assert load({"model_providers": [entry]}, {}).providers


def test_a_row_of_the_catalogue_is_closed_in_part_at_most() -> None:
    for closed in CLOSED:
        assert closed.provider not in CATALOGUE or closed.dialect not in (None, *CATALOGUE[closed.provider].paths)
