"""Reads and writes token counts.

`prompt_tokens` includes cached tokens and tokens written to the cache, as OpenAI counts. The fields in which other
servers count cached tokens are understood too: DeepSeek's `prompt_cache_hit_tokens`, Moonshot's `cached_tokens`, and
`cache_read_input_tokens`, `cache_creation_input_tokens` of gateways in front of Anthropic.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw, Struct

from plano.conversation import Usage
from plano.dialects import reading
from plano.dialects.fields import ABSENT

_ANY = msgspec.json.Decoder()
_TOKEN_LIMIT = 2**53

_Tokens = Annotated[int, Meta(ge=0, lt=_TOKEN_LIMIT)]


class _Read(Struct, gc=False):
    cached_tokens: _Tokens | None = None
    cache_write_tokens: _Tokens | None = None


class _Written(Struct, gc=False):
    reasoning_tokens: _Tokens | None = None


class _Usual(Struct, forbid_unknown_fields=True, gc=False):
    """The counts that most servers send, and no others: decoding with this struct takes a fifth of the time."""

    prompt_tokens: _Tokens
    completion_tokens: _Tokens
    total_tokens: int | None = None
    prompt_tokens_details: _Read | None = None
    completion_tokens_details: _Written | None = None


_USUAL = msgspec.json.Decoder(_Usual)


def read_usage(raw: Raw) -> Usage | None:
    """Read a `usage` object; None if it is absent, null, or counts no tokens."""
    if raw is ABSENT:
        return None
    try:
        usual = _USUAL.decode(raw)
        if usual.prompt_tokens_details is None and usual.completion_tokens_details is None:
            return Usage(input_tokens=usual.prompt_tokens, output_tokens=usual.completion_tokens)
        return _neutral(usual)
    except reading.UNREADABLE:
        return _read_unusual(raw)


def _neutral(usual: _Usual) -> Usage:
    read, written = usual.prompt_tokens_details, usual.completion_tokens_details
    return Usage(
        input_tokens=usual.prompt_tokens,
        output_tokens=usual.completion_tokens,
        cached_tokens=(read.cached_tokens or 0) if read is not None else 0,
        cache_creation_tokens=(read.cache_write_tokens or 0) if read is not None else 0,
        reasoning_tokens=(written.reasoning_tokens or 0) if written is not None else 0,
    )


def _read_unusual(raw: Raw) -> Usage | None:
    """Read counts field by field, for servers that send others than most."""
    try:
        found = _ANY.decode(raw)
    except reading.UNREADABLE:
        return None
    if not isinstance(found, dict) or not ("prompt_tokens" in found or "completion_tokens" in found):
        return None
    read, written = _details(found, "prompt_tokens_details"), _details(found, "completion_tokens_details")
    return Usage(
        input_tokens=_count(found, "prompt_tokens"),
        output_tokens=_count(found, "completion_tokens"),
        cached_tokens=(
            _count(read, "cached_tokens")
            or _count(found, "prompt_cache_hit_tokens", "cached_tokens", "cache_read_input_tokens")
        ),
        cache_creation_tokens=_count(read, "cache_write_tokens") or _count(found, "cache_creation_input_tokens"),
        reasoning_tokens=_count(written, "reasoning_tokens") or _count(found, "reasoning_tokens"),
    )


def write_usage(usage: Usage) -> dict[str, Any]:
    """The `usage` object of a reply."""
    read = {"cached_tokens": usage.cached_tokens}
    if usage.cache_creation_tokens:
        read["cache_write_tokens"] = usage.cache_creation_tokens
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": read,
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


def _details(found: dict[str, Any], name: str) -> dict[str, Any]:
    details = found.get(name)
    return details if isinstance(details, dict) else {}


def _count(found: dict[str, Any], *names: str) -> int:
    """The first number above zero among the fields `names`, or 0."""
    for name in names:
        value = found.get(name)
        if isinstance(value, int | float) and 0 < value < _TOKEN_LIMIT:
            return int(value)
    return 0
