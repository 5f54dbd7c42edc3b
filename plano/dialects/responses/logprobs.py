"""Log probabilities: a list on each text here, `{"content": [...]}` for the whole choice in chat's form,
which is the neutral one. The entries are the same."""

from __future__ import annotations

import msgspec
from msgspec import Raw


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
_BAD = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def from_chat(logprobs: Raw | None) -> list[Raw] | None:
    """The entries; None where there are none, or they are in no form that is known."""
    if logprobs is None:
        return None
    try:
        found = _CONTENT.decode(logprobs).content
    except _BAD:
        return None
    return None if found is None else [_written(entry, []) for entry in found]


def to_chat(entries: list[Raw]) -> Raw | None:
    return Raw(msgspec.json.encode({"content": entries})) if entries else None


def entries_of(logprobs: Raw) -> list[Raw]:
    """A list of this dialect; empty for anything else."""
    try:
        return [_written(entry, None) for entry in _ENTRIES.decode(logprobs)]
    except _BAD:
        return []


def logprobs_of(message: Raw) -> list[Raw]:
    """The entries of all texts in a message item."""
    try:
        content = _MESSAGE.decode(message).content
    except _BAD:
        return []
    if content is None or isinstance(content, str):
        return []
    return [entry for part in content for entry in entries_of(part.logprobs)]


def _written(entry: _Entry, no_bytes: list[int] | None) -> Raw:
    """With everything that clients' types insist on; `no_bytes` stands where there are none: chat has null for that,
    this dialect a list."""
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
