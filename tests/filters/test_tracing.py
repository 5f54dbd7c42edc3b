"""Spans as an exporter gets them, in this process and over gRPC."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
from opentelemetry import trace
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from plano import CallNext, Plano, Request, Response
from plano.observability.otlp import OwnProvider, provider_for
from plano.testing import FakeProvider, Reply, Usage
from tests.asgi import Exchange, ask, scope
from tests.documents import ROOT

KEY = "sk-caller-0123456789abcdef"
HELLO = {"model": "gpt-4o", "messages": [{"role": "user", "content": "a very private prompt"}]}
PATHS = {"chat": "/v1/chat/completions", "messages": "/v1/messages", "responses": "/v1/responses"}
TRACE = "0af7651916cd43dd8448eb211c80319c"


def body(dialect: str, **more: Any) -> dict[str, Any]:
    said: dict[str, Any] = {"model": "gpt-4o", **more}
    if dialect == "responses":
        return said | {"input": "a very private prompt"}
    if dialect == "chat" and more.get("stream"):
        said["stream_options"] = {"include_usage": True}
    return said | {"messages": [{"role": "user", "content": "a very private prompt"}], "max_tokens": 10}


def config(model: str = "openai/gpt-4o", **more: Any) -> dict[str, Any]:
    return {"model_providers": [{"model": model, "access_key": "sk-upstream-0123456789"}], **more}


class Traced:
    """A gateway whose spans stay in this process."""

    def __init__(self, said: dict[str, Any] | None = None, *, percent: float = 100, **more: Any) -> None:
        self.upstream = FakeProvider()
        self.exporter = InMemorySpanExporter()
        self.provider = provider_for(percent, exporter=self.exporter)
        said = config() if said is None else said
        self.gateway = Plano(said, transport=self.upstream, tracer_provider=self.provider, **more)

    async def ask(self, payload: Any, headers: dict[str, str] | None = None, path: str = PATHS["chat"]) -> Any:
        return await ask(self.gateway, "POST", path, payload, headers)

    def spans(self) -> tuple[list[ReadableSpan], list[ReadableSpan]]:
        """Those of requests, and those of attempts."""
        self.provider.deliver()
        found = self.exporter.get_finished_spans()
        return (
            [span for span in found if span.kind is SpanKind.SERVER],
            [span for span in found if span.kind is SpanKind.CLIENT],
        )


def said(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("dialect", PATHS)
@pytest.mark.parametrize("entry", ["openai/gpt-4o", "anthropic/gpt-4o"])
async def test_a_span_for_the_request_and_one_below_it_for_the_attempt(entry: str, dialect: str, stream: bool) -> None:
    traced = Traced(config(entry))
    usage = Usage(input_tokens=21, output_tokens=7, cached_tokens=4)
    traced.upstream.reply("a private answer", usage=usage, model="served-1")
    answer = await traced.ask(body(dialect, stream=stream), path=PATHS[dialect])
    assert answer.status == 200
    (request,), (attempt,) = traced.spans()
    assert request.name == f"POST {PATHS[dialect]}"
    assert attempt.name == "chat gpt-4o"
    assert request.parent is None
    assert attempt.parent is not None
    assert attempt.parent.span_id == request.context.span_id
    spoken = traced.upstream.last.dialect
    provider = entry.partition("/")[0]
    for span in (request, attempt):
        attributes = said(span)
        assert attributes["gen_ai.operation.name"] == "chat"
        assert attributes["gen_ai.request.model"] == "gpt-4o"
        assert attributes["gen_ai.request.stream"] is stream
        assert attributes["gen_ai.response.model"] == "served-1"
        assert attributes["gen_ai.response.id"] in traced_ids(traced)
        assert attributes["gen_ai.response.finish_reasons"] == ("stop",)
        assert attributes["gen_ai.provider.name"] == provider
        assert attributes["gen_ai.usage.input_tokens"] == 21
        assert attributes["gen_ai.usage.output_tokens"] == 7
        assert attributes["gen_ai.usage.cache_read.input_tokens"] == 4
        assert attributes["http.response.status_code"] == 200
        assert attributes["plano.upstream_dialect"] == spoken
        assert ("gen_ai.response.time_to_first_chunk" in attributes) == stream
        assert "error.type" not in attributes
        assert span.status.status_code is StatusCode.UNSET
        assert span.start_time < span.end_time
    assert said(request)["plano.client_dialect"] == dialect
    assert said(attempt)["server.address"] == f"api.{provider}.com"
    assert said(attempt)["server.port"] == 443
    assert request.start_time <= attempt.start_time
    assert attempt.end_time <= request.end_time


def traced_ids(traced: Traced) -> set[str]:
    """What the fake provider calls its first reply in each dialect."""
    return {f"{prefix}fake_1" for prefix in ("chatcmpl-", "msg_", "resp_")}


@pytest.mark.parametrize(
    ("name", "called"), [("mistral", "mistral_ai"), ("xai", "x_ai"), ("gemini", "gcp.gemini"), ("groq", "groq")]
)
async def test_providers_have_the_names_of_the_conventions(name: str, called: str) -> None:
    traced = Traced(config(f"{name}/gpt-4o"))
    await traced.ask(HELLO)
    _, (attempt,) = traced.spans()
    assert (said(attempt)["gen_ai.provider.name"], said(attempt)["plano.provider"]) == (called, name)


async def test_an_estimate_of_usage_says_so() -> None:
    traced = Traced()
    traced.upstream.reply("answer", usage=None)
    await traced.ask(HELLO)
    (request,), (attempt,) = traced.spans()
    for span in (request, attempt):
        assert said(span)["plano.usage_estimated"] is True
        assert said(span)["gen_ai.usage.input_tokens"] > 0


async def test_embeddings_and_token_counts_are_traced_too() -> None:
    traced = Traced()
    assert (await traced.ask({"model": "gpt-4o", "input": "x"}, path="/v1/embeddings")).status == 200
    counted = await traced.ask(body("messages"), path="/v1/messages/count_tokens")
    assert counted.status == 200
    (embedded, counting), (attempt,) = traced.spans()
    assert [said(span)["gen_ai.operation.name"] for span in (embedded, counting)] == ["embeddings", "count_tokens"]
    assert attempt.name == "embeddings gpt-4o"


async def test_a_trace_that_came_in_goes_on_and_out() -> None:
    traced = Traced()
    await traced.ask(HELLO, {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01", "tracestate": "vendor=1"})
    (request,), (attempt,) = traced.spans()
    assert request.parent is not None
    assert f"{request.parent.span_id:016x}" == "b7ad6b7169203331"
    assert f"{request.context.trace_id:032x}" == TRACE
    sent = traced.upstream.last.headers
    assert sent["traceparent"] == f"00-{TRACE}-{attempt.context.span_id:016x}-01"
    assert sent["tracestate"] == "vendor=1"
    assert [name for name, _ in traced.upstream.last.raw_headers].count(b"traceparent") == 1


async def test_a_request_without_a_trace_begins_one() -> None:
    traced = Traced()
    await traced.ask(HELLO)
    _, (attempt,) = traced.spans()
    version, trace_id, span_id, flags = traced.upstream.last.headers["traceparent"].split("-")
    assert (version, trace_id, span_id) == ("00", f"{attempt.context.trace_id:032x}", f"{attempt.context.span_id:016x}")
    assert int(flags, 16) & 1, "it is sampled"


@pytest.mark.parametrize("junk", ["", "00-zz-xx-01", "00-" + "0" * 32 + "-" + "0" * 16 + "-01", "x" * 5000])
async def test_junk_for_a_trace_begins_a_new_one(junk: str) -> None:
    traced = Traced()
    assert (await traced.ask(HELLO, {"traceparent": junk, "tracestate": "=,=;" * 40})).status == 200
    (request,), _ = traced.spans()
    assert request.parent is None
    assert junk not in traced.upstream.last.headers["traceparent"] or not junk


async def test_without_tracing_a_trace_is_passed_on_as_it_came() -> None:
    upstream = FakeProvider()
    parent = f"00-{TRACE}-b7ad6b7169203331-01"
    await ask(Plano(config(), transport=upstream), "POST", PATHS["chat"], HELLO, {"traceparent": parent})
    assert upstream.last.headers["traceparent"] == parent


async def test_in_a_host_with_a_span_open_the_request_belongs_below_it() -> None:
    traced = Traced()
    with traced.provider.get_tracer("host").start_as_current_span("host") as host:
        await traced.ask(HELLO, {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"})
    (request,), _ = traced.spans()
    assert request.parent is not None
    assert request.parent.span_id == host.get_span_context().span_id


async def test_a_filters_own_span_stands_between_request_and_attempt() -> None:
    async def work(request: Request, call_next: CallNext) -> Response:
        with trace.get_tracer("mine", tracer_provider=traced.provider).start_as_current_span("mine"):
            return await call_next(request)

    traced = Traced(filters=[work])
    await traced.ask(HELLO)
    (request,), (attempt,) = traced.spans()
    (mine,) = [span for span in traced.exporter.get_finished_spans() if span.name == "mine"]
    assert mine.parent.span_id == request.context.span_id
    assert attempt.parent is not None
    assert attempt.parent.span_id == mine.context.span_id


async def test_each_attempt_has_a_span_and_the_upstream_is_told_each() -> None:
    async def again(request: Request, call_next: CallNext) -> Response:
        response = await call_next(request)
        if response.status == 503:
            await response.aclose()
            response = await call_next(request)
        return response

    traced = Traced(filters=[again])
    traced.upstream.fail(503)
    traced.upstream.reply("done", usage=Usage(input_tokens=3, output_tokens=2))
    await traced.ask(HELLO)
    (request,), (first, second) = traced.spans()
    assert [said(span)["plano.attempt"] for span in (first, second)] == [1, 2]
    assert (said(first)["error.type"], said(first)["http.response.status_code"]) == ("overloaded", 503)
    assert first.status.status_code is StatusCode.ERROR
    assert "gen_ai.usage.input_tokens" not in said(first)
    assert "error.type" not in said(second)
    assert said(second)["gen_ai.usage.input_tokens"] == 3
    assert "error.type" not in said(request)
    told = [recorded.headers["traceparent"].split("-")[2] for recorded in traced.upstream.requests]
    assert told == [f"{span.context.span_id:016x}" for span in (first, second)]


@pytest.mark.parametrize("stream", [False, True])
async def test_attempts_at_the_same_time_each_have_a_span_of_their_own(stream: bool) -> None:
    async def both(request: Request, call_next: CallNext) -> Response:
        first, second = await asyncio.gather(call_next(request), call_next(request.replace(model="anthropic/claude")))
        await first.aclose()
        return second

    entries = [{"model": model, "access_key": "k"} for model in ("openai/gpt-4o", "anthropic/claude")]
    traced = Traced({"model_providers": entries}, filters=[both])
    traced.upstream.fail(503)
    traced.upstream.reply("done", usage=Usage(input_tokens=3, output_tokens=2))
    assert (await traced.ask(HELLO | {"stream": stream})).status == 200
    (request,), attempts = traced.spans()
    by_provider = {said(span)["plano.provider"]: said(span) for span in attempts}
    failed, answered = by_provider["openai"], by_provider["anthropic"]
    assert (failed["http.response.status_code"], failed["error.type"]) == (503, "overloaded")
    assert "gen_ai.usage.input_tokens" not in failed
    assert (answered["http.response.status_code"], answered["gen_ai.usage.input_tokens"]) == (200, 3)
    assert "error.type" not in answered
    assert said(request)["gen_ai.response.id"] == answered["gen_ai.response.id"]


async def test_an_attempt_that_is_refused_before_it_is_sent_is_not_taken_for_the_one_before_it() -> None:
    async def again(request: Request, call_next: CallNext) -> Response:
        await (await call_next(request)).aclose()
        return await call_next(request.replace(model="openai/o3"))

    entries = [{"model": model, "access_key": "k"} for model in ("openai/gpt-4o", "openai/o3")]
    traced = Traced({"model_providers": entries}, filters=[again])
    traced.upstream.fail(503)
    answer = await traced.ask(HELLO | {"temperature": 0.5}, {"x-plano-strict": "true"})
    assert (answer.status, len(traced.upstream.requests)) == (400, 1)
    _, (first, second) = traced.spans()
    assert (said(first)["error.type"], said(first)["http.response.status_code"]) == ("overloaded", 503)
    assert "http.response.status_code" not in said(second)


@pytest.mark.parametrize(
    ("status", "attempted", "asked"),
    [(429, "rate_limit", "429"), (400, "invalid", "400"), (500, "server", "500")],
)
async def test_an_upstreams_error_is_named_on_both_spans(status: int, attempted: str, asked: str) -> None:
    traced = Traced()
    traced.upstream.fail(status, "the upstream said something private")
    assert (await traced.ask(HELLO)).status == status
    (request,), (attempt,) = traced.spans()
    assert (said(attempt)["error.type"], said(request)["error.type"]) == (attempted, asked)
    assert attempt.status.status_code is StatusCode.ERROR
    assert request.status.status_code is (StatusCode.ERROR if status >= 500 else StatusCode.UNSET)


async def test_what_never_reached_an_upstream_has_one_span() -> None:
    traced = Traced(config(auth={"keys": [{"name": "alice", "key": KEY}]}))
    assert (await traced.ask(HELLO)).status == 401
    assert (await traced.ask(HELLO | {"model": "nope"}, {"x-api-key": KEY})).status == 404
    assert (await traced.ask(b"{", {"x-api-key": KEY})).status == 400
    requests, attempts = traced.spans()
    assert attempts == []
    assert [said(span)["error.type"] for span in requests] == ["invalid_api_key", "model_not_found", "invalid_request"]
    assert said(requests[1])["plano.caller"] == "alice"


async def test_a_filters_bug_is_an_error_of_the_request() -> None:
    async def broken(request: Request, call_next: CallNext) -> Response:
        raise RuntimeError("a private message")

    traced = Traced(filters=[broken])
    assert (await traced.ask(HELLO)).status == 500
    (request,), _ = traced.spans()
    assert said(request)["error.type"] == "filter_error"
    assert (request.status.status_code, request.status.description) == (StatusCode.ERROR, None)
    assert request.events == ()


async def test_a_stream_that_breaks_is_an_error_of_both() -> None:
    traced = Traced()
    traced.upstream.breaks_after(3)
    await traced.ask(HELLO | {"stream": True})
    (request,), (attempt,) = traced.spans()
    assert said(attempt)["error.type"] == "broken_stream"
    assert said(request)["error.type"] == "upstream_unavailable"
    assert request.status.status_code is attempt.status.status_code is StatusCode.ERROR


async def test_a_client_that_leaves_ends_both() -> None:
    traced = Traced()
    traced.upstream.script(Reply("one two three four", delay=0.0, pause=0.05))
    exchange = Exchange(json.dumps(HELLO | {"stream": True}).encode())
    task = asyncio.create_task(traced.gateway(scope("POST", PATHS["chat"]), exchange.receive, exchange.send))
    await exchange.progress.wait()
    exchange.leave()
    await task
    (request,), (attempt,) = traced.spans()
    assert said(request)["error.type"] == said(attempt)["error.type"] == "aborted"
    assert attempt.end_time is not None


async def test_configured_attributes_are_those_of_the_original() -> None:
    traced = Traced(
        config(
            tracing={
                "span_attributes": {
                    "header_prefixes": ["X-Acme-", "x-team"],
                    "static": {"environment": "production", "tenant.id": "nobody"},
                }
            }
        )
    )
    headers = {
        "X-Acme-Workspace-Id": "ws_1",
        "x-acme-tenant-id": "t_2",
        "x-teammate": "m",
        "x-other": "no",
        "x-acme-": "",
    }
    await traced.ask(HELLO, headers)
    requests, attempts = traced.spans()
    for span in (*requests, *attempts):
        attributes = said(span)
        assert attributes["environment"] == "production"
        assert attributes["workspace.id"] == "ws_1"
        assert attributes["tenant.id"] == "t_2", "a header wins over what is static"
        assert attributes["mate"] == "m"
        assert "other" not in attributes
        assert "" not in attributes


async def test_no_span_holds_a_body_or_a_key() -> None:
    prefixes = {"header_prefixes": ["a", "x", "c"]}
    entry = config(auth={"keys": [{"name": "alice", "key": KEY}]}, tracing={"span_attributes": prefixes})
    traced = Traced(entry)
    secrets = [KEY, "sk-upstream-0123456789", "private", "session-cookie", "wrong-place"]
    for headers in ({"authorization": f"Bearer {KEY}"}, {"x-api-key": KEY}, {"api-key": KEY, "x-copy": f"key {KEY}"}):
        headers["cookie"] = "id=session-cookie"
        for dialect, path in PATHS.items():
            for stream in (False, True):
                traced.upstream.reply("a private answer")
                await traced.ask(body(dialect, stream=stream), headers, path)
            traced.upstream.fail(400, "a private error")
            await traced.ask(body(dialect), headers, path)
    assert (await traced.ask(HELLO | {"model": "sk-in-the-wrong-place"}, {"x-api-key": KEY})).status == 404
    requests, attempts = traced.spans()
    assert (len(requests), len(attempts)) == (28, 27)
    shown = "".join(span.to_json() for span in (*requests, *attempts))
    assert "alice" in shown
    assert [secret for secret in secrets if secret in shown] == []


def test_a_share_of_the_traces_is_recorded_and_always_the_same() -> None:
    """One per cent means one per cent; the decision depends on the trace's id alone."""

    def recorded(percent: float) -> list[bool]:
        tracer = provider_for(percent, exporter=InMemorySpanExporter()).get_tracer("x")
        ids = range(0, 1 << 64, (1 << 64) // 10_000)
        return [
            tracer.start_span("x").is_recording()
            for generator.next_id in ids
            if setattr(tracer, "id_generator", generator) is None
        ]

    class Ids:
        next_id = 0

        def generate_span_id(self) -> int:
            return 1

        def generate_trace_id(self) -> int:
            return (1 << 127) + self.next_id

        def is_trace_id_random(self) -> bool:
            return True

    generator = Ids()
    one = recorded(1)
    assert abs(sum(one) - 100) <= 1
    assert recorded(1) == one
    assert sum(recorded(100)) == len(one)
    assert sum(recorded(0)) == 0


async def test_a_thousand_requests_at_one_per_cent() -> None:
    traced = Traced(percent=1)
    for _ in range(1000):
        await traced.ask(HELLO)
    requests, attempts = traced.spans()
    assert len(requests) == len(attempts)
    assert len(requests) < 40, "a hundredth of them, give or take: more than 40 of 1000 is a chance of 1 in 10**12"
    sampled = [int(recorded.headers["traceparent"][-2:], 16) & 1 for recorded in traced.upstream.requests]
    assert sum(sampled) == len(requests), "the upstream is told which are recorded"


@pytest.mark.parametrize(("flag", "count"), [("00", 0), ("01", 1)])
async def test_what_a_parent_decided_is_kept(flag: str, count: int) -> None:
    traced = Traced(percent=100 if flag == "00" else 1)
    await traced.ask(HELLO, {"traceparent": f"00-{'f' * 32}-b7ad6b7169203331-{flag}"})
    requests, _ = traced.spans()
    assert len(requests) == count


async def test_a_hosts_own_provider_gets_the_spans() -> None:
    provider, exporter = TracerProvider(shutdown_on_exit=False), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    gateway = Plano(config(), transport=FakeProvider(), tracer_provider=provider)
    await ask(gateway, "POST", PATHS["chat"], HELLO)
    await gateway.aclose()
    assert [span.name for span in exporter.get_finished_spans()] == ["chat gpt-4o", "POST /v1/chat/completions"]


class Receiver(trace_service_pb2_grpc.TraceServiceServicer):
    """A little collector."""

    def __init__(self, before: Callable[[], object] = lambda: None) -> None:
        self.before = before
        self.requests: list[trace_service_pb2.ExportTraceServiceRequest] = []

    def Export(self, request: Any, context: Any) -> Any:
        self.before()
        self.requests.append(request)
        return trace_service_pb2.ExportTraceServiceResponse()

    @property
    def names(self) -> list[str]:
        return [
            span.name
            for request in self.requests
            for resource in request.resource_spans
            for of_scope in resource.scope_spans
            for span in of_scope.spans
        ]


@contextmanager
def collecting(receiver: Receiver) -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(max_workers=2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(receiver, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


def gateway_to(endpoint: str, **more: Any) -> tuple[Plano, FakeProvider]:
    upstream = FakeProvider()
    tracing = {"random_sampling": 100, "opentracing_grpc_endpoint": endpoint, **more}
    return Plano(config(tracing=tracing), transport=upstream), upstream


async def test_spans_reach_a_collector_over_grpc() -> None:
    receiver = Receiver()
    with collecting(receiver) as endpoint:
        gateway, _ = gateway_to(endpoint, span_attributes={"static": {"team": "blue"}})
        assert (gateway.pipeline[0].name, gateway.pipeline[-1].name) == ("tracing", "attempt")
        assert (await ask(gateway, "POST", PATHS["chat"], HELLO)).status == 200
        await gateway.aclose()
    assert sorted(receiver.names) == ["POST /v1/chat/completions", "chat gpt-4o"]
    (resource,) = receiver.requests[0].resource_spans
    attributes = {pair.key: pair.value.string_value for pair in resource.resource.attributes}
    assert attributes["service.name"] == "plano"
    (span, _) = resource.scope_spans[0].spans
    assert {pair.key: pair.value.string_value for pair in span.attributes}["team"] == "blue"
    assert b"private" not in receiver.requests[0].SerializeToString()


async def test_a_collector_that_is_away_fails_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    gateway, upstream = gateway_to(f"http://127.0.0.1:{port}")
    for stream in (False, True):
        assert (await ask(gateway, "POST", PATHS["chat"], HELLO | {"stream": stream})).status == 200
    assert len(upstream.requests) == 2
    async with asyncio.timeout(20):
        await gateway.aclose()
    assert KEY not in caplog.text


async def test_a_collector_that_hangs_holds_up_no_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "2")
    hanging, go_on = threading.Event(), threading.Event()

    def hang() -> None:
        hanging.set()
        assert go_on.wait(20)

    receiver = Receiver(before=hang)
    with collecting(receiver) as endpoint:
        gateway, _ = gateway_to(endpoint)
        while not hanging.is_set():
            assert (await ask(gateway, "POST", PATHS["chat"], HELLO)).status == 200
        for _ in range(20):  # while the collector is busy with the first
            assert (await ask(gateway, "POST", PATHS["chat"], HELLO)).status == 200
        assert receiver.requests == []
        go_on.set()
        await gateway.aclose()
    assert len(receiver.names) >= 42


class Stuck(SpanExporter):
    """Takes nothing until it is told to."""

    def __init__(self) -> None:
        self.stuck, self.go_on = threading.Event(), threading.Event()
        self.count = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.stuck.set()
        assert self.go_on.wait(20)
        self.count += len(spans)
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        self.go_on.set()


async def test_what_waits_for_a_collector_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "10")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "5")
    exporter = Stuck()
    provider = provider_for(100, exporter=exporter)
    gateway = Plano(config(), transport=FakeProvider(), tracer_provider=provider)
    while not exporter.stuck.is_set():
        await ask(gateway, "POST", PATHS["chat"], HELLO)
    for _ in range(50):
        assert (await ask(gateway, "POST", PATHS["chat"], HELLO)).status == 200
    exporter.go_on.set()
    await gateway.aclose()
    assert 10 <= exporter.count <= 20


class Refusing(SpanExporter):
    def __init__(self) -> None:
        self.batches = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.batches += 1
        return SpanExportResult.FAILURE

    def shutdown(self) -> None:
        pass


async def test_ending_does_not_try_every_batch_on_a_collector_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "100")
    exporter = Refusing()
    provider = provider_for(100, exporter=exporter)
    gateway = Plano(config(), transport=FakeProvider(), tracer_provider=provider)
    for _ in range(49):
        await ask(gateway, "POST", PATHS["chat"], HELLO)
    assert exporter.batches == 0
    monkeypatch.undo()
    provider.deliver()
    assert exporter.batches == 1


class Told(InMemorySpanExporter):
    """Says when it was shut down."""

    def __init__(self) -> None:
        super().__init__()
        self.over = threading.Event()

    def shutdown(self) -> None:
        self.over.set()


def test_spans_are_sent_when_nobody_holds_the_provider_any_more() -> None:
    exporter = Told()
    provider: OwnProvider | None = provider_for(100, exporter=exporter)
    assert provider is not None
    provider.get_tracer("x").start_span("last").end()
    del provider
    assert exporter.over.wait(20)
    assert [span.name for span in exporter.get_finished_spans()] == ["last"]


def test_letting_go_of_a_provider_waits_for_no_collector() -> None:
    exporter = Stuck()
    provider: OwnProvider | None = provider_for(100, exporter=exporter)
    assert provider is not None
    provider.get_tracer("x").start_span("last").end()
    del provider
    assert exporter.stuck.wait(20), "it is being sent from somewhere else"
    assert exporter.count == 0
    exporter.go_on.set()


SCRIPT = """
import asyncio, sys
from plano import Plano
from plano.testing import FakeProvider
from tests.asgi import ask

config = {"model_providers": [{"model": "openai/gpt-4o"}], "tracing": {"opentracing_grpc_endpoint": sys.argv[1]}}
gateway = Plano(config, transport=FakeProvider())
body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}
print(asyncio.run(ask(gateway, "POST", "/v1/chat/completions", body)).status)
"""


def test_a_process_that_ends_sends_its_last_spans() -> None:
    receiver = Receiver()
    with collecting(receiver) as endpoint:
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, endpoint], cwd=ROOT, capture_output=True, text=True, timeout=60
        )
    assert (done.stdout, done.returncode) == ("200\n", 0), done.stderr
    assert sorted(receiver.names) == ["POST /v1/chat/completions", "chat gpt-4o"]


@pytest.mark.parametrize("said", [None, {"random_sampling": 0}])
def test_without_tracing_there_is_no_link_for_it(said: dict[str, Any] | None) -> None:
    gateway = Plano(config(tracing=said) if said is not None else config())
    assert {"tracing", "attempt"} & {link.name for link in gateway.pipeline} == set()


async def test_every_attribute_is_documented_and_no_other() -> None:
    page = (ROOT / "docs" / "observability.md").read_text(encoding="utf-8")
    table = page.split("| Attribute | On | Meaning |")[1].split("\n\n")[0]
    documented: dict[str, set[str]] = {"request": set(), "attempt": set()}
    for names, place in re.findall(r"^\| (`[^|]+) \| (\w+) \|", table, re.MULTILINE):
        for kind in documented:
            if place in ("both", kind):
                documented[kind] |= set(re.findall(r"`([^`]+)`", names))
    traced = Traced()
    everything = Usage(input_tokens=9, output_tokens=8, cached_tokens=3, cache_creation_tokens=2, reasoning_tokens=1)
    for usage in (everything, None):
        traced.upstream.reply("Hello", usage=usage)
        await traced.ask(body("messages", stream=True), path=PATHS["messages"])
        await traced.ask(body("responses"), path=PATHS["responses"])
    traced.upstream.fail(500)
    await traced.ask(HELLO)
    requests, attempts = traced.spans()
    seen = {
        kind: {name for span in spans for name in said(span)}
        for kind, spans in (("request", requests), ("attempt", attempts))
    }
    # An upstream of the messages dialect says what was written to a cache; of the chat dialect, what was reasoning.
    traced = Traced(config("anthropic/gpt-4o"))
    traced.upstream.reply("Hello", usage=everything)
    await traced.ask(HELLO)
    for kind, spans in zip(("request", "attempt"), traced.spans(), strict=True):
        seen[kind] |= {name for span in spans for name in said(span)}
    # An attempt that followed another one says why, and what was waited before it.
    traced = Traced(config(resilience={"max_attempts": 2}))
    traced.upstream.fails(1)
    traced.upstream.reply("Hello")
    await traced.ask(HELLO)
    for kind, spans in zip(("request", "attempt"), traced.spans(), strict=True):
        seen[kind] |= {name for span in spans for name in said(span)}
    assert seen == documented


@pytest.mark.parametrize("stream", [False, True])
async def test_attempts_say_why_they_were_made_and_what_was_waited(stream: bool) -> None:
    entries = [{"model": f"openai/{name}", "access_key": "k"} for name in ("one", "two")]
    aliases = {"gpt-4o": {"target": "one", "fallbacks": ["two"]}}
    traced = Traced({"model_providers": entries, "model_aliases": aliases, "resilience": {"max_attempts": 3}})
    traced.upstream.fail(500)
    await traced.ask(HELLO | {"stream": stream})
    (request,), attempts = traced.spans()
    assert [said(span).get("plano.attempt.because") for span in attempts] == [None, "server", "server"]
    waits = [said(span).get("plano.attempt.waited") for span in attempts]
    assert waits[:2] == [None, None], "another target is asked at once"
    assert 0 < waits[2] <= 0.25
    assert [said(span)["gen_ai.request.model"] for span in attempts] == ["one", "two", "one"]
    assert "plano.attempt.because" not in said(request)


async def test_the_slower_of_two_at_once_is_abandoned() -> None:
    traced = Traced(
        {
            "model_providers": [{"model": f"openai/{name}", "access_key": "k"} for name in ("slow", "fast")],
            "model_aliases": {"gpt-4o": {"target": "slow", "fallbacks": ["fast"]}},
            "resilience": {"hedge": {"after": "10ms"}},
        }
    )
    traced.upstream.script(lambda asked: Reply("Hello", delay=30.0 if asked.json["model"] == "slow" else 0.0))
    assert (await traced.ask(HELLO | {"stream": True})).status == 200
    _, attempts = traced.spans()
    ends = {said(span)["gen_ai.request.model"]: said(span).get("error.type") for span in attempts}
    assert ends == {"slow": "abandoned", "fast": None}


IN_A_HOST = """\
import asyncio, json, sys
from opentelemetry import trace

API_ONLY = sys.argv[1] == "api"
if API_ONLY:
    class Blocked:
        def find_spec(self, name, path=None, target=None):
            if name.startswith(("opentelemetry.sdk", "opentelemetry.exporter")):
                raise ModuleNotFoundError(name)

    sys.meta_path.insert(0, Blocked())

from plano import Plano
from plano.testing import FakeProvider
from tests.asgi import ask

async def main():
    upstream = FakeProvider()
    config = {"model_providers": [{"model": "openai/gpt-4o", "access_key": "k"}]}
    payload = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}
    path = "/v1/chat/completions"
    if API_ONLY:
        app = Plano(config, transport=upstream, tracer_provider=trace.NoOpTracerProvider())
        answer = await ask(app, "POST", path, payload)
        return print(json.dumps({"status": answer.status, "links": [link.name for link in app.pipeline]}))
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    trace.set_tracer_provider(provider)
    app = Plano(config, transport=upstream)
    with trace.get_tracer("host").start_as_current_span("the host's"):
        await ask(app, "POST", path, payload, {"traceparent": "00-%s-b7ad6b7169203331-01" % ("ab" * 16)})
    await app.aclose()
    ids = {span.name: [format(span.context.trace_id, "032x"), format(span.context.span_id, "016x"),
                       span.parent and format(span.parent.span_id, "016x")] for span in spans.get_finished_spans()}
    print(json.dumps({"upstream": upstream.requests[0].headers["traceparent"], "spans": ids}))

asyncio.run(main())
"""


def in_a_host(how: str) -> Any:
    """The output of a process with a host application, because the global provider can be set once in a process."""
    command = [sys.executable, "-c", IN_A_HOST, how]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_hosts_provider_needs_neither_the_sdk_nor_an_exporter() -> None:
    said = in_a_host("api")
    assert said["status"] == 200
    assert {"tracing", "attempt"} <= set(said["links"])


def test_a_hosts_global_provider_is_found_and_its_span_is_the_parent() -> None:
    found = in_a_host("global")
    spans = found["spans"]
    trace_id, host, _ = spans["the host's"]
    assert spans["POST /v1/chat/completions"][::2] == [trace_id, host]
    attempt = spans["chat gpt-4o"]
    assert attempt[::2] == [trace_id, spans["POST /v1/chat/completions"][1]]
    assert found["upstream"].startswith(f"00-{trace_id}-{attempt[1]}-")
