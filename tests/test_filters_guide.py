"""Every filter of docs/filters.md, in front of each dialect, streamed and not."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from plano import Plano
from plano.config import load
from plano.conversation import Conversation, Document, Message, System, Text, Thinking, Tool, ToolCall, ToolResult
from plano.errors import ConfigError, UpstreamUnavailable
from plano.testing import WAYS, FakeProvider, Received, Recorded, Reply, Usage, Verbatim, thinking, tool_call
from plano.testing import ask as ask_in
from plano.types import CLIENT_DIALECTS as DIALECTS
from plano.types import Dialect
from tests.asgi import ask
from tests.documents import ROOT, examples
from tests.servers import Redis

GUIDE = "docs/filters.md"
KEYS = {"auth": {"keys": [{"name": "app", "key": "sk-of-the-app"}, {"name": "b", "key": "sk-of-b", "tenant": "b"}]}}
Cell = tuple[Dialect, Dialect, bool]


def taken_from_the_guide(name: str) -> Any:
    """The filter of that name, from whichever example defines it."""
    for code in examples(GUIDE, "python"):
        if re.search(rf"^(async def|class) {name}\b", code, re.MULTILINE):
            names: dict[str, Any] = {}
            exec(code, names)
            return names[name]
    raise AssertionError(f"the guide has no filter called {name}")


def gateway(provider: FakeProvider, *filters: Any, order: Any = None, **config: Any) -> Plano:
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
    said = {"model_providers": entries, "model_aliases": aliases, **config}
    return Plano(said, filters=filters, transport=provider, **({} if order is None else {"order": order}))


@pytest.fixture(params=[(c, u, s) for c, s in WAYS for u in DIALECTS], ids=lambda p: f"{p}")
def cell(request: pytest.FixtureRequest) -> Cell:
    return request.param  # type: ignore[no-any-return]


async def send(app: Plano, cell: Cell, asked: str | Conversation = "Hi", **more: Any) -> Received:
    client, upstream, stream = cell
    return await ask_in(app, client, asked, **({"stream": stream, "model": f"{upstream}_server/m"} | more))


async def test_the_smallest_filter(cell: Cell) -> None:
    answer = await send(gateway(FakeProvider(), taken_from_the_guide("passes")), cell)
    assert "You said: Hi" in answer.text


async def test_routing_by_size(cell: Cell) -> None:
    provider = FakeProvider()
    app = gateway(provider, taken_from_the_guide("long_prompts_elsewhere"))
    await send(app, cell)
    assert provider.last.json["model"] == "m"
    await send(app, cell, "x" * 100_000)
    assert provider.last.json["model"] == "large"


async def test_changing_what_is_asked(cell: Cell) -> None:
    provider = FakeProvider()
    answer = await send(gateway(provider, taken_from_the_guide("house_rules")), cell)
    assert answer.status == 200
    assert provider.last.conversation.system[0].text == "Answer in the user's language."
    assert provider.last.json["model"] == "m"


async def test_a_rule_leaves_embeddings_as_they_are() -> None:
    provider = FakeProvider()
    app = Plano(
        {"model_providers": [{"model": "openai/e", "access_key": "k"}]},
        filters=[taken_from_the_guide("house_rules")],
        transport=provider,
    )
    answer = await ask(app, "POST", "/v1/embeddings", {"model": "openai/e", "input": "one"})
    assert (answer.status, provider.last.json) == (200, {"model": "e", "input": "one"})


async def test_turning_a_request_away(cell: Cell) -> None:
    provider = FakeProvider()
    answer = await send(gateway(provider, taken_from_the_guide("OnlyModels")("some-other-model")), cell)
    assert answer.status == 403
    assert answer.error is not None
    assert "Your plan does not include" in answer.error.message
    assert provider.requests == []


async def test_answering_by_oneself(cell: Cell) -> None:
    provider = FakeProvider()
    app = gateway(provider, taken_from_the_guide("answers_help"))
    assert (await send(app, cell, " /help\n")).text == "Ask me anything about your orders."
    assert provider.requests == []
    assert (await send(app, cell, "Hello")).text.endswith("You said: Hello")


def _broken(how: str, provider: FakeProvider) -> None:
    if how == "status":
        provider.fail(503, "down")
    elif how == "no reply":
        provider.raw(200, {"content-type": "text/html"}, b"<html>")
    else:
        provider.breaks_after(1, "never said", how="error" if how == "error before the first word" else "lost")


BROKEN = ("status", "no reply", "lost before the first word", "error before the first word")


@pytest.mark.parametrize("how", BROKEN)
async def test_a_fallback(cell: Cell, how: str) -> None:
    provider = FakeProvider()
    _broken(how, provider)
    provider.reply("From the other one")
    app = gateway(provider, taken_from_the_guide("Fallback")("chat_server/large"))
    answer = await send(app, cell)
    assert (answer.status, answer.text, answer.error) == (200, "From the other one", None)
    assert [request.json["model"] for request in provider.requests] == ["m", "large"]


async def test_there_is_no_fallback_once_something_was_said(cell: Cell) -> None:
    provider = FakeProvider()
    provider.breaks_after(5, "one two three four five six", how="lost")
    provider.reply("From the other one")
    answer = await send(gateway(provider, taken_from_the_guide("Fallback")("chat_server/large")), cell)
    streamed = cell[2]
    assert (answer.text == "From the other one") is not streamed
    assert (answer.error is not None) is streamed
    assert len(provider.requests) == (1 if streamed else 2)


AUDITED: dict[str, tuple[dict[str, Any], str]] = {
    "a reply": ({}, "answered={0}_server/m status=200 outcome=completed input=3 output=17"),
    "an upstream's error": ({"fails": 503}, "answered={0}_server/m status=503 outcome=completed input=0 output=0"),
    "nobody": ({"model": "unknown"}, "answered=nobody status=404 outcome=completed input=0 output=0"),
}


@pytest.mark.parametrize("case", AUDITED)
async def test_an_audit_log(cell: Cell, case: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "audit")
    said, expected = AUDITED[case]
    provider = FakeProvider()
    if "fails" in said:
        provider.fail(said["fails"])
    else:
        provider.reply("Hello there", usage=Usage(input_tokens=3, output_tokens=17))
    asked = said.get("model", f"{cell[1]}_server/m")
    await send(gateway(provider, taken_from_the_guide("audit")), cell, model=asked)
    (line,) = [record.getMessage() for record in caplog.records if record.name == "audit"]
    assert line == f"caller=anonymous asked={asked} {expected.format(cell[1])}"


async def test_an_audit_log_estimates_what_a_provider_does_not_say(
    cell: Cell, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "audit")
    provider = FakeProvider()
    provider.reply("Hello there", usage=None)
    await send(gateway(provider, taken_from_the_guide("audit")), cell, "A question of some length")
    (line,) = [record.getMessage() for record in caplog.records if record.name == "audit"]
    assert re.search(r" input=[1-9]\d* output=[1-9]\d*$", line)


WAYS_OUT: dict[str, tuple[dict[str, Any], int]] = {
    "a reply": ({}, 200),
    "an upstream's error": ({"fails": 429}, 429),
    "an upstream that is lost": ({"lost": True}, 502),
    "an unknown model": ({"model": "unknown"}, 404),
    "a bad request": ({"messages": 7, "input": 7}, 400),
    "no key": ({"headers": {}}, 401),
}


def _refused(recorded: Recorded) -> Reply:
    raise UpstreamUnavailable("Connection refused.")


@pytest.mark.parametrize("case", WAYS_OUT)
async def test_a_header_is_on_everything_that_goes_out(cell: Cell, case: str) -> None:
    said, status = WAYS_OUT[case]
    provider = FakeProvider()
    if "fails" in said:
        provider.fail(said["fails"])
    elif "lost" in said:
        provider.script(_refused)
    order: dict[str, Any] = {}
    exec(next(code for code in examples(GUIDE, "python") if "order = " in code), order)
    app = gateway(provider, taken_from_the_guide("names_the_region"), order=order["order"], **KEYS)
    more = {"headers": {"x-api-key": "sk-of-the-app"}} | {k: v for k, v in said.items() if k not in ("fails", "lost")}
    answer = await send(app, cell, **more)
    assert (answer.status, answer.headers.get("x-region")) == (status, "eu-west")


IN_THE_GUIDE: dict[str, tuple[Any, ...] | None] = {
    "passes": None,
    "long_prompts_elsewhere": None,
    "house_rules": None,
    "OnlyModels": ("some-other-model",),
    "answers_help": None,
    "Fallback": ("large",),
    "hide_cards": None,
    "without_thinking": None,
    "Pseudonyms": (),
    "Cache": (),
    "audit": None,
    "Quota": (1,),
    "names_the_region": None,
}


@pytest.mark.parametrize("name", IN_THE_GUIDE)
@pytest.mark.parametrize(("path", "status"), [("/v1/models", 200), ("/v1/conversations/conv_x", 404), ("/v1/x", 404)])
async def test_what_asks_no_model_passes_every_filter_of_the_guide(path: str, status: int, name: str) -> None:
    arguments, filter_ = IN_THE_GUIDE[name], taken_from_the_guide(name)
    app = gateway(FakeProvider(), filter_ if arguments is None else filter_(*arguments))
    assert (await ask(app, "GET", path)).status == status


BESIDE: dict[str, dict[str, Any]] = {
    "/v1/embeddings": {"input": "Hi"},
    "/v1/messages/count_tokens": {"messages": [{"role": "user", "content": "Hi"}]},
    "/v1/responses/input_tokens": {"input": "Hi"},
}


@pytest.mark.parametrize("name", IN_THE_GUIDE)
@pytest.mark.parametrize("path", BESIDE)
async def test_what_asks_for_no_reply_passes_every_filter_of_the_guide(path: str, name: str) -> None:
    arguments, filter_ = IN_THE_GUIDE[name], taken_from_the_guide(name)
    app = Plano(
        {"model_providers": [{"model": "openai/e", "access_key": "k"}, {"model": "anthropic/c", "access_key": "k"}]},
        filters=[filter_ if arguments is None else filter_(*arguments)],
        transport=FakeProvider(),
    )
    answer = await ask(app, "POST", path, {"model": "anthropic/c" if "messages" in path else "openai/e"} | BESIDE[path])
    assert answer.status == (403 if name == "OnlyModels" else 200)
    assert answer.status == 403 or "input_tokens" in answer.json() or answer.json()["data"][0]["embedding"]


async def test_changing_text_that_is_cut_in_two(cell: Cell) -> None:
    provider = FakeProvider()
    provider.reply("Card 4111 1111 1111 1111, and again: 5500 0000 0000 0004!")
    answer = await send(gateway(provider, taken_from_the_guide("hide_cards")), cell)
    assert answer.text == "Card ****, and again: ****!"
    assert b"1111" not in answer.body


async def test_changing_events(cell: Cell) -> None:
    provider = FakeProvider()
    provider.reply(thinking("A secret thought", seal="c2VhbA=="), "The answer", tool_call("look", {"at": 1}))
    answer = await send(gateway(provider, taken_from_the_guide("without_thinking")), cell)
    assert answer.text == "The answer"
    assert b"secret" not in answer.body
    assert not any(isinstance(part, Thinking) for part in answer.reply.parts)
    assert [part.arguments for part in answer.reply.parts if isinstance(part, ToolCall)] == ['{"at":1}']
    content_type = "text/event-stream" if cell[2] else "application/json"
    assert answer.headers["content-type"].startswith(content_type)


async def test_an_error_has_no_events_to_change(cell: Cell) -> None:
    provider = FakeProvider()
    provider.fail(429, "Slow down.")
    assert (await send(gateway(provider, taken_from_the_guide("without_thinking")), cell)).status == 429


ADA, BOB = "ada.lovelace@example.org", "bob+x@mail.example"
PERSONAL = Conversation(
    system=(System(text=f"You work for {ADA}."),),
    messages=(
        Message(role="user", parts=(Document(text=f"{ADA} wrote it."), Text(text=f"Write to {BOB}, not to {ADA}."))),
        Message(role="assistant", parts=(ToolCall(id="call_1", name="send", arguments=f'{{"to":"{BOB}"}}'),)),
        Message(role="user", parts=(ToolResult(call_id="call_1", parts=(Text(text=f"Sent to {BOB}"),)),)),
    ),
    tools=(Tool(name="send", parameters=None),),
    max_tokens=1000,
)


async def test_personal_data_stays_here(cell: Cell) -> None:
    provider = FakeProvider()
    provider.script(
        lambda recorded: _reply(*sorted(set(re.findall(rb"person\d@hidden.invalid", recorded.body)))),
    )
    answer = await send(gateway(provider, taken_from_the_guide("Pseudonyms")()), cell, PERSONAL)
    assert provider.last.body.count(b"person2@hidden.invalid") == 3
    assert provider.last.body.count(b"person1@hidden.invalid") == 3
    assert b"example" not in provider.last.body
    assert answer.text == f"{ADA} wrote to {BOB}. Unknown: person3@hidden.invalid"
    assert [part.arguments for part in answer.reply.parts if isinstance(part, ToolCall)] == [f'{{"to":"{BOB}"}}']
    assert b"person1" not in answer.body
    assert b"person2" not in answer.body


def _reply(first: bytes, second: bytes) -> Reply:
    one, two = first.decode(), second.decode()
    return Reply(f"{one} wrote to {two}. Unknown: person3@hidden.invalid", tool_call("send", {"to": two}))


HIDDEN = "person1@hidden.invalid"
EMBEDDED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a text": ({"input": f"I am {ADA}"}, {"input": f"I am {HIDDEN}"}),
    "texts": ({"input": [f"I am {ADA}", "nobody"]}, {"input": [f"I am {HIDDEN}", "nobody"]}),
    "objects": ({"input": [{"text": ADA}, {"image": "x"}]}, {"input": [{"text": HIDDEN}, {"image": "x"}]}),
    "parts": (
        {"input": [{"content": [{"type": "text", "text": ADA}]}]},
        {"input": [{"content": [{"type": "text", "text": HIDDEN}]}]},
    ),
    "messages": (
        {"messages": [{"role": "user", "content": ADA}]},
        {"messages": [{"role": "user", "content": HIDDEN}]},
    ),
}


@pytest.mark.parametrize("case", EMBEDDED)
async def test_personal_data_is_not_made_into_embeddings(case: str) -> None:
    asked, sent = EMBEDDED[case]
    provider = FakeProvider()
    provider.script(Verbatim(200, {"content-type": "application/json"}, b'{"data": []}', on="/embeddings"))
    app = Plano(
        {"model_providers": [{"model": "openai/e", "access_key": "k"}]},
        filters=[taken_from_the_guide("Pseudonyms")()],
        transport=provider,
    )
    answer = await ask(app, "POST", "/v1/embeddings", {"model": "openai/e", **asked})
    assert answer.status == 200
    assert provider.last.json == {"model": "e", **sent}


async def test_what_was_asked_before_comes_from_the_cache(cell: Cell) -> None:
    provider, client = FakeProvider(), cell[0]
    provider.reply("The answer", tool_call("look", {"at": 1}))
    app = gateway(provider, taken_from_the_guide("Cache")(size=2))
    first = await ask_in(app, client, "Hi", model=f"{cell[1]}_server/m")
    again = await send(app, cell)
    assert again.text == first.text == "The answer"
    assert again.reply.parts[1:] == first.reply.parts[1:]
    assert again.reply.id != first.reply.id
    assert len(provider.requests) == 1
    for dialect in DIALECTS:
        asked = Conversation(messages=(Message(role="user", parts=(Text(text="Another"),)),), max_tokens=50)
        assert (await send(app, (dialect, cell[1], False), asked)).text == "The answer"
    assert len(provider.requests) == 2
    await send(app, cell, "Hi", temperature=0.5, stream=False)
    assert len(provider.requests) == 3
    await send(app, cell, "Hi", stream=False)
    assert len(provider.requests) == 4, "the first was thrown out, being the oldest of three"


async def test_a_tenant_does_not_see_anothers_cached_answer() -> None:
    provider = FakeProvider()
    app = gateway(provider, taken_from_the_guide("Cache")(), **KEYS)
    for key in ("sk-of-the-app", "sk-of-b", "sk-of-the-app"):
        await ask_in(app, "chat", "Hi", model="chat_server/m", headers={"authorization": f"Bearer {key}"})
    assert len(provider.requests) == 2


async def test_a_quota_is_used_up_and_new_the_next_day(cell: Cell) -> None:
    now = [86400.0 * 5 + 86000]
    provider = FakeProvider()
    provider.reply("Hello", usage=Usage(input_tokens=3, output_tokens=7))
    app = gateway(provider, taken_from_the_guide("Quota")(15, clock=lambda: now[0]))
    statuses = [(await send(app, cell)).status for _ in range(3)]
    assert statuses == [200, 200, 429]
    assert (await send(app, cell)).headers["retry-after"] == "400"
    now[0] += 400
    assert (await send(app, cell)).status == 200


@pytest.fixture(scope="module")
def redis() -> Iterator[Redis]:
    server = Redis()
    yield server
    server.stop()


async def test_a_shared_quota_holds_for_all_who_share_it(redis: Redis) -> None:
    redis.client.flushall()
    provider = FakeProvider()
    provider.reply("Hello", usage=Usage(input_tokens=3, output_tokens=7))
    filters = [taken_from_the_guide("SharedQuota")(15, url=redis.url) for _ in range(2)]
    apps = [gateway(provider, each) for each in filters]
    try:
        statuses = [(await send(apps[number % 2], ("chat", "chat", False))).status for number in range(4)]
        assert statuses == [200, 200, 429, 429]
        (key,) = redis.client.keys("quota:default:*")
        assert redis.client.ttl(key) > 86400
    finally:
        for each in filters:
            await each._redis.aclose()


def test_the_test_of_a_filter_passes(tmp_path: Path) -> None:
    code = examples(GUIDE, "python")
    (tmp_path / "my_filters.py").write_text(next(each for each in code if "async def hide_cards" in each))
    (tmp_path / "test_mine.py").write_text(next(each for each in code if "from my_filters" in each))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:asyncio", str(tmp_path)]
    done = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": f"{ROOT}:{tmp_path}"}, capture_output=True, text=True, timeout=60
    )
    assert f"{len(WAYS)} passed" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("code", [code for code in examples(GUIDE, "python") if "order = " in code])
def test_the_orders_are_orders(code: str) -> None:
    names: dict[str, Any] = {}
    exec(code, names)
    places = [link.name for link in names["app"].pipeline]
    assert places.index("auth") < places.index("alias")


def test_the_config_example(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    code = next(code for code in examples(GUIDE, "python") if "class OnlyModels" in code)
    monkeypatch.delitem(sys.modules, "my_filters", raising=False)  # another document has one too
    (tmp_path / "my_filters.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    path = tmp_path / "config.yaml"
    path.write_text("model_providers: [{model: demo/echo}]\n" + examples(GUIDE, "yaml")[0])
    assert "only-small" in [link.name for link in Plano(load(path)).pipeline]


def test_a_filter_that_cannot_work_is_an_error_at_the_start() -> None:
    def plain(request: Any, call_next: Any) -> Any:
        return call_next(request)

    with pytest.raises(ConfigError, match="filter `plain`: a plain function; write `async def`"):
        gateway(FakeProvider(), taken_from_the_guide("passes"), plain)


async def test_a_filters_bug_is_a_500_that_names_it(cell: Cell, caplog: pytest.LogCaptureFixture) -> None:
    async def careless(request: Any, call_next: Any) -> Any:
        raise ZeroDivisionError("inside")

    answer = await send(gateway(FakeProvider(), careless), cell)
    assert answer.status == 500
    assert answer.error is not None
    assert "careless" in answer.error.message
    assert b"inside" not in answer.body
    assert "ZeroDivisionError" in caplog.text


async def test_a_filter_that_fails_in_the_middle_of_a_stream_ends_it_with_an_error_that_names_it(
    cell: Cell, caplog: pytest.LogCaptureFixture
) -> None:
    def careless(text: str) -> str:
        if "five" in text:
            raise ZeroDivisionError
        return text

    async def rewrite(request: Any, call_next: Any) -> Any:
        return (await call_next(request)).map_text(careless)

    provider = FakeProvider()
    provider.reply("one two three four five six")
    around = taken_from_the_guide("hide_cards")
    answer = await send(gateway(provider, around, rewrite, around), cell)
    assert answer.error is not None
    assert "`rewrite`" in answer.error.message
    assert "`rewrite`" in caplog.text
    assert "ZeroDivisionError" in caplog.text
    assert answer.status == (200 if cell[2] else 500)
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
        assert "You said: Hi" in answer.text
    assert ended == ["completed", "completed"]
