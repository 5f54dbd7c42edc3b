"""Compacts conversations for clients of targets that do not do it themselves: their model writes a summary.

See `plano.dialects.responses.compaction` for the two ways in which a client asks.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import TypeAlias

import msgspec
from msgspec.structs import replace

from plano.capabilities import Fields
from plano.conversation import Event, Failed, Finished, PartStart, PartStop, Ping, Start
from plano.dialects import responses
from plano.dialects.responses import compaction
from plano.operations import CREATE
from plano.request import Request
from plano.response import Response
from plano.translation.assembly import ReplyBuilder

Ask: TypeAlias = Callable[[Request], Awaitable[Response]]
"""Asks the target for a reply, and gives it in the responses dialect."""

_fields = msgspec.json.Decoder(Fields)


def passed_on(request: Request) -> Request:
    """The request for a target that has the operation, without the fields that it does not know."""
    fields = _fields.decode(request.body)
    known = compaction.without_unknown(fields)
    if len(known) == len(fields):
        return request
    return request.replace(raw=msgspec.json.encode(known), raw_model=request.raw_model)


async def written(request: Request, ask: Ask) -> Response:
    """The answer to a request for the operation `compact`, with the summary that the target's model writes.

    Raises:
        UpstreamError: there is no reply, or no text in it.
    """
    asked = request.conversation
    summarizing = replace(compaction.asking(asked), stream=False)
    response = await ask(request.replace(conversation=summarizing, operation=CREATE))
    if not response.ok or response.body is None:
        return response.translated(request, body=response.body)
    body = compaction.write_compaction(responses.read_reply(response.body), asked)
    return response.translated(request, body=body)


async def replied(request: Request, ask: Ask) -> Response:
    """The reply to a request that ends in a trigger, streamed or not: the summary that the target's model writes.

    Raises:
        UpstreamError: there is no reply, or no text in it.
    """
    response = await ask(request.replace(conversation=compaction.asking(request.conversation)))
    response = response.translated(request, body=response.body)
    if not response.ok:
        return response
    return await response.with_events(_compacted(response.events())).ready_for(request)


async def _compacted(events: AsyncIterator[Event]) -> AsyncGenerator[Event, None]:
    """The events of a reply with one item. All else that the model says becomes signs of life."""
    builder = ReplyBuilder()
    async for event in events:
        if isinstance(event, Failed):
            yield event
            return
        builder.feed(event)
        if isinstance(event, Finished):
            yield PartStart(0, compaction.compaction_of(builder.reply()))
            yield PartStop(0)
            yield replace(event, finish="stop")
        else:
            yield event if isinstance(event, Start) else Ping()
