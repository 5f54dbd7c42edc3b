"""Fits a conversation to a server that did not make the earlier turns of it.

A vendor's seals of reasoning and of calls mean nothing to anybody else, and most servers refuse a request that holds
another's, also for the same model (openclaw/openclaw#110079). They are left out and reported. Ids of items would refer
to items that the server does not know. What is stored with another vendor cannot be left out, so it is refused.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from plano.conversation import (
    Conversation,
    Document,
    Extras,
    Image,
    Message,
    Opaque,
    Part,
    RedactedThinking,
    Refusal,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from plano.dialects.call_seals import FIELD, seal_of, unsealed
from plano.dialects.fields import NULL, OBJECT
from plano.dialects.openai import refuse_stored
from plano.dialects.signatures import MADE_AT
from plano.losses import Losses, refuse

FOREIGN = "another provider made it, and only that provider can take it back"

_STORED_ITEMS = ("item_reference", "compaction")


def seals_in(conversation: Conversation) -> Iterator[str]:
    """All seals in a conversation that have no mark of a server."""
    for message in conversation.messages:
        for part in (message, *message.parts):
            seal = _seal_of(part)
            if seal is not None and MADE_AT not in seal:
                yield seal


def _seal_of(part: Message | Part) -> str | None:
    match part:
        case Thinking():
            return part.seal
        case RedactedThinking():
            return part.data
        case Message() | ToolCall():
            return seal_of(part.extras)
    return None


class Foreign:
    """Takes out of conversations what a server cannot take back.

    Args:
        losses: the list to which omissions are reported.
        seals: the seals that the server did not make; those with the mark of a server are foreign in any case.
        another: whether the server is another one than that which has the ids of the items.
        elsewhere: whether it belongs to another platform, which has nothing that is stored with the first one.
    """

    def __init__(self, losses: Losses, seals: Container[str], *, another: bool, elsewhere: bool) -> None:
        self._losses = losses
        self._seals = seals
        self._another = another
        self._elsewhere = elsewhere

    def taken_out_of(self, conversation: Conversation) -> Conversation:
        """The conversation without what is foreign; an equal one if nothing is.

        Raises:
            UnsupportedConversion: part of the request is stored with another vendor.
        """
        if self._elsewhere:
            refuse_stored(conversation)
        messages = [self._message(message) for message in conversation.messages]
        return replace(conversation, messages=tuple(message for message in messages if message is not None))

    def _message(self, message: Message) -> Message | None:
        """The message; None if nothing is left of it."""
        parts = self._parts(message.parts)
        if message.parts and not parts:
            return None
        return replace(message, parts=parts, extras=self._extras(message.extras, "messages."))

    def _parts(self, parts: Sequence[Part]) -> tuple[Part, ...]:
        return tuple(part for each in parts if (part := self._part(each)) is not None)

    def _part(self, part: Part) -> Part | None:
        match part:
            case Thinking():
                return self._thinking(part)
            case RedactedThinking():
                return None if self._is_foreign(part.data, "messages.redacted_thinking") else part
            case ToolCall():
                return replace(self._unnamed(part), extras=self._extras(part.extras, "messages.tool_calls."))
            case ToolResult():
                return replace(part, parts=self._parts(part.parts))
            case Text() | Refusal():
                return self._unnamed(part)
            case Image() | Document():
                if self._elsewhere and part.file_id is not None:
                    raise refuse("messages.file_id", "an uploaded file is only known to the vendor it was uploaded to")
                return part
            case Opaque(dialect="responses"):
                return self._item(part)
        return part

    def _thinking(self, part: Thinking) -> Thinking | None:
        """The reasoning without a foreign seal; None if it had no text."""
        if part.seal is None and part.item_id is not None and self._another:
            self._losses.drop("messages.thinking", FOREIGN)
        elif part.seal is None or not self._is_foreign(part.seal, "messages.thinking"):
            return part
        return replace(part, seal=None, item_id=None) if part.text else None

    def _is_foreign(self, seal: str, field: str) -> bool:
        foreign = MADE_AT in seal or seal in self._seals
        if foreign:
            self._losses.drop(field, FOREIGN)
        return foreign

    def _unnamed(self, part: Text | Refusal | ToolCall) -> Text | Refusal | ToolCall:
        """The part without the id of its item, which another server does not know."""
        return replace(part, item_id=None) if self._another and part.item_id is not None else part

    def _extras(self, extras: Extras, within: str) -> Extras:
        """The extras of a call or a message, without a seal of Google's."""
        seal = seal_of(extras)
        return extras if seal is None or not self._is_foreign(seal, within + FIELD) else unsealed(extras)

    def _item(self, part: Opaque) -> Opaque:
        """An item of the responses API without its id. Raises UnsupportedConversion for one that is stored."""
        if part.type in _STORED_ITEMS and (self._another or MADE_AT.encode() in bytes(part.raw)):
            raise refuse("input", f"only the provider that made it can read `{part.type}`")
        fields = OBJECT.decode(part.raw) if self._another else {}
        if bytes(fields.pop("id", NULL)) == bytes(NULL):
            return part
        return replace(part, raw=Raw(msgspec.json.encode(fields)))
