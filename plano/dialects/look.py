"""A first look at the body of a 200: finds the field of a reply, the usage, and an error, without reading them.

Every reply is looked at, so this is one small struct.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Literal, TypeAlias, cast

import msgspec
from msgspec import Raw, Struct

from plano.dialects import reading
from plano.dialects.fields import NULL

Fault: TypeAlias = Literal["failed", "silent"]
"""`failed`: a reply says that it ended in a failure. `silent`: it says nothing, and not why it ended."""


class Look(Struct, gc=False):
    """The fields that a first look finds, unread; a missing one is null.

    Attributes:
        found: the field that every reply has.
    """

    found: Raw = NULL
    usage: Raw = NULL
    error: Raw = NULL

    def may_say_error(self, body: bytes) -> bool:
        """Whether an error may stand beside or inside the reply; `body` is the whole reply."""
        return self.error != NULL

    def fault(self, body: bytes) -> Fault | None:
        """The reply's fault; `body` is the whole reply."""
        return None


def looking_at(kind: type[Look]) -> Callable[[bytes], Look]:
    """A function that looks at a body with `kind`, a `Look` that renames `found` to the field that every reply has.

    It raises UpstreamProtocolError for a body that is not a JSON object.
    """
    return partial(reading.upstream, msgspec.json.Decoder(kind))


@cache
def looking_for(field: str) -> Callable[[bytes], Look]:
    """A function like that of `looking_at`, for any top-level field."""
    kind = msgspec.defstruct("Look", [("found", Raw, NULL)], bases=(Look,), rename={"found": field}, gc=False)
    return looking_at(cast(type[Look], kind))
