"""Carries one vendor's reasoning seal through another dialect, and back, byte for byte.

A `Thinking` part's seal (Anthropic's signature, OpenAI's encrypted content) only means something to the
vendor that made it. A client of another dialect still has to hand it back on its next turn, so it travels in
that dialect's own seal field (messages `signature`, responses `encrypted_content`), marked with the dialect that it
came from. A seal without a mark belongs to the dialect that it stands in.

Servers of one dialect do not take each other's seals either, even for the same model. So where a name has several
targets, the seals in a reply of any but the first one carry another mark in front, which tells the server that made
them. It is taken off again for that server, and for all others the seal is left out.
"""

from __future__ import annotations

import re
from hashlib import sha256

from plano.conversation import RedactedThinking, Thinking
from plano.types import UPSTREAM_DIALECTS, UpstreamDialect

MARK = "plano-seal."
"""The beginning of a marked seal. A body that holds it cannot be forwarded as it is: its vendor would refuse the
seal."""

_MARK = MARK[:-1].encode()
_MARKED = re.compile(rb'(?<!\\)"plano-seal\.|_plano-seal_')
"""The mark at the beginning of a value, or inside a call's id. In a text that quotes it, the quotes are escaped."""

_NO_ID = "-"

MADE_AT = f"{MARK}at."
_MADE_AT = MADE_AT.encode()
_DIGITS = 8


def maker_mark(server: str) -> bytes:
    """The mark of seals that a server made; `server` names it."""
    return _MADE_AT + sha256(server.encode()).hexdigest()[:_DIGITS].encode() + b"."


def holds_maker(body: bytes) -> bool:
    """Whether a seal with the mark of a server stands anywhere in a request's body."""
    return body.find(_MADE_AT) >= 0


def holds_seal(body: bytes) -> bool:
    """Whether a marked seal stands anywhere in a request's body, also in a call's id (`plano.dialects.call_seals`)."""
    # `find`, because `in` first tries whether its operand is a number, which takes ten times as long.
    return body.find(_MARK) >= 0 and _MARKED.search(body) is not None


def pack(part: Thinking | RedactedThinking, dialect: UpstreamDialect) -> str | None:
    """The part's seal as `dialect` carries it: unchanged in the dialect that it came from, marked in any other."""
    if isinstance(part, RedactedThinking):
        return part.data if dialect == "messages" else f"{MARK}messages.redacted.{part.data}"
    if part.seal is None or part.origin == dialect or part.origin is None:
        return part.seal
    return f"{MARK}{part.origin}.{part.item_id or _NO_ID}.{part.seal}"


def unpack(seal: str, text: str, dialect: UpstreamDialect) -> Thinking | RedactedThinking:
    """The part that was packed into `seal`, which stood in `dialect` beside the reasoning's `text`."""
    if not seal.startswith(MARK):
        return Thinking(text=text, seal=seal, origin=dialect)
    origin, _, rest = seal[len(MARK) :].partition(".")
    item_id, _, original = rest.partition(".")
    if origin == "messages" and item_id == "redacted":
        return RedactedThinking(data=original)
    if origin not in UPSTREAM_DIALECTS:
        return Thinking(text=text)
    return Thinking(
        text=text,
        seal=original,
        origin=origin,
        # An id without a seal would refer to reasoning that the vendor keeps, and that may be somebody else's.
        item_id=None if item_id == _NO_ID or not original else item_id,
        summary=origin == "responses",
    )
