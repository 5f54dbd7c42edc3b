"""`/v1/models` names what the caller may ask for, and everything that it names can be asked for."""

from __future__ import annotations

from typing import Any

import pytest

from plano import Plano
from plano.errors import ConfigError
from plano.testing import FakeProvider
from tests.asgi import ask

KEY = "0123456789abcdef"
CONFIG: dict[str, Any] = {
    "model_providers": [
        {"model": "demo/echo", "name": "mine", "default": True},
        {"model": "mistral/*", "access_key": "sk-m"},
        {"model": "acme/llama", "base_url": "http://acme.test", "provider_interface": "openai"},
    ],
    "model_aliases": {"fast": {"target": "mine"}},
}
FAKE = ["mistral/one", "one"]


def gateway(*models: str) -> Plano:
    auth = {"auth": {"keys": [{"name": "a", "key": KEY, "models": list(models)}]}} if models else {}
    return Plano(CONFIG | auth, transport=FakeProvider(models=("one",)))


async def listed(app: Plano, **headers: str) -> list[str]:
    answer = await ask(app, "GET", "/v1/models?limit=1000", headers={"x-api-key": KEY} | headers)
    return [each["id"] for each in answer.json()["data"]]


MISTRAL = ["codestral-latest", "mistral-large-latest"]


@pytest.mark.parametrize(
    ("models", "seen"),
    [
        (["echo"], ["echo"]),
        (["mine"], ["mine"]),
        (["demo/echo"], ["demo/echo", "echo", "fast", "mine"]),
        (["demo/*"], ["demo/echo", "echo", "fast", "mine"]),
        (["fast"], ["fast"]),
        (["acme/*"], ["acme/llama", "llama"]),
        (["mistral/one"], FAKE),
    ],
)
async def test_a_caller_sees_what_it_may_ask_for_and_may_ask_for_what_it_sees(
    models: list[str], seen: list[str]
) -> None:
    app = gateway(*models)
    for headers in ({}, {"anthropic-version": "2023-06-01"}):
        assert await listed(app, **headers) == seen
    everything = {*(await listed(gateway())), "mistral/another"}
    for name in sorted(everything):
        body = {"model": name, "messages": [{"role": "user", "content": "Hi"}]}
        answer = await ask(app, "POST", "/v1/chat/completions", body, {"x-api-key": KEY})
        assert answer.status == (200 if name in seen else 404), name
        found = await ask(app, "GET", f"/v1/models/{name}", headers={"x-api-key": KEY})
        assert found.status == (200 if name in seen else 404), name


async def test_both_forms_list_every_name_once_and_in_order() -> None:
    names = await listed(gateway())
    assert names == await listed(gateway(), **{"anthropic-version": "2023-06-01"})
    assert names == sorted(set(names))
    assert {"demo/echo", "echo", "mine", "fast", "acme/llama", "llama", *FAKE} < set(names)
    assert {f"mistral/{name}" for name in MISTRAL} | set(MISTRAL) < set(names)


@pytest.mark.parametrize("name", ["acme/other", "nobody/*", "*", "demo*", "one"])
def test_a_caller_cannot_be_given_a_model_that_is_not_known(name: str) -> None:
    """`one` is known from the provider's own list alone, which is not asked for at the start."""
    with pytest.raises(ConfigError, match="no model"):
        gateway(name)


async def test_a_prefix_stands_for_a_whole_provider_and_no_other() -> None:
    names = await listed(gateway("mistral/*"))
    everything = await listed(gateway())
    assert names == [name for name in everything if name.startswith("mistral/") or f"mistral/{name}" in names]
    assert {*FAKE, *MISTRAL} < set(names)


@pytest.mark.parametrize(("query", "named"), [("", False), ("?client_version=0.171.0", True)])
async def test_codex_can_read_the_list(query: str, named: bool) -> None:
    answer = await ask(gateway(), "GET", f"/v1/models{query}")
    found = answer.json()
    assert (found["object"], "fast" in [each["id"] for each in found["data"]]) == ("list", True)
    assert found.get("models") == ([] if named else None)
