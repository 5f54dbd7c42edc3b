"""Fits the calls in a chat history to what its server knows of Google's seals.

Google's chat endpoint seals calls: the first call of each step has a thought signature in `extra_content`, and Gemini 3
refuses a history in which it is missing ("Thought signatures"). For calls that another model made, the same page names
a text that stands in for the signature. No other server knows the field, and strict ones refuse it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Raw

from plano.dialects.call_seals import FIELD
from plano.losses import Losses

STAND_IN = Raw(b'{"google":{"thought_signature":"skip_thought_signature_validator"}}')
"""The `extra_content` of a call that Gemini did not make ("Thought signatures", section "FAQs")."""

ONE_VENDOR = "only the vendor that it came from knows it"


def fit_seals(calls: Sequence[dict[str, Any]], wanted: str | None, losses: Losses) -> None:
    """Take the seals out of one message's calls, or give the first call one. `wanted` is `call_seals` of the server's
    row."""
    if wanted == "needed" and calls:
        calls[0].setdefault(FIELD, STAND_IN)
    elif wanted == "refused" and sum(call.pop(FIELD, None) is not None for call in calls):
        losses.drop("messages.tool_calls.extra_content", ONE_VENDOR)
