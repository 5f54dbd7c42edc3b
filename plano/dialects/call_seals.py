"""Carries a vendor's seal of a tool call inside the call's id, for clients that keep no unknown fields.

Gemini seals calls: a chat upstream of Google's puts a thought signature into a call's `extra_content`, and refuses the
next request without it ("Thought signatures", section "OpenAI compatible"). Agents of other APIs rebuild a call from
the fields that they know, but all of them keep its id, because the result has to name it. So the id that a client gets
is the upstream's own, then `MARK`, eight digits of a checksum, and the `extra_content` in URL-safe base64:

    call_1_plano-seal_5d41402aeyJnb29nbGUiOnsidGhv…

It has only characters that all APIs take in ids. The readers of requests take the mark off, in calls and in results,
so that no upstream sees it, and no limit of an id's length cuts it. A seal that was shortened or changed on its way
does not fit its checksum: it is left out, and the id is the upstream's own all the same.
"""

from __future__ import annotations

import base64
import binascii
from hashlib import sha256

from msgspec import Raw

from plano.conversation import NO_EXTRAS, Extras
from plano.dialects import reading
from plano.dialects.fields import OBJECT
from plano.dialects.signatures import MARK as SEAL

FIELD = "extra_content"
"""The field of calls that a chat upstream wants back."""

MARK = f"_{SEAL[:-1]}_"
"""The end of the upstream's own id, and the beginning of the seal."""

LONGEST = 64 * 1024
"""The most bytes of `extra_content` that an id carries. Signatures of calls have some hundred to some thousand."""

_DIGITS = 8

_FIELD = f'"{FIELD}"'.encode()


def holds_field(body: bytes) -> bool:
    """Whether `extra_content` stands as a field in a request's body. APIs other than chat refuse it."""
    return body.find(_FIELD) >= 0


def seal_of(extras: Extras) -> str | None:
    """A call's seal, or a message's, as it stands in its extras; None if it has none."""
    found = extras.get("chat", {}).get(FIELD)
    return None if found is None else bytes(found).decode()


def unsealed(extras: Extras) -> Extras:
    """The extras without the seal."""
    return {**extras, "chat": {name: value for name, value in extras["chat"].items() if name != FIELD}}


def sealed_id(id_: str, extras: Extras) -> str:
    """The id that a client gets for a call with these `extras`."""
    found = extras.get("chat", {}).get(FIELD)
    if found is None or len(found) > LONGEST:
        return id_
    payload = str(base64.urlsafe_b64encode(bytes(found)), "ascii").rstrip("=")
    return f"{id_}{MARK}{_checksum(payload)}{payload}"


def own_id(id_: str) -> str:
    """The id that the upstream gave, from the one that a client hands back."""
    return id_.partition(MARK)[0]


def opened(id_: str) -> tuple[str, Extras]:
    """The upstream's own id, and the call's extras with the seal that the id carried; none if it is damaged."""
    own, mark, sealed = id_.partition(MARK)
    if not mark:
        return id_, NO_EXTRAS
    seal = _seal_in(sealed)
    return own, NO_EXTRAS if seal is None else {"chat": {FIELD: seal}}


def _seal_in(sealed: str) -> Raw | None:
    """The `extra_content` behind the checksum; None for one that is not as it was sealed."""
    checksum, payload = sealed[:_DIGITS], sealed[_DIGITS:]
    if checksum != _checksum(payload):
        return None
    try:
        found = base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
    except (binascii.Error, ValueError):
        return None
    # A client can seal what it likes, so this must be an object before it is written unread.
    return None if reading.maybe(OBJECT, found) is None else Raw(found)


def _checksum(payload: str) -> str:
    return sha256(payload.encode(errors="surrogatepass")).hexdigest()[:_DIGITS]
