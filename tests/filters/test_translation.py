"""A server that may lack an API is asked for it, and asked over chat if it lacks it."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from plano import Plano
from plano.filters.translation.link import lacks_path
from plano.testing import WAYS, Failure, FakeProvider, Verbatim, ask, thinking
from plano.types import CLIENT_DIALECTS as DIALECTS
from plano.types import ClientDialect

PAGE = {"content-type": "text/plain"}
NO_PATH = (404, PAGE, b"404 page not found")


def gateway(provider: FakeProvider, model: str = "acme/m", **entry: Any) -> Plano:
    entry = {
        "model": model,
        "base_url": "http://vllm.test:8000",
        "provider_interface": "openai",
        "default": True,
    } | entry
    said = {key: value for key, value in entry.items() if value is not None}
    return Plano({"model_providers": [said]}, transport=provider)


def asked(provider: FakeProvider) -> list[str]:
    return [recorded.path for recorded in provider.requests]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_server_without_responses_is_asked_over_chat_and_only_once_for_nothing(
    stream: bool, caplog: pytest.LogCaptureFixture
) -> None:
    provider = FakeProvider()
    provider.script(Verbatim(*NO_PATH, on="/responses"))
    provider.reply(thinking("Hm."), "Hello.")
    app = gateway(provider)
    with caplog.at_level(logging.WARNING, "plano"):
        for _ in range(3):
            received = await ask(app, "responses", "Hi", stream=stream)
            assert (received.status, received.dialect, received.text) == (200, "responses", "Hello.")
            assert ("event-stream" in received.headers["content-type"]) == stream
    assert asked(provider) == ["/v1/responses", *["/v1/chat/completions"] * 3]
    assert provider.last.json["messages"] == [{"role": "user", "content": "Hi"}]
    assert [record.getMessage() for record in caplog.records] == [
        "acme/m: its server has no responses API, so it is asked over chat; say so with `apis: [chat]`"
    ]


@pytest.mark.parametrize(("dialect", "stream"), WAYS)
async def test_a_model_that_is_better_over_responses_is_asked_over_chat_there(
    dialect: ClientDialect, stream: bool
) -> None:
    """Clients of every API are served over responses for some of OpenAI's models, and `gpt-6-pro` over it alone."""
    for model in ("openai/gpt-6-sol", "openai/gpt-6-pro"):
        provider = FakeProvider()
        provider.script(Verbatim(*NO_PATH, on="/responses"))
        provider.reply("Hello.")
        received = await ask(gateway(provider, model), dialect, "Hi", stream=stream)
        assert (received.status, received.text) == (200, "Hello.")
        assert provider.last.path == "/v1/chat/completions"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_server_without_messages_is_asked_over_chat(stream: bool) -> None:
    provider = FakeProvider()
    provider.script(Verbatim(405, PAGE, b"", on="/messages"))
    provider.reply("Hello.")
    app = gateway(provider, provider_interface="vercel")
    assert (await ask(app, "messages", "Hi", stream=stream)).text == "Hello."
    assert (await ask(app, "responses", "Hi", stream=stream)).text == "Hello."
    assert asked(provider) == ["/v1/messages", "/v1/chat/completions", "/v1/responses"]


async def test_an_answer_about_the_model_is_the_servers_answer() -> None:
    provider = FakeProvider()
    provider.fail(404, "The model `m` does not exist.", code="model_not_found")
    received = await ask(gateway(provider), "responses", "Hi")
    assert (received.status, received.json["error"]["code"]) == (404, "model_not_found")
    assert asked(provider) == ["/v1/responses"]


async def test_a_server_that_has_neither_is_asked_for_both_each_time() -> None:
    """Its URL may be wrong, and be right one day."""
    provider = FakeProvider()
    provider.script(Failure(404, "Not Found", on="/responses"), Failure(404, "Not Found", on="/completions"))
    app = gateway(provider)
    for _ in range(2):
        assert (await ask(app, "responses", "Hi")).status == 404
    assert asked(provider) == ["/v1/responses", "/v1/chat/completions"] * 2


@pytest.mark.parametrize(
    "entry",
    [
        {"apis": ["responses", "chat"]},
        {"model": "openai/m", "base_url": "https://eu.api.openai.com/v1", "provider_interface": None},
        {"model": "azure_openai/m", "base_url": "https://r.openai.azure.com", "provider_interface": None},
        {"provider_interface": "xai", "base_url": "https://api.x.ai/v1"},
    ],
)
async def test_what_an_entry_or_a_provider_says_it_speaks_is_not_second_guessed(entry: dict[str, Any]) -> None:
    provider = FakeProvider()
    provider.script(Verbatim(*NO_PATH, on="/responses"))
    app = gateway(provider, **entry)
    assert (await ask(app, "responses", "Hi")).status == 404
    assert len(provider.requests) == 1


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_other_failures_are_not_asked_again(dialect: ClientDialect) -> None:
    provider = FakeProvider()
    provider.fail(500)
    assert (await ask(gateway(provider), dialect, "Hi")).status == 500
    assert len(provider.requests) == 1


@pytest.mark.parametrize(
    ("status", "body", "lacks"),
    [
        (404, b'{"detail":"Not Found"}', True),  # vLLM, FastAPI
        (404, b"404 page not found", True),  # Ollama, Go
        (404, b'{"error":{"code":404,"message":"File Not Found","type":"not_found_error"}}', True),  # llama.cpp
        (404, b'{"error":{"message":"Unknown request URL: POST /v1/responses.","code":"unknown_url"}}', True),
        (404, b'{"error":{"message":"Invalid URL (POST /v1/responses)","type":"invalid_request_error"}}', True),
        (404, b"<html><body>No model of a page here</body></html>", True),
        (404, b"", True),
        (405, b'{"error":{"message":"model"}}', True),
        (404, b'{"error":{"message":"The model `x` does not exist.","type":"NotFoundError","code":404}}', False),
        (404, b'{"error":{"message":"model \\"x\\" not found, try pulling it first"}}', False),  # Ollama
        (404, b' {"error":{"code":"DeploymentNotFound","message":"The API deployment does not exist"}}', False),
        (404, b'{"error":{"message":"Previous response with id \'resp_1\' not found."}}', False),
        (400, b"404 page not found", False),
        (200, b"", False),
        (404, None, False),
    ],
)
def test_a_missing_path_is_told_from_a_missing_model(status: int, body: bytes | None, lacks: bool) -> None:
    assert lacks_path(status, body) is lacks
