"""The last link: sends a request to its target and wraps what comes back."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from time import perf_counter

import msgspec
from msgspec import Raw, Struct

from plano.attempt import Attempt
from plano.capabilities import Fields
from plano.credentials.masking import Mask
from plano.credentials.signer import Signer
from plano.dialects import CODECS
from plano.dialects.fields import NULL
from plano.dialects.look import looking_for
from plano.errors import (
    GatewayExhausted,
    PlanoError,
    UpstreamError,
    UpstreamProtocolError,
    UpstreamRefusedKey,
)
from plano.frames import FRAMES
from plano.losses import Losses
from plano.operations import OPERATIONS, Endpoint
from plano.provider import Prepare, Target
from plano.request import Request
from plano.response import Response
from plano.streams.relay import Relay
from plano.streams.stages import one
from plano.translation.translate import Translator, refuse_losses
from plano.transport import Exchange, Outgoing, Sender, Timeouts
from plano.types import CLIENT_DIALECTS, RawHeaders, UpstreamDialect, new_id
from plano.upstream.failures import failure_of, failure_of_status, root_of
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
from plano.upstream.signing import Signers, sign

logger = logging.getLogger("plano")

LOG_EVERY = 10.0
"""Seconds between two lines of the log about what is wrong with one entry."""

MAX_REPLY = 64 * 1024 * 1024
"""Bytes of a reply that is not streamed. Replies with images come to some ten megabytes."""


MOST_WAYS = 1000
"""Endpoints of targets that are remembered. Targets come from the configuration, or under wildcards from callers."""


_fields = msgspec.json.Decoder(Fields)
_encode = msgspec.json.Encoder().encode


class _Way(Struct, frozen=True):
    """What is the same for all requests to one endpoint of a target.

    Attributes:
        target: the target itself.
        endpoint: where and how it is asked.
        headers: unless the client's own take their place.
        signer: signs each request, where a key does not travel as it is.
        prepare: the provider's quirks, if there can be any.
        heeded: what the provider's quirks look for, as it stands in a body; None if they look at every body.
        mask: keeps the gateway's credentials there out of what comes back.
    """

    target: Target
    endpoint: Endpoint
    headers: RawHeaders
    signer: Signer | None
    prepare: Prepare | None
    heeded: tuple[bytes, ...] | None
    mask: Mask


class Upstream:
    """Sends to whatever target a request resolved to.

    Args:
        sender_for: the transport of a target; asked for each request.
        timeouts: seconds; `first_byte` and `idle` are the listener's `timeout`.
        one_tenant: whether all callers are of one tenant. Others choose their `idempotency-key` without knowing of each
            other, while a provider knows one client, the gateway, and may answer one of them with another's reply.
    """

    def __init__(self, sender_for: Callable[[Target], Sender], timeouts: Timeouts, *, one_tenant: bool = False) -> None:
        self._sender_for = sender_for
        self._timeouts = timeouts
        self._one_tenant = one_tenant
        self._ways: dict[tuple[str, str, UpstreamDialect, str], _Way] = {}
        self._signers = Signers()
        self._quiet_until: dict[str, float] = {}

    async def __call__(self, request: Request) -> Response:
        """Ask the target.

        Raises:
            UpstreamError: no answer was had, or none that can be used. The upstream's own errors come back
                as responses, except that its key was refused.
            GatewayExhausted: no connection could be made, and not because of the upstream.
        """
        target, journal = request.target or request.require_target(), request.journal
        way = self._ways.get((target.entry, target.name, request.dialect, request.operation))
        if way is None or way.target is not target:  # a filter may have made a target of its own
            way = self._find_way(request, target)
        mask = mask_of(target, request.headers) if target.passthrough_auth else way.mask
        constant, headers = way.headers, [(b"x-request-id", request.id.encode("latin-1"))]
        theirs = forwarded(request, target, self._one_tenant)
        if theirs:  # what the client says takes the place of what would be said anyway
            said = {name for name, _ in theirs}
            constant, headers = [], [*(each for each in constant if each[0] not in said), *theirs, *headers]
        endpoint, lost = way.endpoint, request.lost
        as_is = request.edited is None and request.raw_model == target.model and not endpoint.omits
        if as_is and way.prepare is None:
            body = request.raw
        else:
            losses = Losses()
            body = self._body(request, target, way, losses)
            if len(losses):
                lost = (*lost, *losses)
        url = endpoint.streamed if request.stream else endpoint.url
        outgoing = Outgoing(url=url, headers=headers, constant=constant, body=body, timeouts=self._timeouts)
        attempt = Attempt(target, request.dialect, lost, perf_counter())
        journal.begin(attempt)
        try:
            if way.signer is not None:
                await sign(outgoing, way.signer)
            return await self._answer(request, target, attempt, outgoing, mask)
        except UpstreamError as error:
            mask.out_of_error(error)
            attempt.fail(failure_of(error))
            self._log(target, error)
            raise
        except GatewayExhausted as error:  # nobody's failure but our own
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
                if name == b"content-type" and value == b"application/json":  # as nearly all replies are
                    reply = exchange.whole(MAX_REPLY)
                    if reply is None:
                        return await self._reply(request, attempt, exchange, mask)
                    attempt.last_piece = now
                    reply = _expected(request, attempt, reply, mask)
                    return Response(request, headers=returned(exchange.headers, mask), body=reply, attempt=attempt)
        return await self._response(request, target, attempt, exchange, mask)

    def _log(self, target: Target, error: PlanoError) -> None:
        """Say, once in a while for each entry, what the client is not told: which certificate, name or address."""
        now = perf_counter()
        if now < self._quiet_until.get(target.entry, 0.0):
            return
        self._quiet_until[target.entry] = now + LOG_EVERY
        cause = root_of(error)
        why = "" if cause is error else f" ({type(cause).__name__}: {cause})"
        logger.warning("%s: %s", target.entry, f"{error.message}{why}")

    def _find_way(self, request: Request, target: Target) -> _Way:
        key = (target.entry, target.name, request.dialect, request.operation)
        prepare, words = target.provider.preparation(request.dialect, target.model)
        heeded = None if words is None else tuple(b'"%b"' % word.encode() for word in words)
        prepare = prepare if OPERATIONS[request.operation].replies else None
        endpoint, headers = target.endpoints[key[2:]], own_headers(target, request.dialect)
        signer, mask = self._signers.signer_of(target), mask_of(target, request.headers)
        way = _Way(target, endpoint, headers, signer, prepare, heeded, mask)
        if len(self._ways) >= MOST_WAYS:  # models under a wildcard are as many as callers make up
            del self._ways[next(iter(self._ways))]
        self._ways[key] = way
        return way

    def _body(self, request: Request, target: Target, way: _Way, losses: Losses) -> bytes:
        """The request's body with the upstream's own model id in it, and the provider's quirks applied."""
        prepare = way.prepare
        in_place = request.edited is None and request.raw_model == target.model and not way.endpoint.omits
        raw = request.body
        if prepare is not None and way.heeded is not None and not any(map(raw.__contains__, way.heeded)):
            prepare = None
        if in_place and prepare is None:
            return raw
        fields = _fields.decode(raw)
        if prepare is not None:
            before = fields.copy()
            prepare(request.dialect, target.model, fields, losses)
            if len(losses) and request.strict:
                refuse_losses(losses, request.dialect)
            if in_place and fields == before:
                return raw
        fields["model"] = Raw(_encode(target.model))
        for name in way.endpoint.omits:
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
        response = await self._reply(request, attempt, exchange, mask)
        if not request.stream:
            return response
        assert response.body is not None, "it was read whole"
        stream = _translator(request).stream_of(response.body)
        headers = as_type(response.headers, b"text/event-stream")
        return Response(request, headers=headers, pieces=one(stream), attempt=attempt)

    async def _reply(self, request: Request, attempt: Attempt, exchange: Exchange, mask: Mask) -> Response:
        body = _expected(request, attempt, await self._read(request, attempt, exchange), mask)
        headers = [*returned(exchange.headers, mask), NOT_GUESSED]
        return Response(request, headers=headers, body=body, attempt=attempt)

    async def _stream(
        self, request: Request, target: Target, attempt: Attempt, exchange: Exchange, content_type: str, mask: Mask
    ) -> Response:
        headers = returned(exchange.headers, mask)
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
        body = await self._read(request, attempt, exchange)
        if exchange.status in (401, 403) and not target.passthrough_auth:
            said = CODECS[request.dialect].read_error(exchange.status, body)
            raise UpstreamRefusedKey(
                f"The provider `{target.provider.name}` refused the gateway's credential for {target.name} "
                f"(status {exchange.status}). Fix the gateway's configuration; your request is fine."
            ) from said
        if exchange.status >= 600:  # no HTTP server would send it on
            raise UpstreamProtocolError(f"The upstream answered with {exchange.status}, which is not a status.")
        attempt.fail(failure_of_status(exchange.status))
        headers = [*returned(exchange.headers, mask), *INERT]
        body = mask.out_of(body)
        return Response(request, status=exchange.status, headers=headers, body=body, attempt=attempt)


def _expected(request: Request, attempt: Attempt, body: bytes, mask: Mask) -> bytes:
    """The body of a 200. Raises for one that is no reply: the upstream's error where it says one, UpstreamProtocolError
    else. One with an error beside the reply, or in one of several choices, is masked."""
    codec, field = CODECS[request.dialect], OPERATIONS[request.operation].reply_has
    look = codec.look(body) if field is None else looking_for(field)(body)
    attempt.usage_said = look.usage  # found on the way, so that nobody has to search for it again
    if look.found == NULL:
        if b'"error"' in body:
            raise codec.read_error(502, body)
        raise UpstreamProtocolError(f"The upstream's reply is not one of the {request.dialect} API.")
    return mask.out_of(body) if look.may_say_error(body) else body


def _translator(request: Request) -> Translator:
    """For a reply that came streamed and should not, or the other way round."""
    dialect = request.dialect
    if dialect not in CLIENT_DIALECTS:  # the ways to ask such an API are two endpoints, and each answers in one form
        raise UpstreamProtocolError("The upstream's reply is streamed where it should not be, or the other way round.")
    return Translator(dialect, dialect, request.conversation, fallback_id=new_id(), now=int(time.time()))


async def _joined(relay: Relay) -> bytes:
    """A stream that is read as a reply, and may be no longer than one."""
    pieces: list[bytes] = []
    size = 0
    async for piece in relay:
        size += len(piece)
        if size > MAX_REPLY:
            raise UpstreamProtocolError(f"The upstream's reply is longer than {MAX_REPLY} bytes.")
        pieces.append(piece)
    return b"".join(pieces)
