"""Fields that an entry adds to the bodies of its requests."""

from __future__ import annotations

import json
from typing import Any

import pytest

from plano.capabilities import Refused, Takes
from plano.provider import Target
from plano.testing import FakeProvider
from plano.types import CLIENT_DIALECTS as DIALECTS
from plano.types import Dialect
from plano.upstream.defaults import fields_of
from tests.upstream.through import asked, row, target_of

LIMIT = {"chat": "max_tokens", "messages": "max_tokens", "responses": "max_output_tokens"}
"""The field with the most output tokens."""

SAID = {"chat": "max_completion_tokens", "messages": "max_tokens", "responses": "max_output_tokens"}
"""The same, in another spelling where there is one."""


def encoded(fields: dict[str, Any]) -> tuple[tuple[str, bytes], ...]:
    return tuple((name, json.dumps(value).encode()) for name, value in fields.items())


def speaking(
    *upstreams: Dialect, defaults: dict[str, Any] | None = None, overrides: dict[str, Any] | None = None, **more: Any
) -> Target:
    """A target that speaks these dialects, with fields of its entry's."""
    return target_of(row(*upstreams, **more), defaults=encoded(defaults or {}), overrides=encoded(overrides or {}))


def without_limit(client: Dialect) -> dict[str, Any]:
    """Fields of a request in which the client says no limit, where its API lets it."""
    return {"max_tokens": None} if client == "messages" else {}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("upstream", DIALECTS)
@pytest.mark.parametrize("client", DIALECTS)
async def test_defaults_are_sent_where_the_client_says_nothing(
    client: Dialect, upstream: Dialect, stream: bool
) -> None:
    provider = FakeProvider()
    target = speaking(upstream, defaults={"temperature": 0.2, "metadata": {"user_id": "a"}})
    answer = await asked(provider, target, client, stream=stream)
    assert answer.status == 200, answer.body
    sent = provider.last.json
    assert (sent["temperature"], sent["metadata"], sent["model"]) == (0.2, {"user_id": "a"}, "m")
    await asked(provider, target, client, stream=stream, temperature=0.7)
    assert provider.last.json["temperature"] == 0.7


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("upstream", DIALECTS)
@pytest.mark.parametrize("client", DIALECTS)
async def test_overrides_are_sent_whatever_the_client_says(client: Dialect, upstream: Dialect, stream: bool) -> None:
    provider = FakeProvider()
    target = speaking(upstream, overrides={"temperature": 0.2, "top_p": None})
    answer = await asked(provider, target, client, stream=stream, temperature=0.7, top_p=0.5)
    assert answer.status == 200, answer.body
    sent = provider.last.json
    assert sent["temperature"] == 0.2
    assert "top_p" not in sent


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens", "max_output_tokens"])
@pytest.mark.parametrize("upstream", DIALECTS)
@pytest.mark.parametrize("client", DIALECTS)
async def test_a_limit_is_said_in_any_spelling(client: Dialect, upstream: Dialect, name: str) -> None:
    provider = FakeProvider()
    spelled = name if (upstream, name) == ("chat", "max_completion_tokens") else LIMIT[upstream]

    async def limits(target: Target, **fields: Any) -> dict[str, int]:
        answer = await asked(provider, target, client, **fields)
        assert answer.status == 200, answer.body
        return {
            field: value for field, value in provider.last.json.items() if field in {*LIMIT.values(), *SAID.values()}
        }

    default, override = speaking(upstream, defaults={name: 321}), speaking(upstream, overrides={name: 321})
    if client != "messages":  # where the client has to say one
        assert await limits(default) == {spelled: 321}
        assert await limits(override) == {spelled: 321}
    for said in (LIMIT[client], SAID[client]):
        assert list((await limits(default, **{said: 654})).values()) == [654]
        assert list((await limits(override, **{said: 654})).values()) == [321]


async def test_a_limit_goes_by_the_name_that_the_models_row_wants() -> None:
    provider = FakeProvider()
    target = target_of("openai", "o3", key=None, defaults=encoded({"max_tokens": 321}))
    await asked(provider, target, "chat")
    assert provider.last.json["max_completion_tokens"] == 321
    assert "max_tokens" not in provider.last.json


async def test_room_for_thinking_is_made_within_a_limit_of_the_entry() -> None:
    provider = FakeProvider()
    target = speaking("messages", overrides={"max_tokens": 2000})
    answer = await asked(provider, target, "chat", reasoning_effort="high", max_tokens=30_000)
    assert answer.status == 200, answer.body
    sent = provider.last.json
    assert sent["max_tokens"] == 2000
    assert sent["thinking"]["budget_tokens"] < 2000


async def test_a_limit_is_not_taken_out_where_the_api_needs_one() -> None:
    provider = FakeProvider()
    for upstream, sent in (("chat", None), ("messages", 77), ("responses", None)):
        target = speaking(upstream, overrides={"max_tokens": None})
        assert (await asked(provider, target, "chat", max_tokens=77)).status == 200
        assert provider.last.json.get(LIMIT[upstream]) == sent


@pytest.mark.parametrize("client", DIALECTS)
async def test_all_other_bytes_of_a_native_body_stay(client: Dialect) -> None:
    provider = FakeProvider()
    content = "messages" if client != "responses" else "input"
    value = '[{"role": "user",  "content": "Gr\\u00fc\\u00dfe", "made_up": 1e2}]'
    body = f'{{"model": "m", "{content}": {value}, "max_tokens": 5, "made_up": {{"a":  1.0}}}}'.encode()
    target = speaking(client, defaults={"temperature": 0.2})
    assert (await asked(provider, target, client, body=body)).status == 200
    assert value.encode() in provider.last.body
    assert b'{"a":  1.0}' in provider.last.body
    assert provider.last.json["temperature"] == 0.2
    said = body[:-1] + b', "temperature": 0.9}'
    await asked(provider, target, client, body=said)
    assert provider.last.body == said


REFUSES = {"": Takes(refuses=(Refused(fields=("temperature",), reason="{model} refuses it"),))}


@pytest.mark.parametrize("upstream", DIALECTS)
@pytest.mark.parametrize("client", DIALECTS)
@pytest.mark.parametrize("kind", ["defaults", "overrides"])
async def test_a_field_that_the_model_refuses_is_left_out_and_reported(
    client: Dialect, upstream: Dialect, kind: str
) -> None:
    provider = FakeProvider()
    fields: dict[str, Any] = {kind: {"temperature": 0.2, "top_p": 0.5}}
    target = speaking(upstream, **fields, takes=REFUSES)
    answer = await asked(provider, target, client)
    assert (answer.status, answer.headers["x-plano-dropped"].split(", ")[0]) == (200, "temperature")
    assert (provider.last.json.get("temperature"), provider.last.json["top_p"]) == (None, 0.5)
    strict = {"x-plano-strict": "true"}
    assert (await asked(provider, target, client, headers=strict)).status == 200


async def test_a_strict_client_is_refused_for_its_own_fields_alone() -> None:
    provider, strict = FakeProvider(), {"x-plano-strict": "true"}
    target = speaking("chat", defaults={"temperature": 0.2}, takes=REFUSES)
    assert (await asked(provider, target, "chat", headers=strict)).status == 200
    assert (await asked(provider, target, "chat", headers=strict, temperature=0.7)).status == 400


@pytest.mark.parametrize(
    ("defaults", "said", "sent"),
    [
        ({"temperature": 0.2}, {"top_p": 0.5}, {"top_p": 0.5}),
        ({"top_p": 0.5}, {"temperature": 0.7}, {"temperature": 0.7}),
        ({"temperature": 0.2, "top_p": 0.5}, {}, {"temperature": 0.2}),
    ],
)
async def test_a_default_does_not_drive_out_what_the_client_says(
    defaults: dict[str, Any], said: dict[str, Any], sent: dict[str, Any]
) -> None:
    provider = FakeProvider()
    target = target_of("anthropic", "claude-sonnet-4-5", defaults=encoded(defaults))
    answer = await asked(provider, target, "messages", **said)
    assert "x-plano-dropped" not in answer.headers
    assert {name: provider.last.json[name] for name in ("temperature", "top_p") if name in provider.last.json} == sent


LITELLM = {
    "temperature": 0.2,
    "max_tokens": 100,
    "seed": 7,
    "extra_body": {"top_k": 40, "chat_template_kwargs": {"a": 1}},
}


@pytest.mark.parametrize("client", ["chat", "responses"])
@pytest.mark.parametrize(
    ("upstream", "expected"),
    [
        ("chat", {"temperature": 0.2, "max_tokens": 100, "seed": 7}),
        ("messages", {"temperature": 0.2, "max_tokens": 100}),
        ("responses", {"temperature": 0.2, "max_output_tokens": 100}),
    ],
)
async def test_parameters_of_litellm_work_in_every_api(
    client: Dialect, upstream: Dialect, expected: dict[str, Any]
) -> None:
    provider = FakeProvider()
    answer = await asked(provider, speaking(upstream, defaults=LITELLM), client)
    assert (answer.status, answer.headers.get("x-plano-dropped")) == (200, None)
    sent = {name: value for name, value in provider.last.json.items() if name not in ("messages", "input", "model")}
    for written in ("store", "include"):  # in a translated body
        sent.pop(written, None)
    assert sent == {**expected, "top_k": 40, "chat_template_kwargs": {"a": 1}}


@pytest.mark.parametrize("client", ["messages", "responses"])
async def test_a_count_gets_only_fields_that_it_counts(client: Dialect) -> None:
    provider = FakeProvider()
    operations = {(client, "count_tokens"): "/count"}
    own = {"max_tokens": 5, "temperature": 0.2, "tools": [], "made_up": 1}
    target = speaking(client, overrides=own, operations=operations)
    path = "/v1/messages/count_tokens" if client == "messages" else "/v1/responses/input_tokens"
    await asked(provider, target, client, path=path)
    sent = provider.last.json
    assert (sent["tools"], "temperature" in sent, "made_up" in sent) == ([], False, False)
    assert sent.get("max_output_tokens") is None
    assert sent.get("max_tokens") != 5


async def test_embeddings_get_only_fields_of_their_own() -> None:
    provider = FakeProvider()
    target = speaking(
        "chat",
        defaults={"temperature": 0.2, "dimensions": 256},
        operations={("chat", "embeddings"): "/embeddings"},
    )
    body = b'{"model":"m","input":"Hello"}'
    answer = await asked(provider, target, "chat", path="/v1/embeddings", body=body)
    assert answer.status == 200, answer.body
    assert provider.last.json == {"model": "m", "input": "Hello", "dimensions": 256}


@pytest.mark.parametrize("client", DIALECTS)
async def test_null_is_nothing_that_the_client_says(client: Dialect) -> None:
    provider = FakeProvider()
    await asked(provider, speaking(client, defaults={"temperature": 0.2}), client, temperature=None)
    assert provider.last.json["temperature"] == 0.2
    body = json.dumps({"model": "m", "max_tokens": 9, "temperature": 0.1, "input": "a", "messages": []}).encode()
    await asked(provider, speaking(client, defaults={"temperature": None}), client, body=body)
    assert provider.last.body == body


def test_an_entry_without_fields_has_nothing_to_add() -> None:
    assert fields_of(speaking("chat"), "chat", "create") is None
    assert fields_of(speaking("chat", defaults={"temperature": 0.2}), "chat", "embeddings") is None
    assert fields_of(speaking("chat", "messages", defaults={"seed": 1}), "messages", "create") is None
    assert fields_of(speaking("chat", "messages", defaults={"seed": 1}), "chat", "create") is not None
