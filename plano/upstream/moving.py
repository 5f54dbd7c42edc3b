"""Keeps the seals of reasoning with the server that made them, where a name has several targets.

Strategy: seals in a client's history that have no mark are those of the name's first target, which most replies come
from, so that its replies are forwarded as they are. A reply of any other server has the server's mark in front of each
seal (`marked`). Before an attempt, the marks of its server are taken off, and what another server made is left out and
reported (`moved`). A server is an entry with its host: the keys of a pool count as one account.

A history that the client had before the name had several targets, or from elsewhere, counts as the first target's.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from urllib.parse import urlsplit

from plano.dialects import client_codec
from plano.dialects.signatures import holds_maker, maker_mark
from plano.errors import UpstreamError
from plano.losses import Losses
from plano.operations import operation_of
from plano.provider import Target
from plano.request import Request
from plano.response import Response
from plano.translation.foreign import Foreign, seals_in
from plano.translation.translate import refuse_losses, translate_request

_NOTHING: tuple[bytes, ...] = ()

_WORDS = (
    b'signature"',  # also `thought_signature`
    b'"redacted_thinking"',
    b'"encrypted_content"',
    b'"reasoning_details"',
    b'"previous_response_id"',
    b'"conversation"',
    b'"prompt"',
    b'"file_id"',
    b'"id"',  # of items of the responses API
    b"plano-seal",
)
"""The words of which at least one stands in each body that another server might refuse."""


def moved(request: Request, target: Target) -> Request:
    """The request as a target can take it; the same one if nothing has to change.

    Args:
        request: the client's request, with all of its candidates.
        target: the candidate that is about to be asked.

    Raises:
        UnsupportedConversion: part of the request is stored with another vendor, or the request is strict and
            something of it has to be left out.
    """
    first = _first(request, target)
    another = first is not target and first.server != target.server
    made = request.edited is None and holds_maker(request.raw)
    if not (another or made) or not operation_of(request.operation).converses:
        return request
    if not made:
        return _without_foreign(request, first, target, request) if _may_be_foreign(request) else request
    raw = request.raw.replace(maker_mark(target.server), b"")
    bare = request.replace(raw=raw, raw_model=request.raw_model)
    return _without_foreign(bare, first, target, request) if another or holds_maker(raw) else bare


def marked(request: Request, response: Response, target: Target) -> Response:
    """The target's response, in which each seal tells its server, if that is not the first one of the name."""
    first = _first(request, target)
    if first is target or first.server == target.server or not response.ok:
        return response
    mark = maker_mark(target.server)
    if response.pieces is not None:
        return response.through(_Marking(request, mark))
    body = client_codec(request.dialect).mark_seals(response.body or b"", mark)
    return response if body is response.body else response.with_body(body)


class _Marking:
    """A stage that marks the seals in a stream."""

    def __init__(self, request: Request, mark: bytes) -> None:
        self._mark_seals = client_codec(request.dialect).mark_seals
        self._mark = mark

    def feed(self, piece: bytes) -> bytes:
        return self._mark_seals(piece, self._mark)

    async def finish(self) -> AsyncGenerator[bytes, None]:
        for piece in _NOTHING:
            yield piece

    def fail(self, error: UpstreamError) -> bytes | None:
        return None


def _first(request: Request, target: Target) -> Target:
    return target if request.candidates is None else request.candidates.first


def _may_be_foreign(request: Request) -> bool:
    return request.edited is not None or any(request.raw.find(word) >= 0 for word in _WORDS)


def _without_foreign(request: Request, first: Target, target: Target, marked: Request) -> Request:
    """The request without what another server made. In `marked`, it has the marks of the target's own seals."""
    losses, another = Losses(), first.server != target.server
    seals = frozenset(seals_in(marked.conversation)) if another else frozenset[str]()
    foreign = Foreign(losses, seals, another=another, elsewhere=_host(first) != _host(target))
    conversation = foreign.taken_out_of(request.conversation)
    if conversation == request.conversation and not holds_maker(request.body):
        return request
    if len(losses) and request.strict:
        refuse_losses(losses, request.dialect)
    if request.dialect not in target.dialects:
        return request.replace(conversation=conversation, lost=(*request.lost, *losses))
    body, more = translate_request(
        conversation, request.dialect, strict=request.strict, takes=target.takes.get(request.dialect)
    )
    said = {loss.field for loss in losses}
    lost = (*request.lost, *losses, *(loss for loss in more if loss.field not in said))
    return request.replace(raw=body, raw_model=request.model, lost=lost)


def _host(target: Target) -> str:
    return next((urlsplit(endpoint.url).netloc for endpoint in target.endpoints.values()), "")
