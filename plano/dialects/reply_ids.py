"""Ids of replies. Each dialect has a prefix of its own; what is behind it stays when a reply changes dialects."""

from __future__ import annotations

_PREFIXES = ("chatcmpl-", "msg_", "resp_", "gen-")
"""Of the three dialects, and OpenRouter's."""


def reply_id(id_: str, prefix: str) -> str:
    """The reply's id with this prefix in place of another's."""
    if id_.startswith(prefix):
        return id_
    for other in _PREFIXES:
        if id_.startswith(other):
            return prefix + id_[len(other) :]
    return prefix + id_
