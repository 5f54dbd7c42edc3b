"""Converts log probabilities between this dialect and the neutral model.

Here each text has a list of entries. The neutral form is chat's: `{"content": [...]}` for the whole reply. The entries
are the same.
"""

from __future__ import annotations

import msgspec
from msgspec import Raw

from plano.dialects import reading


class _Top(msgspec.Struct):
    token: str
    logprob: float
    bytes: list[int] | None = None


class _Entry(msgspec.Struct):
    token: str
    logprob: float
    bytes: list[int] | None = None
    top_logprobs: list[_Top] | None = None


class _Content(msgspec.Struct):
    content: list[_Entry] | None = None


class _Part(msgspec.Struct):
    logprobs: Raw = Raw(b"[]")


class _Message(msgspec.Struct):
    content: list[_Part] | str | None = None


_CONTENT = msgspec.json.Decoder(_Content)
_MESSAGE = msgspec.json.Decoder(_Message)
_ENTRIES = msgspec.json.Decoder(list[_Entry])


def from_chat(logprobs: Raw | None) -> list[Raw] | None:
    """The entries in chat's form; None if there are none, or their form is unknown."""
    if logprobs is None:
        return None
    try:
        found = _CONTENT.decode(logprobs).content
    except reading.UNREADABLE:
        return None
    return None if found is None else [_written(entry, []) for entry in found]


def to_chat(entries: list[Raw]) -> Raw | None:
    """The entries in chat's form; None if there are none."""
    return Raw(msgspec.json.encode({"content": entries})) if entries else None


def entries_of(logprobs: Raw) -> list[Raw]:
    """The entries in a list of this dialect; none in anything else."""
    try:
        return [_written(entry, None) for entry in _ENTRIES.decode(logprobs)]
    except reading.UNREADABLE:
        return []


def logprobs_of(message: Raw) -> list[Raw]:
    """The entries of all texts in a message item."""
    try:
        content = _MESSAGE.decode(message).content
    except reading.UNREADABLE:
        return []
    if content is None or isinstance(content, str):
        return []
    return [entry for part in content for entry in entries_of(part.logprobs)]


def _written(entry: _Entry, no_bytes: list[int] | None) -> Raw:
    """An entry with all fields that the types of clients require. An entry without bytes gets `no_bytes`: null in chat,
    an empty list in this dialect."""
    tops = [
        {"token": top.token, "bytes": no_bytes if top.bytes is None else top.bytes, "logprob": top.logprob}
        for top in entry.top_logprobs or ()
    ]
    fields = {
        "token": entry.token,
        "bytes": no_bytes if entry.bytes is None else entry.bytes,
        "logprob": entry.logprob,
        "top_logprobs": tops,
    }
    return Raw(msgspec.json.encode(fields))
