"""ChatGPT's backend behind a gateway: it only streams, and is asked with a token of its own or with the caller's."""

from __future__ import annotations

from typing import Any

import pytest

from plano import Plano
from plano.process.banner import banner
from plano.testing import WAYS, FakeProvider, ask, thinking, tool_call
from plano.types import ClientDialect
from tests.asgi import ask as call

WHO = {"authorization": "Bearer own-token", "chatgpt-account-id": "acct-1", "originator": "codex_cli_rs"}


def backend() -> FakeProvider:
    """A backend that always streams, because it refuses anything else (`Stream must be set to true`)."""
    provider = FakeProvider()
    provider.reply(thinking("Hm."), "I am a model.", tool_call("f", {"x": 1}))
    return provider


def gateway(provider: FakeProvider, **entry: Any) -> Plano:
    return Plano({"model_providers": [{"model": "chatgpt/*", **entry}]}, transport=provider)


@pytest.mark.parametrize(("dialect", "stream"), WAYS)
async def test_every_client_is_answered_as_it_asked(dialect: ClientDialect, stream: bool) -> None:
    provider = backend()
    received = await ask(gateway(provider, access_key="tok"), dialect, "Hello", model="gpt-5.2", stream=stream)
    assert (received.status, received.text) == (200, "I am a model.")
    assert ("event-stream" in received.headers["content-type"]) is stream
    assert [part.name for part in received.reply.parts if hasattr(part, "name")] == ["f"]
    sent = provider.last.json
    assert provider.last.url == "https://chatgpt.com/backend-api/codex/responses"
    assert (sent["model"], sent["stream"], sent["store"]) == ("gpt-5.2", True, False)
    assert sent["instructions"]
    assert isinstance(sent["input"], list)


async def test_a_plain_text_is_answered_as_in_the_documents() -> None:
    provider = backend()
    body = {"model": "gpt-5.2", "input": "Hello, what model are you?"}
    answer = await call(gateway(provider, access_key="tok"), "POST", "/v1/responses", body)
    assert (answer.status, answer.json()["object"], answer.json()["status"]) == (200, "response", "completed")
    assert "I am a model." in answer.body.decode()
    assert provider.last.json["input"] == [{"type": "message", "role": "user", "content": "Hello, what model are you?"}]


@pytest.mark.parametrize(("dialect", "stream"), WAYS)
async def test_the_callers_own_credential_and_account_go_on(dialect: ClientDialect, stream: bool) -> None:
    provider = backend()
    app = gateway(provider, passthrough_auth=True)
    received = await ask(app, dialect, "Hello", model="gpt-5.2", stream=stream, headers=WHO)
    assert received.status == 200
    assert {name: provider.last.headers.get(name) for name in WHO} == WHO


async def test_the_callers_account_is_not_sent_if_the_gateway_has_a_token() -> None:
    provider = backend()
    await ask(gateway(provider, access_key="tok"), "responses", "Hello", model="gpt-5.2", headers=WHO)
    assert provider.last.headers["authorization"] == "Bearer tok"
    assert not {"chatgpt-account-id", "originator"} & set(provider.last.headers)


async def test_the_suggestion_at_the_start_names_a_model_that_exists() -> None:
    app = gateway(backend())
    text = banner(app, "http://127.0.0.1:1")
    suggested = text.partition('"model": "')[2].partition('"')[0]
    assert app.models.resolve(suggested).provider.name == "chatgpt"
