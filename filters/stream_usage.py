"""Asking for the usage of streamed chat completions, which a chat API says only when asked."""

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
    """Asks the upstream for usage (`stream_options.include_usage`) on behalf of clients that did not, and keeps the
    extra chunk from them. Source: OpenAI API reference, "Create chat completion", `stream_options`.

    Requests in other dialects pass as they are: those APIs always say.

    Raises:
        InvalidRequest: `stream_options` names a field that two readers could take for different ones.
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
    """The body with the question in it; None where it has it already, or nothing can be asked."""
    if not request.stream or request.dialect != "chat" or request.operation != "create":
        return None
    try:
        fields = _FIELDS.decode(request.body)
    except reading.UNREADABLE:
        return None  # whoever reads it says what is wrong with it
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
    """Whether it is the chunk that only brings usage: without choices, and with numbers."""
    frames = sse.frames(block)
    try:
        chunk = _FIELDS.decode(frames[0].data) if frames else {}
    except reading.UNREADABLE:
        return False
    return (
        bytes(chunk.get("choices", b"")).translate(None, b" \n") == b"[]"
        and bytes(chunk.get("usage", b"null")) != b"null"
    )
