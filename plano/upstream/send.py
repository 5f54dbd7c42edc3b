"""The last link: sends a request to its target and wraps its answer in a response."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from time import perf_counter

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from plano.attempt import Attempt
from plano.capabilities import Fields
from plano.credentials.masking import Mask
from plano.credentials.signer import Signer
from plano.dialects import CODECS, client_codec, reading
from plano.dialects.fields import NULL, OBJECT
from plano.dialects.look import looking_for
from plano.errors import (
    GatewayExhausted,
    PlanoError,
    UpstreamError,
    UpstreamFailure,
    UpstreamProtocolError,
    UpstreamRefusedKey,
)
from plano.frames import FRAMES
from plano.losses import Losses
from plano.operations import OPERATIONS, Endpoint
from plano.provider import Prepare, Target
from plano.request import Request
from plano.request_ids import told_id
from plano.response import Response
from plano.streams.relay import Relay
from plano.streams.stages import one
from plano.translation.translate import Translator, refuse_losses
from plano.transport import Exchange, Outgoing, Sender, Timeouts
from plano.types import CLIENT_DIALECTS, RawHeaders, UpstreamDialect, new_id
from plano.upstream.defaults import EntryFields, fields_of
from plano.upstream.failures import failure_of_reply, root_of
from plano.upstream.headers import (
    INERT,
    NOT_GUESSED,
    as_type,
    content_type_of,
    forwarded,
    mask_of,
    own_headers,
    readable,
    returned,
)
from plano.upstream.retry_after import retry_after_in
from plano.upstream.signing import Signers, sign

logger = logging.getLogger("plano")

LOG_EVERY = 10.0
"""The least seconds between two lines in the log about the failures of one entry."""

MAX_REPLY = 64 * 1024 * 1024
"""The most bytes of a reply that is not streamed. Replies with images come to some ten megabytes."""


MAX_ENDPOINTS = 1000
"""The most endpoints that are remembered. Targets come from the configuration, but callers name those of wildcards."""


_fields = msgspec.json.Decoder(Fields)
_encode = msgspec.json.Encoder().encode


class _ResolvedEndpoint(Struct, frozen=True):
    """The facts that all requests to one endpoint of a target share.

    Attributes:
        target: the target itself.
        endpoint: its URLs, and the form of its bodies.
        headers: the headers of every request; the client's own may replace them.
        signer: signs each request, or None if the key travels as a header.
        timeouts: the most seconds to wait.
        own: the fields that the entry adds to each body, or None.
        prepare: the provider's quirks, or None if there can be none.
        triggers: the words that the quirks look for, as they stand in a body; None if they look at every body.
        mask: keeps the gateway's credentials out of the answers.
    """

    target: Target
    endpoint: Endpoint
    headers: RawHeaders
    signer: Signer | None
    timeouts: Timeouts
    own: EntryFields | None
    prepare: Prepare | None
    triggers: tuple[bytes, ...] | None
    mask: Mask


class Upstream:
    """Sends a request to the target that its model's name resolved to.

    Args:
        sender_for: gives the transport of a target; called for each request.
        timeouts: seconds; `first_byte` and `idle` are the listener's `timeout`, and an entry's own takes their place.
        one_tenant: whether all callers are of one tenant. If not, an `idempotency-key` is made different for each
            tenant: two of them may choose the same one, and the provider, to which the gateway is one client, would
            answer one tenant with the other's reply.
    """

    def __init__(self, sender_for: Callable[[Target], Sender], timeouts: Timeouts, *, one_tenant: bool = False) -> None:
        self._sender_for = sender_for
        self._timeouts = timeouts
        self._one_tenant = one_tenant
        self._endpoints: dict[tuple[str, str, UpstreamDialect, str], _ResolvedEndpoint] = {}
        self._signers = Signers()
        self._quiet_until: dict[str, float] = {}

    async def __call__(self, request: Request) -> Response:
        """Ask the target.

        Raises:
            UpstreamError: the upstream gave no answer, or none that can be used. Its own errors come back as responses,
                except a refusal of the gateway's key.
            GatewayExhausted: the gateway had no resources left for a connection.
        """
        target, journal = request.target or request.require_target(), request.journal
        resolved = self._endpoints.get((target.place, target.name, request.dialect, request.operation))
        if resolved is None or resolved.target is not target:  # a filter may have made a target of its own
            resolved = self._resolve(request, target)
        mask = mask_of(target, request.headers) if target.passthrough_auth else resolved.mask
        constant, headers = resolved.headers, [(b"x-request-id", request.id.encode("latin-1"))]
        theirs = forwarded(request, target, self._one_tenant)
        if theirs:  # the client's headers replace the constant ones of the same name
            names = {name for name, _ in theirs}
            constant, headers = [], [*(each for each in constant if each[0] not in names), *theirs, *headers]
        endpoint, lost = resolved.endpoint, request.lost
        as_is = request.edited is None and request.raw_model == target.model and not endpoint.omits
        if as_is and resolved.prepare is None and resolved.own is None:
            body = request.raw
        else:
            losses = Losses()
            body = self._body(request, target, resolved, losses)
            if len(losses):
                lost = (*lost, *losses)
        url = endpoint.streamed if request.stream else endpoint.url
        outgoing = Outgoing(url=url, headers=headers, constant=constant, body=body, timeouts=resolved.timeouts)
        attempt = Attempt(target, request.dialect, lost, perf_counter())
        journal.begin(attempt)
        try:
            if resolved.signer is not None:
                await sign(outgoing, resolved.signer)
            return await self._answer(request, target, attempt, outgoing, mask)
        except UpstreamError as error:
            mask.out_of_error(error)
            error.sent = error.sent and attempt.answered is not None  # a signer may have failed before
            attempt.fail_with(error)
            self._log(target, error)
            raise
        except GatewayExhausted as error:  # the upstream is not to blame
            self._log(target, error)
            raise

    async def _answer(
        self, request: Request, target: Target, attempt: Attempt, outgoing: Outgoing, mask: Mask
    ) -> Response:
        before = perf_counter()
        try:
            exchange = await self._sender_for(target).send(outgoing)
        finally:
            attempt.answered = now = perf_counter()
            request.journal.waited += now - before
        attempt.status = exchange.status
        if exchange.status == 200 and not request.stream:
            for name, value in exchange.headers:
                if name == b"content-type" and value == b"application/json":  # nearly always
                    reply = exchange.whole(MAX_REPLY)
                    if reply is None:
                        return await self._reply(request, target, attempt, exchange, mask)
                    attempt.last_piece = now
                    reply = _expected(request, attempt, reply, mask)
                    headers = returned(exchange.headers, target, mask)
                    return Response(request, headers=headers, body=reply, attempt=attempt)
        return await self._response(request, target, attempt, exchange, mask)

    def _log(self, target: Target, error: PlanoError) -> None:
        """Log details that the client is not told, such as certificate, name or address, at most every `LOG_EVERY`."""
        now = perf_counter()
        if now < self._quiet_until.get(target.place, 0.0):
            return
        self._quiet_until[target.place] = now + LOG_EVERY
        cause = root_of(error)
        why = "" if cause is error else f" ({type(cause).__name__}: {cause})"
        logger.warning("%s: %s", target.place, f"{error.message}{why}")

    def _resolve(self, request: Request, target: Target) -> _ResolvedEndpoint:
        key = (target.place, target.name, request.dialect, request.operation)
        prepare, words = target.provider.preparation(request.dialect, target.model)
        triggers = None if words is None else tuple(b'"%b"' % word.encode() for word in words)
        prepare = prepare if OPERATIONS[request.operation].replies else None
        endpoint, headers = target.endpoints[key[2:]], own_headers(target, request.dialect)
        signer, mask = self._signers.signer_of(target), mask_of(target, request.headers)
        timeouts, patience = self._timeouts, target.timeout
        if patience is not None:
            timeouts = replace(timeouts, first_byte=patience, idle=patience)
        own = fields_of(target, request.dialect, request.operation)
        resolved = _ResolvedEndpoint(target, endpoint, headers, signer, timeouts, own, prepare, triggers, mask)
        if len(self._endpoints) >= MAX_ENDPOINTS:  # callers can make up any number of models under a wildcard
            del self._endpoints[next(iter(self._endpoints))]
        self._endpoints[key] = resolved
        return resolved

    def _body(self, request: Request, target: Target, resolved: _ResolvedEndpoint, losses: Losses) -> bytes:
        """The request's body with the upstream's own model id and the entry's fields in it, and the provider's quirks
        applied."""
        own, prepare, triggers = resolved.own, resolved.prepare, resolved.triggers
        in_place = request.edited is None and request.raw_model == target.model and not resolved.endpoint.omits
        raw = request.body
        if own is None and prepare is not None and triggers is not None and not any(map(raw.__contains__, triggers)):
            prepare = None
        if in_place and own is None and prepare is None:
            return raw
        fields = _fields.decode(raw)
        before = fields.copy()
        added = own.add_to(fields) if own is not None else ()
        if prepare is not None:
            prepare(request.dialect, target.model, fields, losses)
            if request.strict and any(loss.field not in added for loss in losses):
                refuse_losses(losses, request.dialect)
        if in_place and fields == before:
            return raw
        fields["model"] = Raw(_encode(target.model))
        for name in resolved.endpoint.omits:
            fields.pop(name, None)
        return _encode(fields)

    async def _response(
        self, request: Request, target: Target, attempt: Attempt, exchange: Exchange, mask: Mask
    ) -> Response:
        if exchange.status >= 400:
            return await self._error(request, target, attempt, exchange, mask)
        content_type = content_type_of(exchange.headers)
        if exchange.status >= 300 or not readable(content_type):
            await exchange.aclose()
            raise UpstreamProtocolError(
                f"The upstream answered {target.name} with status {exchange.status} and content type "
                f"`{content_type or 'none'}`, which is not a reply."
            )
        if "event-stream" in content_type or (request.stream and "json" not in content_type):
            return await self._stream(request, target, attempt, exchange, content_type, mask)
        response = await self._reply(request, target, attempt, exchange, mask)
        if not request.stream:
            return response
        assert response.body is not None, "it was read whole"
        stream = _translator(request).stream_of(response.body)
        headers = as_type(response.headers, b"text/event-stream")
        return Response(request, headers=headers, pieces=one(stream), attempt=attempt)

    async def _reply(
        self, request: Request, target: Target, attempt: Attempt, exchange: Exchange, mask: Mask
    ) -> Response:
        body = _expected(request, attempt, await self._read(request, attempt, exchange), mask)
        headers = [*returned(exchange.headers, target, mask), NOT_GUESSED]
        return Response(request, headers=headers, body=body, attempt=attempt)

    async def _stream(
        self, request: Request, target: Target, attempt: Attempt, exchange: Exchange, content_type: str, mask: Mask
    ) -> Response:
        headers = returned(exchange.headers, target, mask)
        frames = target.endpoints[request.dialect, request.operation].frames
        relay = Relay(request, aiter(exchange), attempt, mask, FRAMES[frames]())
        if not request.stream:
            request.journal.releases += (exchange.aclose,)
            body = _translator(request).reply_of(await _joined(relay))
            return Response(request, headers=as_type(headers, b"application/json"), body=body, attempt=attempt)
        if "event-stream" not in content_type:
            headers = as_type(headers, b"text/event-stream")
        return Response(request, headers=headers, pieces=relay, release=exchange.aclose, attempt=attempt)

    async def _read(self, request: Request, attempt: Attempt, exchange: Exchange) -> bytes:
        before = perf_counter()
        try:
            return await exchange.read(MAX_REPLY)
        except BaseException:
            await exchange.aclose()
            raise
        finally:
            attempt.last_piece = now = perf_counter()
            request.journal.waited += now - before

    async def _error(
        self, request: Request, target: Target, attempt: Attempt, exchange: Exchange, mask: Mask
    ) -> Response:
        body = mask.out_of(await self._read(request, attempt, exchange))
        if exchange.status >= 600:  # no HTTP server would pass it to the client
            raise UpstreamProtocolError(f"The upstream answered with {exchange.status}, which is not a status.")
        said = CODECS[request.dialect].read_error(exchange.status, body)
        failure = failure_of_reply(said, callers_key=target.passthrough_auth)
        wait = retry_after_in(exchange.headers, time.time())
        attempt.retry_after = said.retry_after if wait is None else wait
        ours = exchange.status in (401, 403) and not target.passthrough_auth and failure not in _OF_THE_REQUEST
        if ours or failure == "credential":
            raise _refusal(target, exchange.status, failure) from said
        attempt.fail(failure)
        headers = [*returned(exchange.headers, target, mask), *INERT]
        if request.dialect in CLIENT_DIALECTS and reading.maybe(OBJECT, body) is None:
            body = client_codec(request.dialect).write_error(said, request_id=told_id(request, headers))
            headers = as_type(headers, b"application/json")
        return Response(request, status=exchange.status, headers=headers, body=body, attempt=attempt)


_OF_THE_REQUEST = frozenset({"content_filter", "context_window"})
"""The failures that some providers tell by a 403 and that are not about the gateway's key or account."""


def _refusal(target: Target, status: int, failure: UpstreamFailure) -> UpstreamRefusedKey:
    error = UpstreamRefusedKey(
        f"The provider `{target.provider.name}` refused the gateway's credential for {target.name} "
        f"(status {status}). Fix the gateway's configuration; your request is fine."
    )
    error.failure = "credential" if failure == "invalid" else failure
    return error


def _expected(request: Request, attempt: Attempt, body: bytes, mask: Mask) -> bytes:
    """The body of a 200, masked if it holds an error beside the reply or in one of several choices.

    Raises:
        UpstreamError: the body is the upstream's error.
        UpstreamProtocolError: the body is neither a reply nor an error.
    """
    codec, field = CODECS[request.dialect], OPERATIONS[request.operation].reply_has
    look = codec.look(body) if field is None else looking_for(field)(body)
    attempt.usage_said = look.usage  # found on the way, so that it need not be searched for again
    if look.found == NULL:
        if b'"error"' in body:
            raise _misplaced(codec.read_error(502, body))
        raise UpstreamProtocolError(f"The upstream's reply is not one of the {request.dialect} API.")
    fault = look.fault(body)
    if fault == "silent":
        raise UpstreamProtocolError(reading.SILENT)
    if fault is not None:
        attempt.fail("broken_stream")
    return mask.out_of(body) if look.may_say_error(body) else body


def _misplaced(error: PlanoError) -> PlanoError:
    """An error that came with a 200. Its status says nothing, so that without words that are known it is a reply of
    another form."""
    if isinstance(error, UpstreamError) and error.failure is None:
        error.failure = "protocol"
    return error


def _translator(request: Request) -> Translator:
    """The translator for a reply that came as a stream though a body was asked for, or the other way round."""
    dialect = request.dialect
    if dialect not in CLIENT_DIALECTS:  # such an API has two endpoints, and each answers in one form
        raise UpstreamProtocolError("The upstream's reply is streamed where it should not be, or the other way round.")
    return Translator(dialect, dialect, request.conversation, fallback_id=new_id(), now=int(time.time()))


async def _joined(relay: Relay) -> bytes:
    """A stream read as a whole reply. Raises UpstreamProtocolError if it is longer than `MAX_REPLY`."""
    pieces: list[bytes] = []
    size = 0
    async for piece in relay:
        size += len(piece)
        if size > MAX_REPLY:
            raise UpstreamProtocolError(f"The upstream's reply is longer than {MAX_REPLY} bytes.")
        pieces.append(piece)
    return b"".join(pieces)
