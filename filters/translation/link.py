"""Translates between the dialects of client and upstream: every field is carried, reported as dropped, or refused."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Awaitable, Callable
from functools import partial

import msgspec
from msgspec.structs import replace

from plano.capabilities import Fields
from plano.dialects import CLIENT_CODECS, CODECS, COMMON
from plano.dialects.codec import Renaming
from plano.dialects.counts import count_reply
from plano.dialects.deferred_tools import without_deferred
from plano.dialects.responses.compaction import is_triggered
from plano.errors import UnsupportedConversion, UpstreamError
from plano.filters.translation import compaction
from plano.filters.translation.stream import TranslatedStream
from plano.operations import COMPACT, OPERATIONS
from plano.pipeline import CallNext
from plano.provider import Target
from plano.request import Request
from plano.request_ids import told_id
from plano.response import Pieces, Response
from plano.streams.relay import Relay
from plano.translation.estimate import estimate_tokens
from plano.translation.translate import Translator, translate_request
from plano.types import CLIENT_DIALECTS, Dialect, UpstreamDialect, new_id
from plano.upstream.defaults import limit_of

logger = logging.getLogger("plano")

_fields = msgspec.json.Decoder(Fields)

_ABOUT_CONTENT = re.compile(rb"(?i)model|deployment|previous_?response|response with id|item with id")


class Translation:
    """Translates a request into a dialect that its target speaks, and the reply back into the client's.

    A target that speaks the client's dialect gets the bytes unchanged, unless the client hands back values that plano
    made for it, and its reply is the client's as it is. Otherwise the conversation is written anew. Fields that the
    target's API cannot say are named in the `x-plano-dropped` response header, or, in a strict request, refused.

    A server that turns out to lack an API which is only assumed of it (`Target.assumed`) is asked again over chat, and
    only over chat from then on.

    Raises:
        UnsupportedConversion: 400, before anything is sent.
    """

    def __init__(self) -> None:
        self._lacking: set[tuple[str, Dialect]] = set()

    def __call__(self, request: Request, call_next: CallNext) -> Awaitable[Response]:
        target = request.require_target()
        if not OPERATIONS[request.operation].replies:
            return _beside(request, target, call_next)
        dialect, anew = _way(request, target)
        if dialect in target.assumed:
            return self._perhaps(request, target, dialect, anew, call_next)
        if dialect != request.dialect:
            return _translated(request, target, dialect, call_next)
        return _native(_outgoing(request, target, dialect) if anew else request, target, call_next)

    async def _perhaps(
        self, request: Request, target: Target, dialect: UpstreamDialect, anew: bool, call_next: CallNext
    ) -> Response:
        """Asks over a dialect that the target may lack, and if it does, over chat."""
        if (target.server, dialect) in self._lacking:
            return await _translated(request, target, COMMON, call_next)
        outgoing = _outgoing(request, target, dialect) if anew else request
        native = dialect == request.dialect
        response = await (_native(outgoing, target, call_next) if native else call_next(outgoing))
        if not lacks_path(response.status, response.body):
            return response if native else _incoming(request, target, response)
        await response.aclose()
        again = await _translated(request, target, COMMON, call_next)
        # With a 404 here too, its URL is wrong, and nothing is known of its APIs.
        if again.status not in (404, 405) and (target.server, dialect) not in self._lacking:
            self._lacking.add((target.server, dialect))  # as many as there are entries with their hosts
            logger.warning(
                "%s: its server has no %s API, so it is asked over chat; say so with `apis: [chat]`",
                target.server,
                dialect,
            )
        return again


def lacks_path(status: int, body: bytes | None) -> bool:
    """Whether an error says that the server has nothing at this path.

    A 404 may also be about the model, or about an earlier response that the request refers to; then it is a JSON object
    that names them. A missing path has the text of a web server (`404 page not found`, `{"detail": "Not Found"}`) or
    names the URL.
    """
    if status != 404 or body is None:
        return status == 405
    return not body.lstrip().startswith(b"{") or _ABOUT_CONTENT.search(body) is None


def _way(request: Request, target: Target) -> tuple[UpstreamDialect, bool]:
    """The dialect that the target is asked over, and whether the request has to be written anew for it."""
    dialect = target.dialect_for(request.dialect)
    if dialect != request.dialect or CLIENT_CODECS[request.journal.dialect].hands_back(request.raw):
        return dialect, True
    takes = target.takes.get(dialect)
    over = None if takes is None else takes.sends_tools_over(request.body)
    return (over, True) if over is not None and over in target.dialects else (dialect, False)


def _native(request: Request, target: Target, call_next: CallNext) -> Awaitable[Response]:
    """Asks an upstream of the client's own dialect."""
    renaming = CLIENT_CODECS[request.journal.dialect].renaming
    return call_next(request) if renaming is None else _forwarded(request, target, renaming, call_next)


async def _forwarded(request: Request, target: Target, renaming: Renaming, call_next: CallNext) -> Response:
    """The reply of an upstream of the client's own dialect, with the model's name that the client asked for."""
    response = await call_next(request)
    if not response.ok:
        return response
    name, pieces = _asked_name(request, target), response.pieces
    if pieces is None:
        assert response.body is not None, "a response has either a body or pieces"
        response.body = renaming.reply(name, response.body)
    elif isinstance(pieces, Relay):
        pieces.opening = partial(renaming.opening, name)
    else:
        response.pieces = _opened(pieces, partial(renaming.opening, name))
    return response


async def _opened(pieces: Pieces, opening: Callable[[bytes], bytes | None]) -> Pieces:
    opened: bytes | None = None
    async for piece in pieces:
        if opened is None:
            opened = opening(piece)
            yield opened or piece
        else:
            yield piece


def _asked_name(request: Request, target: Target) -> str:
    return request.journal.asked or target.name


async def _translated(request: Request, target: Target, dialect: UpstreamDialect, call_next: CallNext) -> Response:
    if dialect != request.dialect and is_triggered(request.conversation):
        return await compaction.replied(
            request, partial(_translated, target=target, dialect=dialect, call_next=call_next)
        )
    outgoing = _outgoing(request, target, dialect)
    return _incoming(request, target, await call_next(outgoing))


async def _beside(request: Request, target: Target, call_next: CallNext) -> Response:
    """Forwards a request for another operation than a reply, if the target has that. Else the target's model compacts a
    conversation, and tokens are estimated."""
    operation, client = OPERATIONS[request.operation], request.journal.dialect
    if (request.dialect, request.operation) in target.endpoints:
        onward = _without_ours(request) if operation.converses else request
        response = await call_next(compaction.passed_on(onward) if request.operation == COMPACT else onward)
        if not (client in operation.often_missing and response.status in (404, 405)):
            return response
        await response.aclose()
    if operation.estimated:
        count = msgspec.json.encode(count_reply(estimate_tokens(without_deferred(request.conversation)), client))
        headers = [(b"content-type", b"application/json"), (b"x-plano-estimated", b"true")]
        return Response(request, headers=headers, body=count)
    if request.operation == COMPACT:
        dialect = target.dialect_for(request.dialect)
        return await compaction.written(
            request, partial(_translated, target=target, dialect=dialect, call_next=call_next)
        )
    raise UnsupportedConversion(f"The provider of {target.name} has no {request.operation} API.", param="model")


def _without_ours(request: Request) -> Request:
    """The request without the values that plano made for its client. It has no field that the client's has not."""
    client = request.journal.dialect
    if not CLIENT_CODECS[client].hands_back(request.body):
        return request
    body, losses = translate_request(request.conversation, client, strict=request.strict)
    said, written = _fields.decode(request.body), _fields.decode(body)
    raw = msgspec.json.encode({name: value for name, value in written.items() if name in said})
    return request.replace(raw=raw, raw_model=request.model, lost=(*request.lost, *losses))


def _outgoing(request: Request, target: Target, dialect: UpstreamDialect) -> Request:
    conversation = replace(request.conversation, model=target.model)
    if CODECS[dialect].conventions.needs_limit:  # it is needed before the body is written: thinking happens within it
        conversation = replace(conversation, max_tokens=limit_of(target, conversation.max_tokens))
    body, losses = translate_request(
        conversation,
        dialect,
        strict=request.strict,
        most_tokens=target.max_tokens,
        takes=target.takes.get(dialect),
    )
    return request.replace(dialect=dialect, raw=body, raw_model=target.model, lost=(*request.lost, *losses))


def _incoming(request: Request, target: Target, response: Response) -> Response:
    """The reply in the client's dialect."""
    client = request.dialect
    assert client in CLIENT_DIALECTS, "a request is a client's until it is translated"
    codec, name = CLIENT_CODECS[client], _asked_name(request, target)
    translator = Translator(response.dialect, client, request.conversation, fallback_id=new_id(), now=int(time.time()))
    if response.pieces is not None:
        opening = None if codec.renaming is None else partial(codec.renaming.opening, name)
        return response.translated(request).through(
            TranslatedStream(translator, request.journal, response.attempt, opening)
        )
    body = response.body or b""
    if not response.ok:
        # An error of plano's own is written anew, because not every dialect can say all of it.
        error = response.error or CODECS[response.dialect].read_error(response.status, body)
        said = codec.write_error(error, request_id=told_id(request, response.headers))
        failed = response.translated(request, body=said)
        failed.set_header(b"content-type", b"application/json")
        return failed
    try:
        body = translator.reply(body)
    except UpstreamError as error:
        if response.attempt is not None:
            response.attempt.fail_with(error)
        raise
    if codec.renaming is not None:
        body = codec.renaming.reply(name, body)
    if response.attempt is not None:
        response.attempt.lose(tuple(translator.losses))
    translated = response.translated(request, body=body)
    translated.set_header(b"content-type", b"application/json")  # in place of the upstream's own content type
    return translated
