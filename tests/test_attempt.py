"""What one try at one target came to belongs to it alone: a fallback is reported, billed and counted as what it was."""

from __future__ import annotations

import ast
import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

from plano import CallNext, Plano, Request, Response
from plano.attempt import NOT_ASKED, Attempt
from plano.errors import UpstreamError
from plano.observability.access import Line
from plano.testing import FakeProvider, Reply, Usage
from plano.types import CLIENT_DIALECTS as DIALECTS
from plano.types import Dialect
from tests.asgi import Answer, ask
from tests.scraping import scrape
from tests.test_pairs import PATHS, config
from tests.test_vendor_rules import asked_in

ROOT = Path(__file__).parents[1]
BELOW_ALIAS = ("metrics", "intake", "auth", "alias", "filters", "state", "translation")
PRICES = {f"fake_{dialect}/m-1": {"input": 1.0, "output": float(10**at)} for at, dialect in enumerate(DIALECTS)}


class FallsBack:
    """Asks a second entry where the first fails before its first real output."""

    def __init__(self, second: Dialect) -> None:
        self._second = f"fake_{second}/m-1"

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        response = await call_next(request)
        try:
            return await response.begun()
        except UpstreamError:
            await response.aclose()
            return await call_next(await self._other(request))

    async def _other(self, request: Request) -> Request:
        return request.replace(model=self._second)


class FallsBackToTarget(FallsBack):
    """The same below the alias filter, where a target is what is replaced."""

    def __init__(self, second: Dialect) -> None:
        super().__init__(second)
        self.app: Plano | None = None

    async def _other(self, request: Request) -> Request:
        assert self.app is not None
        return request.replace(target=self.app.models.resolve(self._second))


def gateway(second: Dialect, provider: FakeProvider, *, below_alias: bool = False, **more: Any) -> Plano:
    configuration = config("http://upstream.test") | {"prices": {"models": PRICES}, "ui": True} | more
    if not below_alias:
        return Plano(configuration, filters=[FallsBack(second)], transport=provider)
    filter_ = FallsBackToTarget(second)
    filter_.app = Plano(configuration, filters=[filter_], order=BELOW_ALIAS, transport=provider)
    return filter_.app


def body(client: Dialect, first: Dialect, *, stream: bool, **more: Any) -> dict[str, Any]:
    return asked_in(client, model=f"fake_{first}/m-1", stream=stream, **more)


FAILS = {
    "an error of its own": lambda provider: provider.fail(529),
    "no connection": lambda provider: provider.breaks_after(0),
    "after its first event": lambda provider: provider.breaks_after(1),
    "ends after its first event": lambda provider: provider.breaks_after(1, how="incomplete"),
}


async def answered(app: Plano, client: Dialect, first: Dialect, *, stream: bool, **more: Any) -> Answer:
    answer = await ask(app, "POST", PATHS[client], body(client, first, stream=stream, **more))
    assert answer.status == 200, answer.body
    assert b"second" in answer.body
    return answer


@pytest.mark.parametrize("below_alias", [False, True], ids=["above alias", "below alias"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("second", DIALECTS)
@pytest.mark.parametrize("first", DIALECTS)
@pytest.mark.parametrize("client", DIALECTS)
async def test_a_fallback_is_counted_as_what_answered(
    client: Dialect, first: Dialect, second: Dialect, stream: bool, below_alias: bool
) -> None:
    provider = FakeProvider()
    provider.fail(529)
    provider.reply("second", usage=Usage(input_tokens=30, output_tokens=2))
    app = gateway(second, provider, below_alias=below_alias)
    more = {"stream_options": {"include_usage": True}} if stream and client == "chat" else {}
    await answered(app, client, first, stream=stream, **more)
    found = await scrape(app)
    entry = f"fake_{second}/m-1"
    place = {"provider": f"fake_{second}", "model": entry}
    flag = "true" if stream else "false"
    assert found.of("plano_requests_total", client_dialect=client, upstream_dialect=second, stream=flag, **place) == 1
    assert found.of("plano_requests_total") == 1
    assert found.of("plano_cost_dollars_total") == pytest.approx(
        (30 * PRICES[entry]["input"] + 2 * PRICES[entry]["output"]) / 1e6
    )
    assert found.of("gen_ai_client_token_usage_sum", gen_ai_request_model=entry, gen_ai_token_type="output") == 2
    assert found.of("gen_ai_client_token_usage_sum", gen_ai_token_type="output") == 2
    assert found.of("plano_upstream_errors_total", model=f"fake_{first}/m-1", kind="overloaded") == 1


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_a_fallback_reports_the_losses_of_the_attempt_that_answered(stream: bool) -> None:
    provider = FakeProvider()
    provider.fail(529)
    provider.reply("second")
    app = gateway("chat", provider)
    answer = await answered(app, "chat", "messages", stream=stream, seed=3)
    assert provider.requests[-1].json["seed"] == 3
    assert "x-plano-dropped" not in answer.headers
    assert (await scrape(app)).of("plano_losses_total") == 0


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_one_that_loses_more_than_the_first_says_so(stream: bool) -> None:
    provider = FakeProvider()
    provider.fail(529)
    provider.reply("second")
    app = gateway("messages", provider)
    answer = await answered(app, "chat", "chat", stream=stream, seed=3)
    assert answer.headers["x-plano-dropped"] == "seed"
    found = await scrape(app)
    assert found.of("plano_losses_total", upstream_dialect="messages", field="seed") == 1


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_strict_judges_each_attempt_by_itself(stream: bool) -> None:
    provider = FakeProvider()
    provider.fail(529)
    provider.reply("second")
    strict = {"x-plano-strict": "true"}
    said = body("chat", "chat", stream=stream, seed=3)
    refused = await ask(gateway("messages", provider), "POST", PATHS["chat"], said, strict)
    assert (refused.status, refused.json()["error"]["param"]) == (400, "seed")
    provider = FakeProvider()
    provider.fail(529)
    provider.reply("second")
    app = gateway("chat", provider)
    said = body("chat", "responses", stream=stream, user="u")
    assert (await ask(app, "POST", PATHS["chat"], said, strict)).status == 200


async def test_one_that_is_refused_before_it_is_sent_is_not_filed_under_the_one_before() -> None:
    provider = FakeProvider()
    provider.fail(529)
    app = gateway("messages", provider)
    answer = await ask(app, "POST", PATHS["chat"], body("chat", "chat", stream=False, n=2))
    assert (answer.status, answer.json()["error"]["param"]) == (400, "n")
    assert "x-plano-dropped" not in answer.headers
    found = await scrape(app)
    assert found.of("plano_requests_total", upstream_dialect="none", model="fake_messages/m-1") == 1
    assert found.of("plano_upstream_errors_total") == 1


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("how", FAILS)
@pytest.mark.parametrize("second", DIALECTS)
@pytest.mark.parametrize("first", DIALECTS)
@pytest.mark.parametrize("client", DIALECTS)
async def test_a_target_that_fails_before_its_first_output_can_be_replaced(
    client: Dialect, first: Dialect, second: Dialect, how: str, stream: bool
) -> None:
    provider = FakeProvider()
    FAILS[how](provider)
    provider.reply("second")
    app = gateway(second, provider)
    await answered(app, client, first, stream=stream)
    assert len(provider.requests) == 2


async def test_the_log_and_the_page_name_what_answered(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "plano.access")
    provider = FakeProvider()
    provider.fail(429)
    provider.reply("second", usage=Usage(input_tokens=30, output_tokens=2))
    app = gateway("messages", provider)
    await answered(app, "chat", "responses", stream=True)
    (shown,) = (await ask(app, "GET", "/ui/data")).json()["requests"]
    assert (shown["served"], shown["upstream"], shown["output"]) == ("fake_messages/m-1", "messages", 2)
    (line,) = [record.msg for record in caplog.records if isinstance(record.msg, Line)]
    said = line.fields()
    assert (said["upstream_dialect"], said["output_tokens"]) == ("messages", 2)
    tried = [(each["entry"], each.get("class"), each["status"]) for each in said["attempts"]]
    assert tried == [("fake_responses/m-1", "rate_limit", 429), ("fake_messages/m-1", None, 200)]
    assert [each.get("class") for each in shown["attempts"]] == ["rate_limit", None]
    assert "error" not in said


async def test_what_a_response_is_the_reply_of_is_told() -> None:
    targets: list[tuple[str | None, int]] = []

    async def look(request: Request, call_next: CallNext) -> Response:
        first = await call_next(request)
        second = await call_next(request.replace(model="fake_messages/m-1"))
        for response in (first, second):
            targets.append((response.target and response.target.entry, response.usage.output_tokens))  # type: ignore[union-attr]
        return first

    provider = FakeProvider()
    provider.reply("one", usage=Usage(input_tokens=1, output_tokens=1))
    provider.reply("two", usage=Usage(input_tokens=1, output_tokens=2))
    app = Plano(config("http://upstream.test"), filters=[look], transport=provider)
    answer = await ask(app, "POST", PATHS["chat"], body("chat", "chat", stream=False))
    assert b"one" in answer.body
    assert targets == [("fake_chat/m-1", 1), ("fake_messages/m-1", 2)]
    found = await scrape(app)
    assert (
        found.of("gen_ai_client_token_usage_sum", gen_ai_request_model="fake_chat/m-1", gen_ai_token_type="output") == 1
    )
    other = {"gen_ai_request_model": "fake_messages/m-1", "gen_ai_token_type": "output"}
    assert found.of("gen_ai_client_token_usage_sum", **other) == 2, "it was paid for too"


@pytest.mark.parametrize("how", ["incomplete", "error"])
async def test_a_stream_that_broke_and_was_replaced_leaves_no_mark_on_the_outcome(how: Any) -> None:
    async def reads_first(request: Request, call_next: CallNext) -> Response:
        response = await call_next(request)
        try:
            await response.read()
        except UpstreamError:
            await response.aclose()
            return await call_next(request)
        return response

    provider = FakeProvider()
    provider.breaks_after(3, how=how)
    provider.reply("second")
    app = Plano(config("http://upstream.test"), filters=[reads_first], transport=provider)
    answer = await ask(app, "POST", PATHS["chat"], body("chat", "chat", stream=True))
    assert b"second" in answer.body
    found = await scrape(app)
    assert (found.of("plano_requests_total"), found.of("plano_requests_total", outcome="completed")) == (1, 1)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("how", FAILS)
async def test_what_a_filter_answers_in_place_of_a_failure_is_no_attempts(how: str, stream: bool) -> None:
    async def is_sorry(request: Request, call_next: CallNext) -> Response:
        response = await call_next(request)
        try:
            return await response.begun()
        except UpstreamError:
            await response.aclose()
            return Response.of(request, "sorry")

    provider = FakeProvider()
    FAILS[how](provider)
    app = Plano(config("http://upstream.test"), filters=[is_sorry], transport=provider)
    answer = await ask(app, "POST", PATHS["chat"], body("chat", "messages", stream=stream, seed=3))
    assert (answer.status, b"sorry" in answer.body) == (200, True)
    assert "x-plano-dropped" not in answer.headers
    found = await scrape(app)
    assert (
        found.of("plano_requests_total", model="fake_messages/m-1", upstream_dialect="none", outcome="completed") == 1
    )
    assert found.of("plano_losses_total") == 0
    said = stream and "first event" in how  # it opens with the tokens of the request
    assert found.of("gen_ai_client_token_usage_count", gen_ai_token_type="input") == said
    assert found.of("plano_upstream_errors_total", model="fake_messages/m-1") == 1


class Hedges:
    """Asks two entries at once, takes the first that begins, and cancels the other."""

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        asking = [
            asyncio.ensure_future(self._begun(request.replace(model=f"fake_{each}/m-1"), call_next))
            for each in ("chat", "messages")
        ]
        done, late = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
        for each in late:
            each.cancel()
        await asyncio.wait(asking)
        return next(iter(done)).result()

    async def _begun(self, request: Request, call_next: CallNext) -> Response:
        return await (await call_next(request)).begun()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("fast", ["chat", "messages"])
@pytest.mark.parametrize("client", DIALECTS)
async def test_of_two_that_are_asked_at_once_the_one_that_answered_counts(
    client: Dialect, fast: Dialect, stream: bool
) -> None:
    provider = FakeProvider()
    usage = Usage(input_tokens=30, output_tokens=2)
    provider.script(lambda asked: Reply("answered", usage=usage, delay=0.0 if asked.dialect == fast else 60.0))
    app = Plano(config("http://upstream.test"), filters=[Hedges()], transport=provider)
    more = {"stream_options": {"include_usage": True}} if stream and client == "chat" else {}
    answer = await ask(app, "POST", PATHS[client], body(client, "responses", stream=stream, **more))
    assert (answer.status, b"answered" in answer.body, len(provider.requests)) == (200, True, 2)
    found = await scrape(app)
    entry = f"fake_{fast}/m-1"
    assert found.of("plano_requests_total") == 1
    assert found.of("plano_requests_total", model=entry, upstream_dialect=fast, outcome="completed") == 1
    assert found.of("gen_ai_client_token_usage_sum", gen_ai_request_model=entry, gen_ai_token_type="output") == 2
    assert found.of("gen_ai_client_token_usage_sum", gen_ai_token_type="output") == 2
    assert found.of("plano_upstream_errors_total") == 0
    assert found.of("plano_requests_in_flight") == 0


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_a_judge_that_is_asked_first_is_not_what_answered(stream: bool) -> None:
    async def judged(request: Request, call_next: CallNext) -> Response:
        verdict = await (await call_next(request.replace(model="fake_messages/m-1"))).read()
        assert verdict.parts
        return await call_next(request)

    provider = FakeProvider()
    provider.reply("fine", usage=Usage(input_tokens=1, output_tokens=1))
    provider.reply("answered", usage=Usage(input_tokens=30, output_tokens=2))
    app = Plano(config("http://upstream.test"), filters=[judged], transport=provider)
    answer = await ask(app, "POST", PATHS["responses"], body("responses", "chat", stream=stream))
    assert b"answered" in answer.body
    found = await scrape(app)
    assert found.of("plano_requests_total", model="fake_chat/m-1", outcome="completed") == 1
    both = {"fake_messages/m-1": 1, "fake_chat/m-1": 2}
    for entry, output in both.items():
        one = {"gen_ai_request_model": entry, "gen_ai_token_type": "output"}
        assert found.of("gen_ai_client_token_usage_sum", **one) == output
    assert found.of("plano_losses_total", upstream_dialect="messages") == 0


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("upstream", DIALECTS)
async def test_at_the_end_a_filter_finds_an_estimate_where_the_upstream_said_nothing(
    upstream: Dialect, stream: bool
) -> None:
    found: list[Any] = []

    async def audit(request: Request, call_next: CallNext) -> Response:
        response = await call_next(request)
        response.on_close(lambda: found.append(response.usage))
        return response

    provider = FakeProvider()
    provider.reply("some words that were said", usage=None)
    app = Plano(config("http://upstream.test"), filters=[audit], transport=provider)
    assert (await ask(app, "POST", PATHS["chat"], body("chat", upstream, stream=stream))).status == 200
    (usage,) = found
    assert usage.estimated == ("input", "output")
    assert usage.input_tokens > 0
    assert usage.output_tokens > 0


def test_where_nobody_was_asked_nothing_can_be_noted() -> None:
    with pytest.raises(AssertionError, match="no upstream was asked"):
        NOT_ASKED.fail("timeout")
    assert (NOT_ASKED.failure, NOT_ASKED.losses, NOT_ASKED.said()) == (None, (), None)


def test_the_first_failure_of_an_attempt_counts() -> None:
    attempt = Attempt(None, "chat")
    attempt.fail("timeout")
    attempt.fail("broken_stream")
    assert attempt.failure == "timeout"


def test_only_those_who_send_write_an_attempt() -> None:
    """They are assigned in its own module, by the upstream, by the relay, by the loop, and by what settles usage."""
    fields = set(Attempt.__annotations__) | {"target", "dialect", "losses", "sent"}
    found = {
        str(path.relative_to(ROOT))
        for folder in ("plano", "filters")
        for path in sorted(Path(ROOT, folder).rglob("*.py"))
        if "plano/filters" not in str(path)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Assign | ast.AugAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Attribute)
        and target.attr in fields
        and isinstance(target.value, ast.Name)
        and target.value.id in {"attempt", "answer", "made"}
        and path.name != "tracing.py"  # whose attempts are spans
    }
    writers = ("observability/usage.py", "streams/relay.py", "upstream/send.py", "upstream/tries.py")
    assert found == {f"plano/{each}" for each in writers}
