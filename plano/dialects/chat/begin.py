"""Finds the beginning of a stream's real output, and errors before it.

A stream opens with chunks without content: without choices, with a role or an empty text, with usage alone. The
first one with content, or the end of the reply, is real output.
"""

from __future__ import annotations

import re

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from plano.dialects import reading
from plano.dialects.chat.errors import error_of
from plano.dialects.fields import ABSENT, NULL, STRING, empty, present, says
from plano.dialects.finish import fails, failure
from plano.errors import PlanoError
from plano.frames.sse import Frame


class _Chunk(Struct, gc=False):
    object: str | None = None
    choices: list[dict[str, Raw]] | UnsetType | None = UNSET
    usage: Raw = ABSENT
    error: Raw = ABSENT


_CHUNK = msgspec.json.Decoder(_Chunk)
_DELTA = msgspec.json.Decoder(dict[str, Raw])
_PARTS = msgspec.json.Decoder(list[dict[str, Raw]])
_ANY = msgspec.json.Decoder()

_BESIDE_THE_DELTA = frozenset({"index", "logprobs", "content_filter_results", "content_filter_offsets", "error"})
"""The fields of a choice that describe its delta."""

_IN_PARTS = frozenset({"content", "reasoning_details"})
"""The fields of a delta that may be lists of parts, with texts that may be empty."""

_LABELS = frozenset({"type", "index", "format", "id"})
"""The fields of a part that describe its text."""

_FIRST = (Raw(), NULL, Raw(b"0"))
"""The index of the choice that is read, as it may be written."""

_ENDS = re.compile(rb'"finish_reason"\s*:\s*"[^"]')

_SPEAKS = re.compile(rb'"(?:content|reasoning_content|reasoning|refusal|arguments)"\s*:\s*"[^"]')


def speaks(piece: bytes) -> int:
    found = _SPEAKS.search(piece)
    return -1 if found is None else found.start()


def begins(frame: Frame) -> bool:
    chunk = reading.maybe(_CHUNK, frame.data)
    if chunk is None:
        return frame.event != "error"
    if says(chunk.error) or chunk.object == "error" or frame.event == "error":
        return False
    if chunk.choices:
        return any(map(_choice_says, chunk.choices))
    return chunk.choices is UNSET and chunk.object != "chat.completion.chunk" and not present(chunk.usage)


def _choice_says(choice: dict[str, Raw]) -> bool:
    for name, value in choice.items():
        if empty(value):
            continue
        if name in ("delta", "message"):
            if delta_says(value):
                return True
        elif name == "finish_reason" and fails(reading.maybe(STRING, value)):
            continue
        elif name not in _BESIDE_THE_DELTA:
            return True
    return False


def delta_says(delta: Raw) -> bool:
    """Whether a delta, or a message in its place, has content."""
    fields = reading.maybe(_DELTA, delta)
    if fields is None:
        return not empty(delta)
    return any(name != "role" and not empty(value) and _field_says(name, value) for name, value in fields.items())


def _field_says(name: str, value: Raw) -> bool:
    """Whether a field of a delta has content. A list of parts has none if all of its texts are empty."""
    parts = reading.maybe(_PARTS, value) if name in _IN_PARTS else None
    return parts is None or any(map(_part_says, parts))


def _part_says(part: dict[str, Raw]) -> bool:
    for name, text in part.items():
        if name in _LABELS or empty(text):
            continue
        inner = reading.maybe(_PARTS, text) if name == "thinking" else None  # Mistral's is a list of parts again
        if inner is None or any(not empty(each.get("text", ABSENT)) for each in inner):
            return True
    return False


def error_in(frame: Frame) -> PlanoError | None:
    data, named = frame.data, frame.event == "error"
    if not (named or data.find(b"error") >= 0 or data.find(b"\\u") >= 0 or _ENDS.search(data)):  # nearly always
        return None
    chunk = reading.maybe(_CHUNK, data)
    if chunk is not None and says(chunk.error):
        return error_of(reading.maybe(_ANY, chunk.error))
    if named or (chunk is not None and chunk.object == "error"):
        return error_of(reading.maybe(_ANY, data))
    choices = [] if chunk is None else chunk.choices or []
    return next((error for choice in choices if (error := _error_of(choice)) is not None), None)


def _error_of(choice: dict[str, Raw]) -> PlanoError | None:
    if choice.get("index", ABSENT) not in _FIRST:
        return None
    if says(error := choice.get("error", ABSENT)):
        return error_of(reading.maybe(_ANY, error))
    return failure(reading.maybe(STRING, choice.get("finish_reason", NULL)))
