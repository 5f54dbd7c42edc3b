"""Reads and writes token counts. `input_tokens` leaves out cache reads and writes, which the neutral model includes.

Source: API reference, Messages, `usage`; "Prompt caching", "Tracking cache performance".
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw, Struct

from plano.conversation import NO_EXTRAS, Usage
from plano.dialects.fields import NULL, OBJECT, Object, own, present

_COUNTS = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
_KNOWN = (*_COUNTS, "output_tokens_details")
_DELTA_FIELDS = ("server_tool_use", "iterations")


class _Details(Struct):
    thinking_tokens: int | None = None


class _Counts(Struct):
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    output_tokens_details: _Details | None = None


_DECODER = msgspec.json.Decoder(_Counts)


class Tally:
    """The usage of a reply, added up from the `usage` objects at the start and the end of its stream."""

    __slots__ = ("_counts", "_fields", "known")

    def __init__(self) -> None:
        self._counts = _Counts()
        self._fields: Object = {}
        self.known = False

    def add(self, raw: Raw | None) -> None:
        """Take in a `usage` object.

        Its numbers are totals, so the greater of two counts. Some servers send 0 where they do not know a number.

        Raises:
            msgspec.ValidationError: a count is not a number.
        """
        if raw is None or not present(raw):
            return
        counts = _DECODER.decode(raw)
        self.known = True
        for name in _COUNTS:
            setattr(self._counts, name, max(getattr(self._counts, name) or 0, getattr(counts, name) or 0))
        if counts.output_tokens_details is not None:
            self._counts.output_tokens_details = counts.output_tokens_details
        for name, value in OBJECT.decode(raw).items():
            if name not in _KNOWN and value != NULL:
                self._fields[name] = value

    def usage(self) -> Usage | None:
        """The usage in the neutral model; None if there was no `usage` at all."""
        if not self.known:
            return None
        counts = self._counts
        cached, created = counts.cache_read_input_tokens or 0, counts.cache_creation_input_tokens or 0
        details = counts.output_tokens_details
        return Usage(
            input_tokens=(counts.input_tokens or 0) + cached + created,
            output_tokens=counts.output_tokens or 0,
            cached_tokens=cached,
            cache_creation_tokens=created,
            reasoning_tokens=(details.thinking_tokens or 0) if details is not None else 0,
            extras={"messages": dict(self._fields)} if self._fields else NO_EXTRAS,
        )


def read_usage(raw: Raw | None) -> Usage | None:
    """The usage in one `usage` object; None if there is none."""
    tally = Tally()
    tally.add(raw)
    return tally.usage()


def usage_object(usage: Usage | None) -> dict[str, Any]:
    """The `usage` of a reply; all zeros if nothing is known, because the field is required."""
    if usage is None:
        usage = Usage()
    written: dict[str, Any] = {
        "input_tokens": max(0, usage.input_tokens - usage.cached_tokens - usage.cache_creation_tokens),
        "output_tokens": usage.output_tokens,
        "cache_creation_input_tokens": usage.cache_creation_tokens,
        "cache_read_input_tokens": usage.cached_tokens,
    }
    if usage.reasoning_tokens:
        written["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    written.update(own(usage.extras, "messages"))
    return written


def delta_usage_object(usage: Usage | None) -> dict[str, Any]:
    """The `usage` of `message_delta`, which has fewer fields than a reply's."""
    written = usage_object(usage)
    return {name: value for name, value in written.items() if name in _KNOWN or name in _DELTA_FIELDS}
