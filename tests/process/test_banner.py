"""The text that `plano up` prints: a request in it works as it stands, but for a caller's key."""

from __future__ import annotations

import json
import re
import shlex
from typing import Any

import pytest

from plano import Plano
from plano.config import from_environment
from plano.process.banner import banner
from plano.testing import FakeProvider
from tests.asgi import ask

KEYS = {"auth": {"keys": [{"name": "app", "key": "sk-app-0123456789abcdef"}]}}


def entry(model: str, **more: Any) -> dict[str, Any]:
    return {"model": model, "access_key": "sk-1", **more}


def config(*entries: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"model_providers": list(entries), "state_storage": {"type": "none"}, **more}


def curl_of(said: str) -> list[str] | None:
    """The words of the request to try."""
    _, found, command = said.partition("try:")
    return shlex.split(command.replace("\\\n", " ")) if found else None


@pytest.mark.parametrize(
    ("said", "model"),
    [
        (config(entry("openai/gpt-4o"), entry("anthropic/claude")), "openai/gpt-4o"),
        (config(entry("openai/gpt-4o"), entry("anthropic/claude", default=True)), "anthropic/claude"),
        (config(entry("openai/*"), entry("mistral/small")), "mistral/small"),
        (config(entry("openai/*"), entry("mistral/small", default=True)), "mistral/small"),
        (config(entry("nvidia/*"), entry("openai/*")), "openai/gpt-5.4-mini"),
        (config(entry("nvidia/*")), None),
        (config(entry("openai/o3"), model_aliases={"a": {"target": "openai/o3"}}), "openai/o3"),
    ],
)
async def test_the_request_to_try_names_a_model_that_answers(said: dict[str, Any], model: str | None) -> None:
    app = Plano(said, transport=FakeProvider())
    text = banner(app, "http://127.0.0.1:12000")
    curl = curl_of(text)
    if model is None:
        assert curl is None
        assert "listens on http://127.0.0.1:12000" in text
        return
    assert curl is not None
    body = json.loads(curl[curl.index("-d") + 1])
    assert body["model"] == model
    assert curl[1] == "http://127.0.0.1:12000/v1/chat/completions"
    assert (await ask(app, "POST", "/v1/chat/completions", body)).status == 200


async def test_without_a_file_the_request_works_too() -> None:
    app = Plano(from_environment({"GROQ_API_KEY": "sk-groq"}), transport=FakeProvider())
    curl = curl_of(banner(app, "http://127.0.0.1:1"))
    assert curl is not None
    assert (await ask(app, "POST", "/v1/chat/completions", json.loads(curl[-1]))).status == 200


@pytest.mark.parametrize("keyed", [False, True])
def test_where_callers_have_keys_the_request_has_a_place_for_one(keyed: bool) -> None:
    text = banner(Plano(config(entry("openai/gpt-4o"), **(KEYS if keyed else {}))), "http://127.0.0.1:1")
    assert ("authorization: Bearer YOUR-KEY" in (curl_of(text) or [])) is keyed
    assert "sk-app" not in text


def test_many_models_are_counted_and_a_quote_in_a_name_does_not_end_the_command() -> None:
    text = banner(Plano(config(*(entry(f"openai/m{number:02}") for number in range(20)))), "http://127.0.0.1:1")
    assert re.search(r"^models: openai/m00, .*openai/m11 and 8 more$", text, re.MULTILINE)
    curl = curl_of(banner(Plano(config(entry("openai/it's"))), "http://127.0.0.1:1"))
    assert curl is not None
    assert json.loads(curl[-1])["model"] == "openai/it's"
