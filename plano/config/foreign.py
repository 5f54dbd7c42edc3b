"""Recognises the configurations of LiteLLM and Bifrost, and shows the first entries of one in plano's form.

LiteLLM: documentation, "Overview", `model_list` with `model_name` and `litellm_params` (api_key: os.environ/NAME).
Bifrost: documentation, "Provider configuration", `providers.<name>.keys[]` with `value` (env.NAME) and `models`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

from plano.config.document import Children, Node
from plano.config.providers import CALLED_ELSEWHERE
from plano.config.showing import is_harmless
from plano.providers import CATALOGUE

_VARIABLE = re.compile(r"(?:os\.environ/|env\.)([A-Za-z_]\w*)")
_MOST_SHOWN = 3


def foreign(root: Children) -> str | None:
    """The message about a configuration of another gateway, with its first entries in plano's form; else None."""
    for tool, entries in (("LiteLLM", _of_litellm(root)), ("Bifrost", _of_bifrost(root))):
        if entries is not None:
            lines = [f"\n  - {entry}" for entry in islice(entries, _MOST_SHOWN)]
            begins = "; in plano's form it begins with:\nmodel_providers:" if lines else ""
            return f"is a configuration of {tool}, not of plano{begins}{''.join(lines)}"
    return None


def _of_litellm(root: Children) -> Iterator[str] | None:
    models = _items(root.get("model_list"))
    if "model_list" not in root or "model_providers" in root:
        return None
    return (entry for node in models if (entry := _litellm_entry(_pairs(node))))


def _litellm_entry(said: Children) -> str:
    parameters = _pairs(said.get("litellm_params"))
    name, model = _text(said.get("model_name")), _text(parameters.get("model"))
    if not model:
        return ""
    provider, slash, bare = model.partition("/")
    if not slash:  # LiteLLM finds the provider of OpenAI's models by their names
        provider, bare = "openai", model
    own = name if name not in (bare, model, "*") else ""
    return _entry(provider, bare, _text(parameters.get("api_key")), _text(parameters.get("api_base")), own)


def _of_bifrost(root: Children) -> Iterator[str] | None:
    providers = _pairs(root.get("providers"))
    if "model_providers" in root or not any("keys" in _pairs(said) for said in providers.values()):
        return None
    return (
        _entry(provider, model, _text(_pairs(key).get("value")), _base_url(_pairs(said)), "")
        for provider, said in providers.items()
        for key in _items(_pairs(said).get("keys"))
        for model in [_text(each) for each in _items(_pairs(key).get("models"))] or ["*"]
    )


def _base_url(said: Children) -> str:
    return _text(_pairs(said.get("network_config")).get("base_url"))


def _entry(provider: str, model: str, key: str, base_url: str, name: str) -> str:
    """An entry of `model_providers` on one line. A key that is no variable is replaced by one."""
    provider = CALLED_ELSEWHERE.get(provider, provider)
    row = CATALOGUE.get(provider)
    pairs = {"model": f"{provider}/{model}"}
    if key:
        variable = _VARIABLE.fullmatch(key)
        usual = next(iter(row.key_variables if row is not None else ()), "PROVIDER_API_KEY")
        pairs["access_key"] = f"${variable[1] if variable else usual}"
    if base_url:
        variable = _VARIABLE.fullmatch(base_url)
        pairs["base_url"] = f"${variable[1]}" if variable else base_url
    if name:
        pairs["name"] = name
    return "{" + ", ".join(f"{word}: {value if is_harmless(value) else '...'}" for word, value in pairs.items()) + "}"


def _pairs(node: Node | None) -> Children:
    return node.value if node is not None and isinstance(node.value, dict) else {}


def _items(node: Node | None) -> list[Node]:
    return node.value if node is not None and isinstance(node.value, list) else []


def _text(node: Node | None) -> str:
    return (node.text or "") if node is not None else ""
