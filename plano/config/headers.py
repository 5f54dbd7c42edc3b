"""What a header of HTTP can carry (RFC 9110, section 5.5), and what a key that goes into one comes to."""

from __future__ import annotations

import re

_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_KEY = re.compile(r"[\x20-\x7e]*")

_UNFIT = "has a character that a header cannot carry"


def wrong_value(text: str) -> str | None:
    """What is wrong with a header's value, without quoting it; None if it is right."""
    return None if _VALUE.fullmatch(text) is not None else _UNFIT


def wrong_key(text: str) -> str | None:
    """What is wrong with a key, without quoting it; None if it is right.

    Stricter than other values: what is not ASCII is read in different ways by different servers, and no key has it.
    """
    return None if _KEY.fullmatch(text) is not None else _UNFIT


def without_outer_blanks(text: str) -> str:
    """A key as it was meant: `echo key | base64`, usual for Kubernetes' secrets, leaves a newline at its end."""
    return text.strip()
