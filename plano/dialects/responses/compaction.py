"""Compacts a conversation: it becomes a summary, which comes back in the next request.

A client asks for it in one of two ways. It sends the conversation to `/v1/responses/compact`; the answer repeats the
user's messages and ends in one item, `compaction` (API reference, "Compact a response"; the SDK's CompactedResponse).
Or it asks for a response, with the item `compaction_trigger` at the end of the input; the reply's output is one item,
`compaction`, and the client keeps the user's messages itself (openai/codex, `compact_remote_v2.rs`).
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import replace

from plano.conversation import Conversation, Message, Opaque, Reply, Text, ToolChoice, ToolResult, Usage
from plano.dialects.fields import raw_of
from plano.dialects.reply_ids import reply_id
from plano.dialects.responses import ids
from plano.dialects.responses.envelope import write_usage
from plano.dialects.responses.summaries import TRIGGER, TYPE, is_note, seal
from plano.dialects.responses.write_history import History
from plano.errors import UpstreamProtocolError
from plano.losses import Losses

PROMPT = (
    "Write a summary of this conversation. It will take the place of the conversation, for a reader who sees nothing "
    "else of it and goes on with the work. State the user's goals and instructions; decisions and their reasons; facts "
    "that were found, with exact names, paths, numbers and identifiers; what is done; and what is still to do. Call no "
    "tool. Answer with the summary alone."
)

_NOT_SENT = frozenset({"include", "store", "stream"})
"""The fields of a request for a response that a request for a compaction does not have."""


def without_unknown(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of a request for a compaction that the API has."""
    return {name: value for name, value in fields.items() if name not in _NOT_SENT}


def is_triggered(conversation: Conversation) -> bool:
    """Whether the conversation ends in an item that asks for its compaction."""
    last = conversation.messages[-1].parts if conversation.messages else ()
    return bool(last) and isinstance(end := last[-1], Opaque) and (end.dialect, end.type) == ("responses", TRIGGER)


def asking(conversation: Conversation) -> Conversation:
    """The request for a summary of a conversation. Its tools stay, because the calls in it refer to them."""
    messages = conversation.messages
    if is_triggered(conversation):
        *before, last = messages
        messages = (*before, replace(last, parts=last.parts[:-1])) if last.parts[1:] else tuple(before)
    prompt = Message(role="user", parts=(Text(text=PROMPT),))
    return replace(
        conversation,
        messages=(*messages, prompt),
        tool_choice=ToolChoice(mode="none") if conversation.tools else None,
        parallel_tool_calls=None,
        response_format=None,
        store=False,
    )


def compaction_of(reply: Reply, at: int = 0) -> Opaque:
    """The item that holds the summary.

    Args:
        reply: the model's answer to `asking(...)`.
        at: the item's place in the output.

    Raises:
        UpstreamProtocolError: the reply holds no text.
    """
    summary = "".join(part.text for part in reply.parts if isinstance(part, Text)).strip()
    if not summary:
        raise UpstreamProtocolError("The upstream's model wrote no summary of the conversation.")
    id_ = ids.item_id(ids.COMPACTION, reply_id(reply.id, ids.REPLY), at)
    item = {"id": id_, "type": TYPE, "encrypted_content": seal(summary)}
    return Opaque(dialect="responses", type=TYPE, raw=raw_of(item))


def write_compaction(reply: Reply, asked: Conversation) -> bytes:
    """The answer to a request for a compaction of `asked`, from the reply that holds the summary.

    Raises:
        UpstreamProtocolError: the reply holds no text.
    """
    id_ = reply_id(reply.id, ids.REPLY)
    said = [_as_output(item, ids.item_id(ids.MESSAGE, id_, at)) for at, item in enumerate(_said_by_user(asked))]
    return msgspec.json.encode(
        {
            "id": id_,
            "object": "response.compaction",
            "created_at": reply.created or 0,
            "output": [*said, compaction_of(reply, len(said)).raw],
            "usage": write_usage(reply.usage or Usage()),
        }
    )


def _said_by_user(asked: Conversation) -> list[dict[str, Any]]:
    """The user's messages as items; neither results of tools, nor what an earlier compaction became."""
    history = History(Losses())  # these losses were reported when the request was written
    for message in asked.messages:
        parts = tuple(part for part in message.parts if not isinstance(part, ToolResult))
        if message.role == "user" and parts and not is_note(parts):
            history.turn(replace(message, parts=parts))
    return [item for item in history.items if isinstance(item, dict) and item["type"] == "message"]


def _as_output(item: dict[str, Any], id_: str) -> dict[str, Any]:
    return {"id": id_, "status": "completed", **item}
