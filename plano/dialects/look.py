"""A first look at the body of a 200: whether it is what was asked for, what it used, and whether it holds an error.

Every reply is looked at, so it is one small struct, and nothing in it is read.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import cast

import msgspec
from msgspec import Raw, Struct

from plano.dialects import reading
from plano.dialects.fields import NULL


class Look(Struct, gc=False):
    """What was found, unread; null where it is missing.

    Attributes:
        found: the field that makes it a reply.
    """

    found: Raw = NULL
    usage: Raw = NULL
    error: Raw = NULL

    def may_say_error(self, body: bytes) -> bool:
        """Whether an error stands beside or inside the reply; `body` is what was looked at."""
        return self.error != NULL


def looking_at(kind: type[Look]) -> Callable[[bytes], Look]:
    """Looks at a body through `kind`, a `Look` whose own `found` is renamed to the field that makes it a reply.

    What it gives raises UpstreamProtocolError for what is no JSON object.
    """
    return partial(reading.upstream, msgspec.json.Decoder(kind))


@cache
def looking_for(field: str) -> Callable[[bytes], Look]:
    """The same for any top-level field."""
    kind = msgspec.defstruct("Look", [("found", Raw, NULL)], bases=(Look,), rename={"found": field}, gc=False)
    return looking_at(cast(type[Look], kind))
