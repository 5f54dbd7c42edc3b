"""The lists of models: asked for when they are needed, once, and without holding up a request."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from plano import Plano
from plano.config import load
from plano.config.assemble import build_models
from plano.errors import ModelNotFound
from plano.provider import Target
from plano.routing.models import ModelIndex
from plano.testing import WAYS, FakeProvider, Recorded, Verbatim, ask
from plano.transport import Exchange, Outgoing, Sender
from plano.types import ClientDialect
from plano.upstream.model_lists import KEPT, KEPT_FAILURE, ModelLists
from tests.asgi import ask as call

JSON = {"content-type": "application/json"}
ACME = {"model": "acme/*", "base_url": "http://acme.test", "provider_interface": "openai", "access_key": "sk-acme"}


def gateway(provider: FakeProvider, *entries: dict[str, Any], **more: Any) -> Plano:
    return Plano({"model_providers": list(entries), **more}, transport=provider)


def lists(sender: Sender, *entries: dict[str, Any], now: list[float] | None = None) -> tuple[ModelIndex, ModelLists]:
    """An index and the lists for it. `now` holds the time."""
    index, clock = build_models(load({"model_providers": list(entries)}, {})), now or [0.0]
    return index, ModelLists(index, lambda target: sender, clock=lambda: clock[0])


def asked(provider: FakeProvider) -> list[str]:
    return [recorded.url for recorded in provider.requests if recorded.method == "GET"]


@pytest.mark.parametrize(("dialect", "stream"), WAYS)
async def test_a_bare_name_is_found_in_the_providers_own_list(dialect: ClientDialect, stream: bool) -> None:
    provider = FakeProvider(models=("llama-9", "qwen-9"))
    app = gateway(provider, ACME)
    received = await ask(app, dialect, "Hi", model="llama-9", stream=stream)
    assert (received.status, received.text[-2:]) == (200, "Hi")
    listed, create = provider.requests
    assert (listed.method, listed.url, listed.body) == ("GET", "http://acme.test/v1/models", b"")
    assert listed.headers["authorization"] == "Bearer sk-acme"
    assert create.json["model"] == "llama-9"


async def test_a_list_is_asked_for_once_and_not_for_names_that_need_none() -> None:
    provider = FakeProvider(models=("llama-9",))
    app = gateway(provider, ACME, {"model": "demo/echo"}, {"model": "openai/*", "access_key": "sk-o"})
    for name in ("echo", "acme/anything", "gpt-4o", "nobody/llama-9", "x" * 600):
        await ask(app, "chat", "Hi", model=name)
    await ask(app, "chat", "Hi", model="nobody/x/y")
    assert asked(provider) == []
    statuses = [(await ask(app, "chat", "Hi", model=name)).status for name in ("llama-9", "nothing", "llama-9")]
    assert statuses == [200, 404, 200]
    assert asked(provider) == ["http://acme.test/v1/models", "https://api.openai.com/v1/models"]


async def test_everybody_who_waits_shares_one_request() -> None:
    provider = FakeProvider(models=("llama-9",), delay=0.05)
    app = gateway(provider, ACME)
    received = await asyncio.gather(*(ask(app, "chat", "Hi", model="llama-9") for _ in range(20)))
    assert [each.status for each in received] == [200] * 20
    assert len(asked(provider)) == 1


class Held:
    """A sender that answers when it is told to."""

    def __init__(self, provider: FakeProvider) -> None:
        self.go = asyncio.Event()
        self._provider = provider

    async def send(self, request: Outgoing) -> Exchange:
        await self.go.wait()
        return await self._provider.send(request)

    async def aclose(self) -> None: ...


async def test_one_who_leaves_takes_the_list_from_nobody() -> None:
    provider = FakeProvider(models=("llama-9",))
    held = Held(provider)
    index, model_lists = lists(held, ACME)
    first, second = (asyncio.create_task(model_lists.refresh(patience=20)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    held.go.set()
    await second
    assert index.resolve("llama-9").name == "acme/llama-9"
    assert len(asked(provider)) == 1


class Odd:
    """A sender of the host's that fails in a way of its own."""

    def __init__(self) -> None:
        self.sent = 0

    async def send(self, request: Outgoing) -> Exchange:
        self.sent += 1
        raise LookupError("not a fault that plano knows")

    async def aclose(self) -> None: ...


async def test_a_failure_of_any_kind_is_one_request_a_minute() -> None:
    told: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context.get("exception")))
    sender, now = Odd(), [0.0]
    _, model_lists = lists(sender, ACME, now=now)
    for at, requests in ((0.0, 1), (KEPT_FAILURE - 1, 1), (KEPT_FAILURE, 2)):
        now[0] = at
        await model_lists.refresh()
        assert sender.sent == requests
    del model_lists
    gc.collect()
    assert LookupError in map(type, told), "it is a fault of the program, so it is told"


async def test_the_time_of_an_answer_does_not_tell_which_models_others_may_use() -> None:
    provider = FakeProvider(models=("llama-9",))
    alice = {"name": "alice", "key": "sk-alice-0123456789", "models": ["acme/mine"]}
    entry = {"model": "demo/secret"}
    for name in ("secret", "made-up"):
        app = gateway(provider, ACME, entry, auth={"keys": [alice]})
        before = len(asked(provider))
        body = {"model": name, "messages": [{"role": "user", "content": "Hi"}]}
        answer = await call(app, "POST", "/v1/chat/completions", body, {"x-api-key": alice["key"]})
        assert (answer.status, answer.json()["error"]["message"]) == (404, ModelNotFound(name).message)
        assert len(asked(provider)) == before + 1, "it takes the same way"


async def test_a_list_that_is_late_serves_those_who_come_after() -> None:
    provider = FakeProvider(models=("llama-9",))
    held = Held(provider)
    index, model_lists = lists(held, ACME)
    await model_lists.refresh(patience=0.01)
    with pytest.raises(ModelNotFound):
        index.resolve("llama-9")
    held.go.set()
    await model_lists.refresh(patience=20)
    assert index.resolve("llama-9").name == "acme/llama-9"
    assert len(asked(provider)) == 1, "the request went on"


async def test_a_list_is_kept_for_an_hour_and_replaced_then() -> None:
    provider, now = FakeProvider(), [0.0]
    provider.script(Verbatim(200, JSON, b'{"data":[{"id":"one"}]}', on="/models"))
    index, model_lists = lists(provider, ACME, now=now)
    await model_lists.refresh()
    provider.script(Verbatim(200, JSON, b'{"data":[{"id":"two"}]}', on="/models"))
    now[0] = KEPT - 1
    await model_lists.refresh()
    assert [info.id for info in index.listing()] == ["acme/one", "one"]
    now[0] = KEPT
    await model_lists.refresh()
    assert [info.id for info in index.listing()] == ["acme/two", "two"]
    assert len(asked(provider)) == 2


@pytest.mark.parametrize(
    "answer",
    [
        Verbatim(404, JSON, b'{"error":{"message":"no"}}', on="/models"),
        Verbatim(401, JSON, b"{}", on="/models"),
        Verbatim(200, {"content-type": "text/html"}, b"<html>", on="/models"),
        Verbatim(200, JSON, b'{"models":[]}', on="/models"),
        Verbatim(200, JSON, b'{"data":[{"name":"x"}]}', on="/models"),
        Verbatim(200, JSON, b'{"data":[{"id":"x"', lost=True, on="/models"),
    ],
)
async def test_after_a_failure_the_known_models_stay_and_the_provider_is_left_alone_for_a_minute(
    answer: Verbatim,
) -> None:
    provider, now = FakeProvider(), [0.0]
    provider.script(answer)
    index, model_lists = lists(provider, {"model": "mistral/*", "access_key": "sk-m"}, now=now)
    for at, requests in ((0.0, 1), (KEPT_FAILURE - 1, 1), (KEPT_FAILURE, 2)):
        now[0] = at
        await model_lists.refresh()
        assert len(asked(provider)) == requests
    assert index.resolve("mistral-large-latest").name == "mistral/mistral-large-latest"


async def test_anthropics_list_has_pages() -> None:
    def page(recorded: Recorded) -> Verbatim:
        if "after_id=claude-a" in recorded.query:
            return Verbatim(200, JSON, b'{"data":[{"type":"model","id":"claude-b"}],"has_more":false}')
        return Verbatim(200, JSON, b'{"data":[{"id":"claude-a"}],"has_more":true,"last_id":"claude-a"}')

    page.on = "/models"  # type: ignore[attr-defined]
    provider = FakeProvider()
    provider.script(page)
    index, model_lists = lists(provider, {"model": "anthropic/*", "access_key": "sk-a"})
    await model_lists.refresh()
    assert {index.resolve(name).name for name in ("claude-a", "claude-b")} == {
        "anthropic/claude-a",
        "anthropic/claude-b",
    }
    base = "https://api.anthropic.com/v1/models?limit=1000"
    assert asked(provider) == [base, f"{base}&after_id=claude-a"]
    assert provider.last.headers["x-api-key"] == "sk-a"
    assert provider.last.headers["anthropic-version"] == "2023-06-01"


async def test_pages_without_an_end_are_not_followed_for_ever() -> None:
    provider = FakeProvider()
    provider.script(Verbatim(200, JSON, b'{"data":[{"id":"a"}],"has_more":true,"last_id":"a"}', on="/models"))
    index, model_lists = lists(provider, {"model": "anthropic/*", "access_key": "sk-a"})
    await model_lists.refresh()
    assert index.resolve("a").model == "a"
    assert len(asked(provider)) < 20


@pytest.mark.parametrize(
    ("entry", "body", "name", "url"),
    [
        (
            {"model": "gemini/*", "access_key": "k"},
            b'{"object":"list","data":[{"id":"models/gemini-9"}]}',
            "gemini-9",
            "https://generativelanguage.googleapis.com/v1beta/openai/models",
        ),
        ({"model": "together_ai/*", "access_key": "k"}, b'[{"id":"m"}]', "m", "https://api.together.ai/v1/models"),
        ({"model": "ollama/*"}, b'{"data":[{"id":"m"}]}', "m", "http://127.0.0.1:11434/v1/models"),
        (
            {"model": "openai/*", "base_url": "http://vllm:8000/v1?team=a"},
            b'{"data":[{"id":"m"}]}',
            "m",
            "http://vllm:8000/v1/models?team=a",
        ),
        (
            {"model": "zai/*", "access_key": "k", "passthrough_auth": True},
            b'{"data":[{"id":"m"}]}',
            "m",
            "https://api.z.ai/api/paas/v4/models",
        ),
    ],
)
async def test_each_provider_is_asked_at_its_own_url_and_read_in_its_own_form(
    entry: dict[str, Any], body: bytes, name: str, url: str
) -> None:
    provider = FakeProvider()
    provider.script(Verbatim(200, JSON, body, on="/models"))
    index, model_lists = lists(provider, entry)
    await model_lists.refresh()
    assert index.resolve(name).model == name
    assert asked(provider) == [url]
    assert provider.last.headers.get("authorization") == (
        f"Bearer {entry['access_key']}" if "access_key" in entry else None
    )


@pytest.mark.parametrize(
    "entry",
    [
        {"model": "openai/*"},
        {"model": "openai/*", "passthrough_auth": True},
        {"model": "ollama/*", "passthrough_auth": True},
        {"model": "chatgpt/*", "access_key": "k"},
        {"model": "azure_openai/*", "base_url": "https://r.openai.azure.com", "access_key": "k"},
        {"model": "demo/*"},
        {"model": "mistral/mistral-large-latest", "access_key": "k"},
    ],
)
async def test_who_has_no_list_or_nothing_to_ask_with_is_not_asked(entry: dict[str, Any]) -> None:
    provider = FakeProvider()
    _, model_lists = lists(provider, entry)
    await model_lists.refresh()
    assert provider.requests == []


async def test_the_gateways_list_has_the_models_of_the_providers_lists() -> None:
    app = gateway(FakeProvider(models=("llama-9", "meta/llama-9")), ACME, {"model": "demo/echo", "name": "mine"})
    for _ in range(2):
        listed = (await call(app, "GET", "/v1/models")).json()
        assert [each["id"] for each in listed["data"]] == [
            *("acme/llama-9", "acme/meta/llama-9", "demo/echo", "echo", "llama-9", "mine")
        ]
    for name in ("llama-9", "mine", "echo", "acme/meta/llama-9"):
        assert (await call(app, "GET", f"/v1/models/{name}")).json()["id"] == name


def _sender(target: Target) -> Sender:
    return FakeProvider(models=("again",))


def test_an_application_that_is_called_on_another_loop_asks_again() -> None:
    index = build_models(load({"model_providers": [ACME]}, {}))
    held = Held(FakeProvider())

    async def abandoned() -> None:
        await ModelLists(index, lambda target: held).refresh(patience=0.01)

    asyncio.run(abandoned())
    model_lists = ModelLists(index, _sender)
    asyncio.run(model_lists.refresh())
    assert index.resolve("again").name == "acme/again"
