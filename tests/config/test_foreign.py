"""The configurations of other gateways are told by what they are, not by each key that plano does not know."""

from __future__ import annotations

from pathlib import Path

import pytest

from plano.config import Config, load
from plano.config.providers import CALLED_ELSEWHERE, UNSUPPORTED
from plano.errors import ConfigError
from plano.providers import CATALOGUE


def load_text(folder: Path, text: str, environ: dict[str, str] | None = None) -> Config:
    path = folder / "plano_config.yaml"
    path.write_text(text)
    return load(path, environ or {})


LITELLM = """\
model_list:
  - model_name: gpt-4o
    litellm_params:
      model: openai/gpt-4o
      api_key: os.environ/OPENAI_API_KEY
  - model_name: spare
    litellm_params:
      model: azure/gpt-4o
      api_base: https://x.openai.azure.com
      api_key: sk-planted-0123456789
      rpm: 60
  - model_name: "*"
    litellm_params:
      model: anthropic/*
  - model_name: fourth
    litellm_params: {model: o3}
litellm_settings: {drop_params: true}
router_settings: {fallbacks: [{gpt-4o: [claude]}]}
general_settings: {master_key: os.environ/LITELLM_MASTER_KEY}
"""

BIFROST = """\
{"providers": {
  "openai": {"keys": [{"name": "k", "value": "env.OPENAI_KEY", "models": ["gpt-4o", "o3"], "weight": 1.0}]},
  "vertex": {"keys": [{"value": "sk-planted-0123456789"}], "network_config": {"base_url": "https://h.example"}}},
 "config_store": {"enabled": true}}
"""

CASES = [
    pytest.param(
        LITELLM,
        "is a configuration of LiteLLM, not of plano; in plano's form it begins with:\n"
        "model_providers:\n"
        "  - {model: openai/gpt-4o, access_key: $OPENAI_API_KEY}\n"
        "  - {model: azure_openai/gpt-4o, access_key: $AZURE_OPENAI_API_KEY, base_url: https://x.openai.azure.com, "
        "name: spare}\n"
        "  - {model: anthropic/*}",
        id="LiteLLM",
    ),
    pytest.param(
        BIFROST,
        "is a configuration of Bifrost, not of plano; in plano's form it begins with:\n"
        "model_providers:\n"
        "  - {model: openai/gpt-4o, access_key: $OPENAI_KEY}\n"
        "  - {model: openai/o3, access_key: $OPENAI_KEY}\n"
        "  - {model: vertex_ai/*, access_key: $PROVIDER_API_KEY, base_url: https://h.example}",
        id="Bifrost",
    ),
    pytest.param("model_list: []", "is a configuration of LiteLLM, not of plano", id="LiteLLM without models"),
    pytest.param(
        "model_list: [3, {model_name: a}, {litellm_params: {model: [b]}}]",
        "is a configuration of LiteLLM, not of plano",
        id="LiteLLM with errors",
    ),
    pytest.param(
        "model_list: [{model_name: gpt, litellm_params: {model: gpt-4o, api_base: os.environ/BASE}}]",
        "is a configuration of LiteLLM, not of plano; in plano's form it begins with:\n"
        "model_providers:\n"
        "  - {model: openai/gpt-4o, base_url: $BASE, name: gpt}",
        id="LiteLLM without a provider",
    ),
]


@pytest.mark.parametrize(("text", "said"), CASES)
def test_a_configuration_of_another_gateway_is_one_problem(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_text(tmp_path, text)
    assert caught.value.problems == [f"{tmp_path}/plano_config.yaml:1: {said}"]


@pytest.mark.parametrize(("elsewhere", "here"), CALLED_ELSEWHERE.items())
def test_a_name_of_elsewhere_is_no_name_here_and_stands_for_one(elsewhere: str, here: str) -> None:
    assert elsewhere not in CATALOGUE
    assert here in CATALOGUE or here in UNSUPPORTED


def test_the_beginning_that_is_shown_loads(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_text(tmp_path, LITELLM)
    shown = caught.value.message.partition(":\n")[2]
    config = load_text(tmp_path, shown, {"OPENAI_API_KEY": "a", "AZURE_OPENAI_API_KEY": "b"})
    assert [entry.name for entry in config.providers] == ["openai/gpt-4o", "spare", "anthropic/*"]


@pytest.mark.parametrize(
    "text",
    [
        "model_providers: [{model: demo/a}]\nmodel_list: []\n",
        "providers: [{model: demo/a}]\n",
        "providers: {openai: {}}\n",
    ],
)
def test_a_mistake_in_planos_own_is_not_taken_for_another_gateways(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="is not a valid key here"):
        load_text(tmp_path, text)
