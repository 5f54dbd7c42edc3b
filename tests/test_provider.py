"""URLs and credentials, from rows made up for the purpose."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from plano.capabilities import limits
from plano.credentials.headers import credential
from plano.operations import Endpoint, EndpointPath
from plano.provider import ModelList, Provider, endpoints, list_url, with_model
from plano.types import Secret, UpstreamDialect

ROW = Provider(
    name="row",
    base_url="https://row.test",
    prefix="/openai/v1",
    paths={"chat": "/chat/completions", "messages": "/messages"},
    operations={
        ("messages", "count_tokens"): "/messages/count_tokens",
        ("chat", "embeddings"): "/embeddings",
    },
)


@pytest.mark.parametrize(
    ("base_url", "chat"),
    [
        (None, "https://row.test/openai/v1/chat/completions"),
        ("http://vllm:8000", "http://vllm:8000/openai/v1/chat/completions"),
        ("http://vllm:8000/", "http://vllm:8000/openai/v1/chat/completions"),
        ("http://vllm:8000/v1", "http://vllm:8000/v1/chat/completions"),
        ("http://vllm:8000/v1/", "http://vllm:8000/v1/chat/completions"),
        ("https://llm.acme/api/v2", "https://llm.acme/api/v2/chat/completions"),
        ("https://llm.acme/api/v2?team=a&x=", "https://llm.acme/api/v2/chat/completions?team=a&x="),
        ("https://llm.acme?team=a", "https://llm.acme/openai/v1/chat/completions?team=a"),
        ("https://llm.acme/v1#part", "https://llm.acme/v1/chat/completions"),
        ("http://[::1]:8000", "http://[::1]:8000/openai/v1/chat/completions"),
    ],
)
def test_a_base_urls_path_takes_the_place_of_the_prefix(base_url: str | None, chat: str) -> None:
    assert endpoints(ROW, ["chat"], base_url)["chat", "create"].url == chat


def test_every_dialect_has_its_endpoints_at_the_same_base() -> None:
    found = endpoints(ROW, ["messages", "responses"], "http://vllm:8000/v1")
    assert {key: each.url for key, each in found.items()} == {
        ("messages", "create"): "http://vllm:8000/v1/messages",
        ("messages", "count_tokens"): "http://vllm:8000/v1/messages/count_tokens",
        ("responses", "create"): "http://vllm:8000/v1/responses",
        ("chat", "embeddings"): "http://vllm:8000/v1/embeddings",
    }


@pytest.mark.parametrize(
    ("base_url", "messages"),
    [
        ("https://api.deepseek.com/anthropic", "https://api.deepseek.com/anthropic/v1/messages"),
        ("https://api.deepseek.com/anthropic/", "https://api.deepseek.com/anthropic/v1/messages"),
        ("https://api.deepseek.com/anthropic/v1", "https://api.deepseek.com/anthropic/v1/messages"),
        ("https://r.services.ai.azure.com/anthropic", "https://r.services.ai.azure.com/anthropic/v1/messages"),
        ("https://llm.acme/api/v2beta?team=a", "https://llm.acme/api/v2beta/messages?team=a"),
        ("https://llm.acme/v1beta1", "https://llm.acme/v1beta1/messages"),
        ("https://llm.acme/dev", "https://llm.acme/dev/v1/messages"),
        ("https://llm.acme/v1/team", "https://llm.acme/v1/team/v1/messages"),
    ],
)
def test_messages_stand_under_a_version(base_url: str, messages: str) -> None:
    found = endpoints(ROW, ["messages", "chat"], base_url)
    assert found["messages", "create"].url == messages
    assert found["messages", "count_tokens"].url == messages.replace("/messages", "/messages/count_tokens")
    assert found["chat", "create"].url == endpoints(ROW, ["chat"], base_url)["chat", "create"].url


@pytest.mark.parametrize(
    ("base_url", "messages"),
    [
        (None, "https://row.test/anthropic/v1/messages"),
        ("http://proxy:8000", "http://proxy:8000/anthropic/v1/messages"),
        ("http://proxy:8000/v1", "http://proxy:8000/v1/messages"),
        ("http://proxy:8000/anthropic", "http://proxy:8000/anthropic/v1/messages"),
    ],
)
def test_a_dialect_may_stand_under_another_prefix(base_url: str | None, messages: str) -> None:
    row = replace(ROW, prefixes={"messages": "/anthropic/v1"})
    assert endpoints(row, ["messages"], base_url)["messages", "create"].url == messages
    assert endpoints(row, ["chat"], None)["chat", "create"].url == "https://row.test/openai/v1/chat/completions"


@pytest.mark.parametrize(
    ("lists", "dialect", "base_url", "url"),
    [
        (ModelList(), "chat", None, "https://row.test/openai/v1/models"),
        (ModelList(), "chat", "http://vllm:8000/v1?a=b", "http://vllm:8000/v1/models?a=b"),
        (ModelList(query="limit=1000"), "messages", "http://x.test/a", "http://x.test/a/v1/models?limit=1000"),
        (None, "chat", None, None),
    ],
)
def test_the_list_of_models_stands_beside_the_endpoints(
    lists: ModelList | None, dialect: UpstreamDialect, base_url: str | None, url: str | None
) -> None:
    assert list_url(replace(ROW, lists=lists), dialect, base_url) == url


@pytest.mark.parametrize(
    ("base_url", "query"),
    [
        ("https://row.test", "api-version=1&b=2"),
        ("https://row.test?api-version=9", "api-version=9&b=2"),
        ("https://row.test?a=1", "a=1&api-version=1&b=2"),
    ],
)
def test_an_entrys_query_wins_over_the_providers(base_url: str, query: str) -> None:
    row = Provider(name="row", paths={"chat": "/chat"}, query="api-version=1&b=2")
    assert endpoints(row, ["chat"], base_url)["chat", "create"].url == f"https://row.test/v1/chat?{query}"


def test_urls_without_a_model_in_them_are_shared() -> None:
    found = endpoints(ROW, ["chat"])
    assert with_model(found, "any") is found


def test_an_endpoint_may_be_elsewhere_for_a_stream_and_say_the_model_in_its_path() -> None:
    row = Provider(
        name="row",
        base_url="https://row.test",
        prefix="/v1beta",
        paths={
            "chat": EndpointPath(
                path="/models/{model}:generate",
                streamed="/models/{model}:stream?alt=sse",
                omits=("model", "stream"),
                frames="aws",
            )
        },
        query="key=1",
    )
    found = with_model(endpoints(row, ["chat"], "https://row.test?a=b"), "x/y:z")
    assert found["chat", "create"] == Endpoint(
        "https://row.test/v1beta/models/x%2Fy%3Az:generate?a=b&key=1",
        "https://row.test/v1beta/models/x%2Fy%3Az:stream?a=b&alt=sse&key=1",
        omits=("model", "stream"),
        frames="aws",
    )


@pytest.mark.parametrize(
    ("style", "header"),
    [
        ("bearer", ("authorization", "Bearer k")),
        ("x-api-key", ("x-api-key", "k")),
        ("api-key", ("api-key", "k")),
        ("none", None),
    ],
)
def test_a_key_travels_in_the_header_of_its_style(style: str, header: tuple[str, str] | None) -> None:
    assert credential(style, Secret("k")) == header  # type: ignore[arg-type]


def test_the_messages_dialect_has_a_style_and_a_version_of_its_own() -> None:
    row = Provider(name="row", paths={"chat": "/c", "messages": "/m"}, headers={"X-Org": "acme"})
    assert [row.auth_for(dialect) for dialect in ("chat", "messages", "responses")] == ["bearer", "x-api-key", "bearer"]
    assert row.headers_for("chat") == (("x-org", "acme"),)
    assert row.headers_for("messages") == (("anthropic-version", "2023-06-01"), ("x-org", "acme"))


def test_the_longest_known_prefix_says_how_much_a_model_can_give() -> None:
    row = Provider(name="row", paths={"chat": "/c"}, takes=limits({"big-": 10, "big-4": 20}))
    assert [row.most_tokens(model) for model in ("big-3", "big-4-5", "small")] == [10, 20, None]
