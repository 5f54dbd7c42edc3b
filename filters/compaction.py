"""Compacts conversations for targets that have no compaction of their own: their model is asked for a summary."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from plano.capabilities import Fields
from plano.dialects import responses
from plano.dialects.responses import compaction
from plano.operations import CREATE
from plano.request import Request
from plano.response import Response
from plano.translation.translate import translate_request

COMPACT = "compact"

Asking = Callable[[Request], Awaitable[Response]]

_fields = msgspec.json.Decoder(Fields)


def passed_on(request: Request) -> Request:
    """The request for a target that compacts by itself. Values that plano made for its client are taken out of it."""
    if responses.hands_back(request.body):
        body, losses = translate_request(request.conversation, "responses", strict=request.strict)
        request = request.replace(raw=body, raw_model=request.model, lost=(*request.lost, *losses))
    fields = _fields.decode(request.body)
    known = compaction.without_unknown(fields)
    if len(known) == len(fields):
        return request
    return request.replace(raw=msgspec.json.encode(known), raw_model=request.raw_model)


async def summarized(request: Request, ask: Asking) -> Response:
    """The compaction that the target's model writes.

    Args:
        ask: asks the target for a reply, and gives it in the responses dialect.

    Raises:
        UpstreamError: there is no reply, or no text in it.
    """
    asked = request.conversation
    response = await ask(request.replace(conversation=compaction.asking(asked), operation=CREATE))
    if not response.ok or response.body is None:
        return response.translated(request, body=response.body)
    body = compaction.write_compaction(responses.read_reply(response.body), asked)
    return response.translated(request, body=body)
