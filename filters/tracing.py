"""Traces: a span for each request and, below it, one for each attempt at an upstream.

It needs OpenTelemetry's API, and is imported only if tracing is on. Attributes follow OpenTelemetry's semantic
conventions for generative AI if those have a name. A span holds no credential, and nothing of a body but the model's
name, the reply's id and counts.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from functools import partial
from time import perf_counter
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from plano.attempt import NOT_ASKED, Attempt
from plano.credentials.headers import credential_of
from plano.credentials.masking import Mask
from plano.errors import PlanoError, UpstreamStatus
from plano.frames import sse
from plano.journal import Journal
from plano.observability.access import asked_model
from plano.observability.spans import LONGEST_VALUE
from plano.operations import OPERATIONS
from plano.pipeline import CallNext
from plano.provider import Target
from plano.request import Request
from plano.response import Response
from plano.types import Headers, RawHeaders
from plano.upstream.headers import mask_of
from plano.version import VERSION

_ATTEMPTS = "plano.tracing"
_CONTEXT_HEADERS = frozenset({b"traceparent", b"tracestate"})
_NEVER = frozenset(
    {b"authorization", b"proxy-authorization", b"x-api-key", b"api-key", b"cookie", b"x-goog-api-key", b"set-cookie"}
)
"""Headers that never become an attribute."""

_PROVIDERS = {
    "amazon_bedrock": "aws.bedrock",
    "azure_openai": "azure.ai.openai",
    "gemini": "gcp.gemini",
    "mistral": "mistral_ai",
    "moonshotai": "moonshot_ai",
    "xai": "x_ai",
}
"""The conventions' names of providers, where they differ from plano's."""

Attributes = dict[str, AttributeValue]


class _Attempt:
    """The span of an attempt at an upstream, kept until the request is over and the attempt's record is final."""

    __slots__ = ("ended", "finish", "made", "mask", "said", "span")

    def __init__(self, span: Span, mask: Mask) -> None:
        self.span = span
        self.mask = mask
        self.made: Attempt = NOT_ASKED
        self.ended: int | None = None
        self.said = _Said()
        self.finish: str | None = None


class Tracing:
    """Makes spans: as the outermost link for requests, and with `attempt` as the innermost link for attempts.

    A request with a `traceparent` continues that trace. If the host application has a span open, the request continues
    its trace. The upstream gets the attempt's context.

    Args:
        provider: makes the spans; see `plano.observability.otlp.provider_for`.
        header_prefixes: a request header that begins with one of them becomes an attribute. For example, with `x-acme-`
            the header `x-acme-tenant-id` becomes `tenant.id`.
        static: attributes of every span; a header of the same name takes precedence.
    """

    def __init__(
        self,
        provider: trace.TracerProvider,
        *,
        header_prefixes: Iterable[str] = (),
        static: Mapping[str, str] | None = None,
    ) -> None:
        self._provider = provider  # it ends when the last reference to it is gone
        self._tracer = provider.get_tracer("plano", VERSION)
        self._prefixes = tuple(prefix.lower().encode("latin-1", "replace") for prefix in header_prefixes if prefix)
        self._static = dict(static or {})
        self._context = TraceContextTextMapPropagator()

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        journal = request.journal
        path = OPERATIONS[request.operation].paths[request.journal.dialect]
        span = self._tracer.start_span(
            f"POST {path}",
            context=self._parent(request.headers),
            kind=SpanKind.SERVER,
            start_time=time.time_ns() - int((perf_counter() - journal.started) * 1e9),
        )
        if span.is_recording():
            span.set_attributes(self._chosen(request.headers) | _asked(request, path))
        journal.closers += (partial(_over, span),)
        with trace.use_span(span, record_exception=False, set_status_on_exception=False):
            return await call_next(request)

    async def attempt(self, request: Request, call_next: CallNext) -> Response:
        """The link right above the upstream, which makes the span of an attempt."""
        around = trace.get_current_span()
        # Below a span that is not recorded, no span is recorded.
        if around.get_span_context().is_valid and not around.is_recording():
            return await call_next(request.replace(headers=self._carrying(request.headers, around)))
        target = request.require_target()
        span = self._tracer.start_span(f"{OPERATIONS[request.operation].gen_ai} {target.model}", kind=SpanKind.CLIENT)
        request = request.replace(headers=self._carrying(request.headers, span))
        if not span.is_recording():
            return await call_next(request)
        attempts: list[_Attempt] = request.state.setdefault(_ATTEMPTS, [])
        attempt = _Attempt(span, mask_of(target, request.headers))
        attempts.append(attempt)
        span.set_attributes(self._chosen(request.headers) | _attempted(request, target, len(attempts)))
        before = len(request.journal.attempts)
        try:
            response = await call_next(request)
        except BaseException:
            attempt.ended = time.time_ns()
            raise
        finally:  # others may have begun meanwhile, and this one may have been refused before anything was sent
            attempt.made = next(iter(request.journal.attempts[before:]), NOT_ASKED)
        if response.pieces is None:
            _finish_body(attempt, response)
        else:
            response.on_close(partial(_finish_stream, attempt), owner="tracing")
        return response

    def deliver(self) -> None:
        """Sends the waiting spans if the provider is plano's own. Blocks for a few seconds at most."""
        deliver = getattr(self._provider, "deliver", None)  # the host's own has none, and ends with the host
        if deliver is not None:
            deliver()

    def _parent(self, headers: Headers) -> Context | None:
        """The context from the headers; None for the current context, in which the host may have a span."""
        if trace.get_current_span().get_span_context().is_valid:
            return None
        carrier = {name: value for name in ("traceparent", "tracestate") if (value := headers.get(name)) is not None}
        return self._context.extract(carrier) if carrier else None

    def _carrying(self, headers: Headers, span: Span) -> Headers:
        carrier: dict[str, str] = {}
        self._context.inject(carrier, trace.set_span_in_context(span))
        raw: RawHeaders = [header for header in headers.raw if header[0] not in _CONTEXT_HEADERS]
        raw += [(name.encode("latin-1"), value.encode("latin-1")) for name, value in carrier.items()]
        return Headers(raw)

    def _chosen(self, headers: Headers) -> Attributes:
        """The attributes that the configuration adds to every span."""
        chosen: Attributes = dict(self._static)
        if not self._prefixes:
            return chosen
        credential = (credential_of(headers) or "").encode("latin-1", "replace")
        for name, value in headers.raw:
            if name in _NEVER or (credential and credential in value):
                continue
            for prefix in self._prefixes:
                rest = name[len(prefix) :]
                if rest and name.startswith(prefix):
                    chosen[rest.decode("latin-1").replace("-", ".")] = value.decode("latin-1")[:LONGEST_VALUE]
                    break
        return chosen


def _asked(request: Request, path: str) -> Attributes:
    return {
        "gen_ai.operation.name": OPERATIONS[request.operation].gen_ai,
        "gen_ai.request.stream": request.stream,
        "http.request.method": "POST",
        "http.route": path,
        "plano.request_id": request.id,
        "plano.client_dialect": request.journal.dialect,
    }


def _attempted(request: Request, target: Target, number: int) -> Attributes:
    endpoint = target.endpoints.get((request.dialect, request.operation))
    url = urlsplit("" if endpoint is None else endpoint.url)
    attributes: Attributes = {
        "gen_ai.operation.name": OPERATIONS[request.operation].gen_ai,
        "gen_ai.request.model": target.model,
        "gen_ai.request.stream": request.stream,
        "plano.attempt": number,
        "plano.upstream_dialect": request.dialect,
        **_place(target),
    }
    if url.hostname is not None:
        attributes["server.address"] = url.hostname
        attributes["server.port"] = url.port or (80 if url.scheme == "http" else 443)
    return attributes


def _place(target: Target) -> Attributes:
    name = target.provider.name
    return {"gen_ai.provider.name": _PROVIDERS.get(name, name), "plano.provider": name, "plano.model": target.entry}


def _finish_body(attempt: _Attempt, response: Response) -> None:
    attempt.ended = time.time_ns()
    if not response.ok:
        return
    assert response.body is not None, "asked before"
    attempt.said = _read(response.body)
    try:
        reply = response.reply
    except PlanoError:  # the link that needs the reply raises it
        return
    attempt.finish = reply.finish if reply is not None else None


def _finish_stream(attempt: _Attempt) -> None:
    attempt.ended = time.time_ns()
    first = attempt.made.first
    if first is not None:
        attempt.said = next((said for frame in sse.frames(first) if (said := _read(frame.data)).model), _Said())
    attempt.finish = attempt.made.finish


def _over(span: Span, request: Request) -> None:
    """Ends the spans of a request that is over, when its journal is final."""
    if not span.is_recording():
        span.end()
        return
    journal = request.journal
    attempts: list[_Attempt] = request.state.get(_ATTEMPTS, [])
    for attempt in attempts:
        _end_attempt(attempt, journal)
    answered = next((attempt for attempt in attempts if attempt.made is journal.answer), None)
    span.set_attributes(_outcome(request, answered))
    if journal.outcome == "failed" or journal.status >= 500:
        span.set_status(Status(StatusCode.ERROR))
    span.end()


def _end_attempt(attempt: _Attempt, journal: Journal) -> None:
    span, made = attempt.span, attempt.made
    answered = made is journal.answer
    if made.status:
        span.set_attribute("http.response.status_code", made.status)
    if made.failure is not None:
        span.set_attribute("error.type", made.failure)
        span.set_status(Status(StatusCode.ERROR))
    elif answered and journal.outcome == "aborted":
        span.set_attribute("error.type", "aborted")
    elif made.abandoned:
        span.set_attribute("error.type", "abandoned")
    if made.because is not None:
        span.set_attribute("plano.attempt.because", made.because)
    if made.pause:
        span.set_attribute("plano.attempt.waited", made.pause)
    span.set_attributes(_answered(attempt) | _used(made))
    if made.first_piece is not None and made.sent is not None:
        span.set_attribute("gen_ai.response.time_to_first_chunk", made.first_piece - made.sent)
    span.end(attempt.ended)


def _outcome(request: Request, answered: _Attempt | None) -> Attributes:
    journal = request.journal
    lost = sum(loss.count for loss in journal.losses)
    attributes: Attributes = {"http.response.status_code": journal.status, "plano.losses": lost}
    attributes["plano.caller"] = journal.caller.name
    asked = asked_model(request.model, request.journal.target)
    if asked:
        attributes["gen_ai.request.model"] = asked
    attributes |= _used(journal.answer)
    if journal.target is not None:
        attributes |= _place(journal.target)
    if answered is not None:
        attributes |= _answered(answered)
        if journal.upstream_dialect is not None:
            attributes["plano.upstream_dialect"] = journal.upstream_dialect
    if journal.answer.first_token is not None:
        attributes["gen_ai.response.time_to_first_chunk"] = journal.answer.first_token - journal.started
    error = _error_type(journal)
    if error is not None:
        attributes["error.type"] = error
    return attributes


def _error_type(journal: Journal) -> str | None:
    if journal.outcome == "aborted":
        return "aborted"
    if journal.error is not None:
        # An upstream's own code can be anything, and plano's codes are few.
        code = None if isinstance(journal.error, UpstreamStatus) else journal.error.code
        return code or journal.error.kind
    if journal.status >= 400:
        return str(journal.status)
    return "upstream" if journal.outcome == "failed" else None


def _answered(attempt: _Attempt) -> Attributes:
    attributes: Attributes = {}
    if attempt.said.model:
        attributes["gen_ai.response.model"] = attempt.mask.out_of_text(attempt.said.model)
    if attempt.said.id:
        attributes["gen_ai.response.id"] = attempt.mask.out_of_text(attempt.said.id)
    if attempt.finish is not None:
        attributes["gen_ai.response.finish_reasons"] = [attempt.finish]
    return attributes


def _used(attempt: Attempt) -> Attributes:
    usage = attempt.said()
    if usage is None:
        return {}
    used: Attributes = {
        "gen_ai.usage.input_tokens": usage.input_tokens,
        "gen_ai.usage.output_tokens": usage.output_tokens,
    }
    for name, tokens in (
        ("gen_ai.usage.cache_read.input_tokens", usage.cached_tokens),
        ("gen_ai.usage.cache_creation.input_tokens", usage.cache_creation_tokens),
        ("gen_ai.usage.reasoning.output_tokens", usage.reasoning_tokens),
    ):
        if tokens:
            used[name] = tokens
    if usage.estimated:
        used["plano.usage_estimated"] = True
    return used


class _Inner(Struct, frozen=True):
    id: str | None = None
    model: str | None = None


class _Said(Struct, frozen=True):
    """The id and the model of a reply. A chat reply and its chunks have them at the top; the opening events of other
    streams have them one level below."""

    id: str | None = None
    model: str | None = None
    message: _Inner | None = None
    response: _Inner | None = None


_said = msgspec.json.Decoder(_Said)


def _read(data: bytes) -> _Said:
    try:
        said = _said.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _Said()
    inner = said.message or said.response
    return said if inner is None else _Said(id=inner.id, model=inner.model)
