"""Decides which values a message may show.

Credentials often end up under the wrong key, so a message shows a value only if it cannot be one. A name of a model
consists of short words (`claude-sonnet-4-5-20250929`, `accounts/fireworks/models/llama-v3p1-405b-instruct`). A
credential has a vendor's prefix, or a long word that nobody would write by hand.
"""

from __future__ import annotations

import re

_PREFIX = re.compile(
    r"(?i)\b(?:bearer|basic) "
    r"|\b(?:sk|pk|rk|gsk|csk|nvapi|tgp|dop|ghp|gho|ghs|github_pat|glpat|xox[a-z]|vck|key|token|secret)[-_](?=\S*\d)"
    r"|\b(?:AIza|AKIA|ASIA|eyJ|ABSK)\w{6}"
)
"""The beginnings of the credentials of vendors in the catalogue, of cloud platforms and of web tokens."""

_WORD = re.compile(r"[A-Za-z0-9+=]{16,}")
_LONGEST_WORD = 32
_HEXADECIMAL = re.compile(r"(?i)(?:[0-9a-f]-?){20,}")
_IN_URL = re.compile(r"://[^/\s]*@|[?&][^=\s]*=")
"""A user and a password, or a query, which may hold a key."""

_NAME = re.compile(r"[\w./:@*+-]+")
_LONGEST_NAME = 120
_LONGEST_TEXT = 40


def shown(value: object) -> str:
    """The form in which a message shows a value. A text that is long or may be a credential is only described."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "nothing"
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f"`{text}`" if is_harmless(text) else f"text of {len(text)} characters"


def shown_key(key: str) -> str:
    """The form in which a path shows a key. Without the blank in `access_key: k`, the credential is part of the key."""
    return key if is_harmless(key) else f"(text of {len(key)} characters)"


def is_harmless(text: str) -> bool:
    """Whether a text cannot be a credential, and is short enough for a message."""
    if len(text) > (_LONGEST_NAME if _NAME.fullmatch(text) else _LONGEST_TEXT):
        return False
    if _PREFIX.search(text) or _HEXADECIMAL.search(text) or _IN_URL.search(text):
        return False
    return not any(_looks_random(word) for word in _WORD.findall(text))


def _looks_random(word: str) -> bool:
    """Whether a long word has digits among its letters, or is longer than any that is written to be read."""
    return len(word) >= _LONGEST_WORD or (any(map(str.isdigit, word)) and any(map(str.isalpha, word)))
