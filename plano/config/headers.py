"""Checks values and keys that go into headers of HTTP (RFC 9110, section 5.5)."""

from __future__ import annotations

import re

_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_KEY = re.compile(r"[\x20-\x7e]*")

_UNFIT = "has a character that a header cannot carry"


def is_name(text: str) -> bool:
    """Whether a text is a valid name for a header."""
    return _NAME.fullmatch(text) is not None


def wrong_value(text: str) -> str | None:
    """Says what is wrong with a header's value, without quoting it; None if it is valid."""
    return None if _VALUE.fullmatch(text) is not None else _UNFIT


def wrong_key(text: str) -> str | None:
    """Says what is wrong with a key, without quoting it; None if it is valid.

    A key must be ASCII, unlike other values: servers differ in how they read the rest, and no key needs it.
    """
    return None if _KEY.fullmatch(text) is not None else _UNFIT


def without_outer_blanks(text: str) -> str:
    """Removes the blanks around a key, because `echo key | base64`, usual for Kubernetes' secrets, adds a newline."""
    return text.strip()
