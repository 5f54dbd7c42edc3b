"""Fits the calls in a chat body to what its server knows of Google's seals, for the rows of providers.

Google's chat endpoint seals calls: the first call of each step has a thought signature in `extra_content`, and Gemini 3
refuses a history in which it is missing ("Thought signatures"). For calls that another model made, the same page names
a text that stands in for the signature. No other server knows the field, and strict ones refuse it.
"""

from __future__ import annotations

from msgspec import Raw

from plano.dialects import reading
from plano.dialects.call_seals import FIELD
from plano.dialects.fields import OBJECTS, Object, raw_of
from plano.losses import Losses

WORDS = (FIELD,)
"""The words of which one stands in every body that `unseal` changes."""

CALLS = ("tool_calls",)
"""The words of which one stands in every body that `stand_in` changes."""

STAND_IN = Raw(b'{"google":{"thought_signature":"skip_thought_signature_validator"}}')
"""The `extra_content` of a call that Gemini did not make ("Thought signatures", section "FAQs")."""


def unseal(fields: dict[str, Raw], losses: Losses) -> None:
    """Take `extra_content` out of the messages of a body and out of their calls, and report it."""
    changed = False
    for message in (messages := _messages(fields)):
        calls = _calls(message)
        if sum(call.pop(FIELD, None) is not None for call in calls):
            message["tool_calls"] = raw_of(calls)
            losses.drop("messages.tool_calls.extra_content", "only the vendor that it came from knows it")
            changed = True
        if message.pop(FIELD, None) is not None:
            losses.drop("messages.extra_content", "only the vendor that it came from knows it")
            changed = True
    if changed:
        fields["messages"] = raw_of(messages)


def stand_in(fields: dict[str, Raw], extra_content: Raw = STAND_IN) -> None:
    """Give `extra_content` to the first call of each message whose first call has none."""
    changed = False
    for message in (messages := _messages(fields)):
        calls = _calls(message)
        if calls and FIELD not in calls[0]:
            calls[0][FIELD] = extra_content
            message["tool_calls"] = raw_of(calls)
            changed = True
    if changed:
        fields["messages"] = raw_of(messages)


def _messages(fields: dict[str, Raw]) -> list[Object]:
    """The messages of a body; none if they are not a list of objects, because the server says that better."""
    found = fields.get("messages")
    return [] if found is None else reading.maybe(OBJECTS, found) or []


def _calls(message: Object) -> list[Object]:
    found = message.get("tool_calls")
    return [] if found is None else reading.maybe(OBJECTS, found) or []
