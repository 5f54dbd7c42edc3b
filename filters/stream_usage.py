"""Asks upstreams for the usage of streamed chat completions, which they report only on request."""

from __future__ import annotations

import re

import msgspec
from msgspec import Raw

from plano.dialects import names, reading
from plano.frames import sse
from plano.pipeline import CallNext
from plano.request import Request
from plano.response import Pieces, Response

_FIELDS = msgspec.json.Decoder(dict[str, Raw])
_NULL = Raw(b"null")
_TRUE = Raw(b"true")
_OPTIONS = frozenset({"include_usage"})
_NO_CHOICES = re.compile(rb'"choices"\s*:\s*\[\s*\]')


class StreamUsage:
    """Asks the upstream for usage (`stream_options.include_usage`) for clients that did not ask, and removes the extra
    chunk from their streams. Source: OpenAI API reference, "Create chat completion", `stream_options`.

    Requests in other dialects pass unchanged, because those APIs always report usage.

    Raises:
        InvalidRequest: `stream_options` has a field name that two JSON readers could understand differently.
    """

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        asking = _asking(request)
        if asking is None:
            return await call_next(request)
        response = await call_next(request.replace(raw=asking, raw_model=request.raw_model))
        if response.pieces is None or not response.ok:
            return response
        return response.with_pieces(_without_usage(response.pieces))


def _asking(request: Request) -> bytes | None:
    """The body with the option set; None if it is set already or cannot be set."""
    if not request.stream or request.dialect != "chat" or request.operation != "create":
        return None
    try:
        fields = _FIELDS.decode(request.body)
    except reading.UNREADABLE:
        return None  # a later link or the upstream refuses the body with a better message
    said = fields.get("stream_options", _NULL)
    if said != _NULL and bytes(said)[:1] != b"{":
        return None
    options = {} if said == _NULL else names.read(said, _OPTIONS, "stream_options.")
    if options.get("include_usage") == _TRUE:
        return None
    fields["stream_options"] = Raw(msgspec.json.encode(options | {"include_usage": _TRUE}))
    return msgspec.json.encode(fields)


async def _without_usage(pieces: Pieces) -> Pieces:
    async for piece in pieces:
        if _NO_CHOICES.search(piece) is None:
            yield piece
            continue
        kept = b"".join(block for block in sse.cut(piece) if not _is_usage(block))
        if kept:
            yield kept


def _is_usage(block: bytes) -> bool:
    """Whether a frame is the chunk that holds only usage: it has no choices, but a usage."""
    frames = sse.frames(block)
    try:
        chunk = _FIELDS.decode(frames[0].data) if frames else {}
    except reading.UNREADABLE:
        return False
    return (
        bytes(chunk.get("choices", b"")).translate(None, b" \n") == b"[]"
        and bytes(chunk.get("usage", b"null")) != b"null"
    )
