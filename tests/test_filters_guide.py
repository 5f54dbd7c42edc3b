"""Every filter of docs/filters.md, in front of each dialect, streamed and not."""

from __future__ import annotations

import json
import logging
import re
import sys
from typing import Any

import pytest

from plano import Plano
from plano.config import load
from plano.testing import FakeProvider, Usage, thinking
from plano.types import CLIENT_DIALECTS as DIALECTS
from plano.types import Dialect
from tests.asgi import Answer, ask
from tests.documents import examples
from tests.test_promises import MINIMAL, PATHS

GUIDE = "docs/filters.md"


def taken_from_the_guide(name: str) -> Any:
    """The filter of that name, from whichever example defines it."""
    for code in examples(GUIDE, "python"):
        if re.search(rf"^(async def|class) {name}\b", code, re.MULTILINE):
            names: dict[str, Any] = {}
            exec(code, names)
            return names[name]
    raise AssertionError(f"the guide has no filter called {name}")


def gateway(provider: FakeProvider, *filters: Any) -> Plano:
    entries = [
        {
            "model": f"{dialect}_server/{model}",
            "provider_interface": "openai",
            "base_url": "http://upstream.example",
            "apis": [dialect],
            "access_key": "k",
        }
        for dialect in DIALECTS
        for model in ("m", "large")
    ]
    aliases = {"long-context-model": {"target": "chat_server/large"}}
    return Plano({"model_providers": entries, "model_aliases": aliases}, filters=filters, transport=provider)


@pytest.fixture(params=[(c, u, s) for c in DIALECTS for u in DIALECTS for s in (False, True)], ids=lambda p: f"{p}")
def cell(request: pytest.FixtureRequest) -> tuple[Dialect, Dialect, bool]:
    return request.param  # type: ignore[no-any-return]


async def send(app: Plano, cell: tuple[Dialect, Dialect, bool], **fields: Any) -> Answer:
    client, upstream, stream = cell
    body = MINIMAL[client] | {"model": f"{upstream}_server/m", "stream": stream} | fields
    return await ask(app, "POST", PATHS[client], body)


def said(answer: Answer) -> str:
    """The text a client puts together, of any dialect, streamed or not."""
    if not answer.headers["content-type"].startswith("text/event-stream"):
        found = answer.json()
        if "choices" in found:
            return found["choices"][0]["message"]["content"] or ""
        messages = [item for item in found.get("output", []) if item["type"] == "message"]
        blocks = found.get("content") or [block for item in messages for block in item["content"]]
        return "".join(block.get("text", "") for block in blocks)
    text = ""
    for line in answer.body.decode().splitlines():
        if line.startswith("data: {"):
            event = json.loads(line[6:])
            for choice in event.get("choices", []):
                text += choice["delta"].get("content") or ""
            if event.get("type") == "content_block_delta":
                text += event["delta"].get("text", "")
            if event.get("type") == "response.output_text.delta":
                text += event["delta"]
    return text


async def test_the_smallest_filter(cell: Any) -> None:
    answer = await send(gateway(FakeProvider(), taken_from_the_guide("passes")), cell)
    assert "You said: Hi" in said(answer)


async def test_routing_by_size(cell: Any) -> None:
    provider = FakeProvider()
    app = gateway(provider, taken_from_the_guide("long_prompts_elsewhere"))
    await send(app, cell)
    assert provider.last.json["model"] == "m"
    await send(app, cell, metadata={"user_id": "x" * 100_000} if cell[0] == "messages" else {"k": "x" * 100_000})
    assert provider.last.json["model"] == "large"


async def test_changing_what_is_asked(cell: Any) -> None:
    provider = FakeProvider()
    answer = await send(gateway(provider, taken_from_the_guide("house_rules")), cell)
    assert answer.status == 200
    assert provider.last.conversation.system[0].text == "Answer in the user's language."
    assert provider.last.json["model"] == "m"


async def test_turning_a_request_away(cell: Any) -> None:
    provider = FakeProvider()
    answer = await send(gateway(provider, taken_from_the_guide("OnlyModels")("some-other-model")), cell)
    assert answer.status == 403
    assert "Your plan does not include" in answer.json()["error"]["message"]
    assert provider.requests == []


@pytest.mark.parametrize("broken", ["status", "lost"])
async def test_a_fallback(cell: Any, broken: str) -> None:
    provider = FakeProvider()
    if broken == "status":
        provider.fail(503, "down")
    else:
        provider.raw(200, {"content-type": "text/html"}, b"<html>")
    provider.reply("From the other one")
    app = gateway(provider, taken_from_the_guide("Fallback")("chat_server/large"))
    answer = await send(app, cell)
    assert said(answer) == "From the other one"
    assert [request.json["model"] for request in provider.requests] == ["m", "large"]


async def test_changing_text_that_is_cut_in_two(cell: Any) -> None:
    provider = FakeProvider()
    provider.reply("Card 4111 1111 1111 1111, and again: 5500 0000 0000 0004!")
    answer = await send(gateway(provider, taken_from_the_guide("hide_cards")), cell)
    assert said(answer) == "Card ****, and again: ****!"
    assert b"1111" not in answer.body


async def test_changing_events(cell: Any) -> None:
    provider = FakeProvider()
    provider.reply(thinking("A secret thought", seal="c2VhbA=="), "The answer")
    answer = await send(gateway(provider, taken_from_the_guide("without_thinking")), cell)
    assert said(answer) == "The answer"
    if cell[2]:
        assert b"secret" not in answer.body


async def test_work_at_the_end(cell: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "usage")
    provider = FakeProvider()
    provider.reply("Hello there", usage=Usage(input_tokens=3, output_tokens=17))
    app = gateway(provider, taken_from_the_guide("log_usage"))
    fields = {"stream_options": {"include_usage": True}} if cell[0] == "chat" and cell[2] else {}
    await send(app, cell, **fields)
    lines = [record.getMessage() for record in caplog.records if record.name == "usage"]
    assert lines == [f"anonymous {cell[1]}_server/m completed tokens=17"]


def test_the_config_example(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    code = next(code for code in examples(GUIDE, "python") if "class OnlyModels" in code)
    monkeypatch.delitem(sys.modules, "my_filters", raising=False)  # another document has one too
    (tmp_path / "my_filters.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    path = tmp_path / "config.yaml"
    path.write_text("model_providers: [{model: demo/echo}]\n" + examples(GUIDE, "yaml")[0])
    assert "only-small" in [link.name for link in Plano(load(path)).pipeline]


async def test_a_filters_bug_is_a_500_that_names_it(cell: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def careless(request: Any, call_next: Any) -> Any:
        raise ZeroDivisionError("inside")

    answer = await send(gateway(FakeProvider(), careless), cell)
    assert answer.status == 500
    assert "careless" in answer.json()["error"]["message"]
    assert "inside" not in answer.body.decode()
    assert "ZeroDivisionError" in caplog.text


async def test_a_filter_that_returns_nothing_is_named(cell: Any) -> None:
    async def forgetful(request: Any, call_next: Any) -> Any:
        await call_next(request)

    answer = await send(gateway(FakeProvider(), forgetful), cell)
    assert answer.status == 500
    assert "forgetful" in answer.json()["error"]["message"]


async def test_a_filter_that_fails_in_the_middle_of_a_stream_ends_it_with_an_error(cell: Any) -> None:
    def careless(text: str) -> str:
        if "five" in text:
            raise ZeroDivisionError
        return text

    async def rewrite(request: Any, call_next: Any) -> Any:
        return (await call_next(request)).map_text(careless)

    provider = FakeProvider()
    provider.reply("one two three four five six")
    answer = await send(gateway(provider, rewrite), cell)
    assert "error" in answer.body.decode()
    assert b"[DONE]" not in answer.body
    assert b"six" not in answer.body


async def test_what_waits_for_the_end_runs_exactly_once_and_last() -> None:
    ended: list[str] = []

    async def watch(request: Any, call_next: Any) -> Any:
        response = await call_next(request)

        async def closed() -> None:
            ended.append(response.journal.outcome)

        response.on_close(closed)
        await response.read()
        return response

    provider = FakeProvider()
    for stream in (False, True):
        answer = await send(gateway(provider, watch), ("chat", "messages", stream))
        assert "You said: Hi" in said(answer)
    assert ended == ["completed", "completed"]
