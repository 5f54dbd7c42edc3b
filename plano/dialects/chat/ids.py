"""The ids of this dialect: the prefix of a reply's, and ids for calls that an upstream sent without one."""

from __future__ import annotations

REPLY = "chatcmpl-"


def call_id(reply: str, index: int) -> str:
    """Make up an id for the call at `index` of a reply.

    It differs from reply to reply, because a history holds many, and is at most 64 characters long (responses API,
    `call_id`).
    """
    return f"call_{reply.removeprefix(REPLY)[-48:]}_{index}"
