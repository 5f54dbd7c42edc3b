"""Messages clients are told the model's name that they asked for; a header tells every client which model answered."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from plano import CallNext, Plano, Request, Response
from plano.conversation import Event
from plano.testing import FakeProvider, Received, ask, serve, thinking
from plano.types import CLIENT_DIALECTS, ClientDialect, Dialect
from tests.clients import CLIENTS
from tests.observability.test_logs import lines, logged

SAYS = "claude-sonnet-4-5-20250929"
"""The upstream's own word for the model."""

NAMES = {
    "an alias": "smart",
    "provider/model": "own/claude-sonnet-4-5",
    "the bare name": "claude-sonnet-4-5",
    "the entry's name": "my-claude",
    "the upstream's own word, as an alias": SAYS,
    "none": None,
}


def gateway(provider: FakeProvider, upstream: Dialect, *filters: Any) -> Plano:
    entry = {
        "model": "own/claude-sonnet-4-5",
        "name": "my-claude",
        "provider_interface": "openai",
        "base_url": "http://upstream.test/v1",
        "apis": [upstream],
        "access_key": "k",
        "default": True,
    }
    aliases = {alias: {"target": "own/claude-sonnet-4-5"} for alias in ("smart", "routed", SAYS)}
    return Plano({"model_providers": [entry], "model_aliases": aliases}, transport=provider, filters=filters)


def names(received: Received) -> set[str]:
    """Every name of a model that the reply says."""
    if received.body.startswith(b"{"):
        return {received.json["model"]}
    events = [json.loads(line[6:]) for line in received.body.splitlines() if line.startswith(b"data: {")]
    holders = [event.get("message") or event.get("response") or event for event in events]
    return {holder["model"] for holder in holders if "model" in holder}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("upstream", CLIENT_DIALECTS)
@pytest.mark.parametrize("client", CLIENT_DIALECTS)
@pytest.mark.parametrize("case", NAMES)
async def test_messages_clients_are_told_the_name_that_they_asked_for(
    case: str, client: ClientDialect, upstream: Dialect, stream: bool
) -> None:
    provider = FakeProvider()
    provider.reply(thinking("Hm."), "Hello", model=SAYS)
    app = gateway(provider, upstream)
    with logged() as log:
        received = await ask(app, client, "Hi", stream=stream, model=NAMES[case])
        await app.aclose()
    asked = NAMES[case] or "own/claude-sonnet-4-5"
    assert names(received) == {asked if client == "messages" else SAYS}
    assert received.text == "Hello"
    assert received.headers["x-plano-model"] == "own/claude-sonnet-4-5"
    (line,) = lines(log)
    assert line["served"] == "own/claude-sonnet-4-5"
    assert provider.last.json["model"] == "claude-sonnet-4-5"


@pytest.mark.parametrize("cut", [1, 7, 10_000])
async def test_the_name_is_told_wherever_a_forwarded_stream_is_cut(cut: int) -> None:
    provider = FakeProvider()
    provider.reply("Hello", model=SAYS)
    plain = await ask(gateway(provider, "messages"), "messages", "Hi", stream=True, model=SAYS)
    provider.reply("Hello", model=SAYS, cut=cut)
    received = await ask(gateway(provider, "messages"), "messages", "Hi", stream=True, model="smart")
    said = plain.body.replace(b"fake_1", b"fake_2").replace(SAYS.encode(), b"smart")
    assert received.body == said
    assert names(plain) == {SAYS}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("upstream", CLIENT_DIALECTS)
async def test_a_reply_in_the_other_form_than_asked_has_the_name_too(upstream: Dialect, stream: bool) -> None:
    """Some servers stream what is asked for whole, or the other way round."""
    provider, other = FakeProvider(), FakeProvider()
    other.reply("Hello", model=SAYS)
    said = await ask(gateway(other, upstream), upstream, "Hi", stream=not stream, model="smart")
    provider.raw(200, {"content-type": said.headers["content-type"]}, said.body)
    received = await ask(gateway(provider, upstream), "messages", "Hi", stream=stream, model="smart")
    assert (names(received), received.text) == ({"smart"}, "Hello")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("upstream", ["messages", "chat"])
async def test_a_filter_sees_the_name_that_the_client_sees(upstream: Dialect, stream: bool) -> None:
    """Also where a filter chose another model, wrote the events anew, or looked for the first output."""
    seen: list[Any] = []

    async def routes(request: Request, call_next: CallNext) -> Response:
        response = await call_next(request.replace(model="routed"))
        seen.append(response.target and response.target.name)
        return response

    async def rewrites(request: Request, call_next: CallNext) -> Response:
        response = await (await call_next(request)).begun()

        async def events() -> AsyncIterator[Event]:
            async for event in response.events():
                yield event

        return response.with_events(events())

    async def reads(request: Request, call_next: CallNext) -> Response:
        response = await call_next(request)
        seen.append((await response.read()).model)
        return response

    provider = FakeProvider()
    provider.reply("Hello", model=SAYS)
    app = gateway(provider, upstream, routes, rewrites, reads)
    received = await ask(app, "messages", "Hi", stream=stream, model="smart")
    assert seen == ["smart", "own/claude-sonnet-4-5"]
    assert (names(received), received.text) == ({"smart"}, "Hello")
    assert received.headers["x-plano-model"] == "own/claude-sonnet-4-5"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("client", CLIENT_DIALECTS)
async def test_a_filter_that_answers_says_the_name_that_was_asked_for(client: ClientDialect, stream: bool) -> None:
    async def answers(request: Request, call_next: CallNext) -> Response:
        return Response.of(request.replace(model="routed"), "Hello")

    app = gateway(FakeProvider(), "chat", answers)
    received = await ask(app, client, "Hi", stream=stream, model="smart")
    assert names(received) == {"smart" if client == "messages" else "routed"}
    assert "x-plano-model" not in received.headers  # no model answered


@pytest.mark.parametrize("client", CLIENT_DIALECTS)
async def test_an_error_of_the_upstream_names_the_model_that_failed(client: ClientDialect) -> None:
    provider = FakeProvider()
    provider.fail(429)
    received = await ask(gateway(provider, "chat"), client, "Hi", model="smart")
    assert (received.status, received.headers["x-plano-model"]) == (429, "own/claude-sonnet-4-5")
    refused = await ask(gateway(provider, "chat"), client, "Hi", model="nobody")
    assert (refused.status, "x-plano-model" in refused.headers) == (404, False)


async def test_a_name_of_other_letters_is_written_in_ascii() -> None:
    provider = FakeProvider()
    entry = {"model": "own/*", "provider_interface": "openai", "base_url": "http://upstream.test/v1", "access_key": "k"}
    app = Plano({"model_providers": [entry | {"apis": ["messages"]}]}, transport=provider)
    received = await ask(app, "messages", "Hi", model="own/größe")
    assert received.headers["x-plano-model"] == "own/gr??e"
    assert names(received) == {"own/größe"}


@pytest.mark.parametrize("upstream", CLIENT_DIALECTS)
async def test_anthropics_sdk_sees_the_name(upstream: Dialect) -> None:
    provider = FakeProvider()
    with serve(provider) as url:
        entry = {"model": "own/m", "provider_interface": "openai", "base_url": f"{url}/v1", "apis": [upstream]}
        config = {"model_providers": [entry], "model_aliases": {"smart": {"target": "own/m"}}}
        with serve(Plano(config)) as there:
            client = CLIENTS["messages"](there)
            for stream in (False, True):
                provider.reply("Hello", model=SAYS)
                got = await client.ask("smart", "Hi", stream=stream)
                assert (got.raw.model, got.text) == ("smart", "Hello")
            await client.aclose()
