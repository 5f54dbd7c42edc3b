"""What this dialect adds to reading and writing JSON field by field."""

from __future__ import annotations

import msgspec
from msgspec import Raw

from plano.conversation import Extras
from plano.dialects.fields import NULL, Object

ABSENT = NULL
"""The default of a struct's `Raw` field: msgspec does not take `Raw | None`."""

CONTENT = msgspec.json.Decoder(str | list[Object])
"""A message's content, or a tool result's: a string, or blocks."""


def own(extras: Extras) -> Object:
    """This dialect's share of `extras`, as a new dict."""
    return dict(extras.get("messages", ()))


def as_json(value: object) -> Raw:
    return Raw(msgspec.json.encode(value))
