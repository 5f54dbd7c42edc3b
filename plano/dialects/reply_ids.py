"""Converts the ids of replies: each dialect has its own prefix, and the rest of an id does not change."""

from __future__ import annotations

_PREFIXES = ("chatcmpl-", "msg_", "resp_", "gen-")
"""The prefixes of the three dialects, and OpenRouter's."""


def reply_id(id_: str, prefix: str) -> str:
    """The reply's id with `prefix`, in place of another dialect's if it has one."""
    if id_.startswith(prefix):
        return id_
    for other in _PREFIXES:
        if id_.startswith(other):
            return prefix + id_[len(other) :]
    return prefix + id_
