"""Reads and writes a complete reply, the Response object. Source: API reference, "The response object"."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from plano.conversation import (
    NO_EXTRAS,
    Conversation,
    Extras,
    Opaque,
    Part,
    RedactedThinking,
    Refusal,
    Reply,
    Text,
    Thinking,
    ToolCall,
)
from plano.dialects import reading, web_search
from plano.dialects.fields import OBJECT
from plano.dialects.reply_ids import reply_id
from plano.dialects.responses import ids, write_items
from plano.dialects.responses.calls import Calls
from plano.dialects.responses.envelope import (
    IncompleteDetails,
    WireUsage,
    echoes,
    finish_of,
    incomplete_reason,
    read_usage,
    response,
)
from plano.dialects.responses.errors import failure
from plano.dialects.responses.items import Item, read_output
from plano.dialects.responses.logprobs import from_chat, logprobs_of, to_chat
from plano.dialects.responses.write_items import content_type
from plano.dialects.signatures import pack
from plano.errors import UpstreamProtocolError
from plano.losses import Losses

OWN_FIELDS = ("service_tier", "moderation", "tool_usage", "prompt_cache_diagnostics", "access_programs", "image")
"""The fields of a Response that are neither output nor echoes of the request; they are kept in `extras`."""


class WireReply(msgspec.Struct):
    """The fields of a Response that are read; the items of `output` stay unread until they are needed."""

    id: str | None = None
    model: str | None = None
    created_at: float | None = None
    status: str | None = None
    output: list[Raw] | UnsetType | None = UNSET
    usage: WireUsage | None = None
    incomplete_details: IncompleteDetails | None = None
    error: Any = None

    @property
    def created(self) -> int | None:
        return None if self.created_at is None else int(self.created_at)


_REPLY = msgspec.json.Decoder(WireReply)


def read_reply(body: bytes) -> Reply:
    """Read a complete reply; see `plano.dialects.codec.Codec`. A reply that failed is raised as its error."""
    return reading.upstreams(_read_reply, body)


def _read_reply(body: bytes) -> Reply:
    found = reading.upstream(_REPLY, body)
    if found.status == "failed" or (found.error and found.output is UNSET):
        raise failure(found.error)
    if found.output is UNSET:
        raise UpstreamProtocolError("The upstream's reply has no output.")
    if found.status in ("in_progress", "queued", "cancelled"):
        raise UpstreamProtocolError(f"The upstream's reply is {found.status}; a complete one was expected.")
    raws = found.output or []
    items = [read_output(raw, f"output[{index}]") for index, raw in enumerate(raws)]
    return Reply(
        id=found.id or "",
        model=found.model or "",
        created=found.created,
        parts=tuple(part for item in items for part in item.parts),
        finish=finish_of(found.status, found.incomplete_details, any(item.kind == "call" for item in items)),
        usage=read_usage(found.usage),
        logprobs=_logprobs(raws, items),
        extras=own_extras(body),
    )


def _logprobs(raws: list[Raw], items: list[Item]) -> Raw | None:
    """The log probabilities of all texts, in chat's form."""
    found = [logprobs_of(raw) for raw, item in zip(raws, items, strict=True) if item.kind == "message"]
    return to_chat([entry for entries in found for entry in entries])


def own_extras(body: bytes | Raw) -> Extras:
    """The upstream's own fields of a Response, as extras."""
    fields = OBJECT.decode(body)
    own = {
        name: fields[name] for name in OWN_FIELDS if name in fields and bytes(memoryview(fields[name])[:5]) != b"null"
    }
    return {"responses": own} if own else NO_EXTRAS


# --- writing ---------------------------------------------------------------------------------------


def write_reply(reply: Reply, asked: Conversation, losses: Losses) -> bytes:
    """Write a complete reply; see `plano.dialects.codec.Codec`."""
    id_ = reply_id(reply.id, ids.REPLY)
    output = _Output(id_, Calls(asked), losses)
    for part in reply.parts:
        output.add(part)
    items = output.finish(reply)
    reason = incomplete_reason(reply.finish)
    if reply.stop_sequence is not None:
        losses.drop("reply.stop_sequence", "the responses API does not say which stop sequence was met")
    others = {
        dialect: {name: raw for name, raw in fields.items() if name != "service_tier"}
        for dialect, fields in reply.extras.items()
    }
    losses.drop_extras(others, "responses", "reply.")
    return msgspec.json.encode(
        response(
            id_=id_,
            created=reply.created or 0,
            model=reply.model,
            status="completed" if reason is None else "incomplete",
            output=items,
            echo=echoes(asked),
            finish=reply.finish,
            usage=reply.usage,
            extras=reply.extras,
        )
    )


class _Output:
    """Collects the items of a reply. Texts and refusals in a row are the content of one message item."""

    def __init__(self, reply_id: str, calls: Calls, losses: Losses) -> None:
        self._items: list[dict[str, Any] | Raw] = []
        self._reply_id = reply_id
        self._calls = calls
        self._losses = losses
        self._message: dict[str, Any] | None = None
        self._message_id: str | None = None

    def add(self, part: Part) -> None:
        """Add one part of the reply."""
        if isinstance(part, Text | Refusal):
            self._said(part)
            return
        if isinstance(part, Opaque) and content_type(part.type):
            if part.dialect == "responses":
                self._content(None).append(part.raw)
            return
        item = self._item(part)
        if item is None:
            self._losses.drop("reply.content", "the responses API has no such output")
            return
        self._message = None
        self._items.append(item)

    def _item(self, part: Part) -> dict[str, Any] | Raw | None:
        """The item for a part that is one by itself; None for a part that cannot be said."""
        if isinstance(part, ToolCall):
            called = self._calls.restored(part)
            id_ = called.item_id or self._id(ids.OF_CALLS[called.kind])
            return write_items.call(called, id_=id_, status="completed")
        if isinstance(part, Thinking | RedactedThinking):
            return self._reasoning(part)
        if not isinstance(part, Opaque):
            return None
        if part.dialect == "responses":
            return part.raw
        searched = web_search.as_call(part)
        return None if searched is None else {"id": self._id(ids.WEB_SEARCH), **searched}

    def finish(self, reply: Reply) -> list[Any]:
        """All items. If the reply was cut short and ends in a message, that message is marked as incomplete."""
        if self._message is not None and incomplete_reason(reply.finish) is not None:
            self._message["status"] = "incomplete"
        self._logprobs(reply)
        return self._items

    def _said(self, part: Text | Refusal) -> None:
        """Add a text or a refusal."""
        content = self._content(part)
        if isinstance(part, Refusal):
            content.append(write_items.refusal(part))
            return
        if any(write_items.annotation(citation, 0) is None for citation in part.citations):
            self._losses.drop("reply.citations", "only the API that it came from can say this citation")
        content.append(write_items.output_text(part))

    def _content(self, part: Text | Refusal | None) -> list[Any]:
        """The content of the message item that `part` belongs to; a new item is begun if there is none."""
        item_id = None if part is None else part.item_id
        if self._message is None or (item_id is not None and item_id != self._message_id):
            fields = {} if part is None else write_items.message_fields(part.extras)
            self._message_id = item_id or self._id(ids.MESSAGE)
            self._message = write_items.message([], id_=self._message_id, status="completed", fields=fields)
            self._items.append(self._message)
        content: list[Any] = self._message["content"]
        return content

    def _reasoning(self, part: Thinking | RedactedThinking) -> dict[str, Any]:
        shown = part if isinstance(part, Thinking) else Thinking(text="")
        return write_items.reasoning(shown, id_=shown.item_id or self._id(ids.REASONING), seal=pack(part, "responses"))

    def _logprobs(self, reply: Reply) -> None:
        """Put all log probabilities on the first text, because the chat reply that they come from has only one."""
        found = from_chat(reply.logprobs)
        if found is None:
            return
        for item in self._items:
            for part in item["content"] if isinstance(item, dict) and item["type"] == "message" else ():
                if isinstance(part, dict) and part["type"] == "output_text":
                    part["logprobs"] = found
                    return

    def _id(self, prefix: str) -> str:
        return ids.item_id(prefix, self._reply_id, len(self._items))
