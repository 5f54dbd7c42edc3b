"""Seals the summary of a conversation in a `compaction` item, and opens it when it comes back.

Only its maker can read an item's `encrypted_content`. Here that is a text in base64 behind a mark and a checksum. It
holds nothing that its client did not say or hear, so it need not be secret; the checksum notices damage.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from hashlib import sha256

from plano.conversation import Part, Text
from plano.dialects.signatures import MARK

TYPE = "compaction"

TRIGGER = "compaction_trigger"
"""The type of the item that asks for a compaction of all items before it."""

SEALED = f"{MARK}summary."
"""The beginning of the content that plano made."""

NOTE = "This is a summary of the conversation so far:\n\n"
"""The beginning of the message that a compaction becomes when it comes back."""

_DIGITS = 16


def is_note(parts: Sequence[Part]) -> bool:
    """Whether these parts of a message are what a compaction became."""
    return bool(parts) and isinstance(first := parts[0], Text) and first.text.startswith(NOTE)


def seal(summary: str) -> str:
    """The `encrypted_content` that holds a summary."""
    payload = str(base64.b64encode(summary.encode("utf-8", "replace")), "ascii")
    return f"{SEALED}{_checksum(payload)}.{payload}"


def opened(sealed: str) -> str | None:
    """The summary in `encrypted_content`; None if it is damaged, or not plano's."""
    checksum, _, payload = sealed.removeprefix(SEALED).partition(".")
    if not sealed.startswith(SEALED) or checksum != _checksum(payload):
        return None
    try:
        return str(base64.b64decode(payload, validate=True), "utf-8")
    except (binascii.Error, ValueError):
        return None


def _checksum(payload: str) -> str:
    return sha256(payload.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS]
