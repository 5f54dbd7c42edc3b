"""Token counts, both ways.

`prompt_tokens` holds cached tokens and tokens written to the cache, as OpenAI counts. Servers that say how many
were cached in a place of their own are understood too: DeepSeek `prompt_cache_hit_tokens`, Moonshot `cached_tokens`,
and gateways in front of Anthropic `cache_read_input_tokens`, `cache_creation_input_tokens`.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

from plano.conversation import Usage
from plano.dialects.fields import present

_ANY = msgspec.json.Decoder()
_TOO_MANY = 2**53


def read_usage(raw: Raw) -> Usage | None:
    """None if it is absent, null, or nothing that counts tokens."""
    if not present(raw):
        return None
    try:
        found = _ANY.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
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
    """The first of `names` that says a number other than zero."""
    for name in names:
        value = found.get(name)
        if isinstance(value, int | float) and 0 < value < _TOO_MANY:
            return int(value)
    return 0
