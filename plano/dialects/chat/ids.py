"""Ids of this dialect: a reply's `chatcmpl-…`, and those of calls that an upstream sent without."""

from __future__ import annotations

REPLY = "chatcmpl-"


def call_id(reply: str, index: int) -> str:
    """An id for the call at `index` of a reply; different for each reply, as a history holds many. Ids are
    at most 64 characters long (responses API, `call_id`)."""
    return f"call_{reply.removeprefix(REPLY)[-48:]}_{index}"
