"""Log probabilities: a list on each text here, `{"content": [...]}` for the whole choice in chat's form,
which is the neutral one. The entries are the same."""

from __future__ import annotations

import msgspec
from msgspec import Raw


class _Content(msgspec.Struct):
    content: list[Raw] | None = None


class _Part(msgspec.Struct):
    logprobs: list[Raw] | None = None


class _Message(msgspec.Struct):
    content: list[_Part] | str | None = None


_CONTENT = msgspec.json.Decoder(_Content)
_MESSAGE = msgspec.json.Decoder(_Message)
_ENTRIES = msgspec.json.Decoder(list[Raw])


def from_chat(logprobs: Raw | None) -> list[Raw] | None:
    """The entries; None where there are none, or they are in no form that is known."""
    if logprobs is None:
        return None
    try:
        return _CONTENT.decode(logprobs).content
    except msgspec.MsgspecError:
        return None


def to_chat(entries: list[Raw]) -> Raw | None:
    return Raw(msgspec.json.encode({"content": entries})) if entries else None


def entries_of(logprobs: Raw) -> list[Raw]:
    """A list of this dialect; empty for anything else."""
    try:
        return _ENTRIES.decode(logprobs)
    except msgspec.MsgspecError:
        return []


def logprobs_of(message: Raw) -> list[Raw]:
    """The entries of all texts in a message item."""
    try:
        content = _MESSAGE.decode(message).content
    except msgspec.MsgspecError:
        return []
    if content is None or isinstance(content, str):
        return []
    return [entry for part in content for entry in part.logprobs or ()]
