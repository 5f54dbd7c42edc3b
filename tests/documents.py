"""The examples in the documents, as tests find them."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def examples(document: str, language: str) -> list[str]:
    """The fenced blocks of one language in a document, in order."""
    found = [code for name, code in _FENCE.findall((ROOT / document).read_text()) if name == language]
    assert found, f"{document} has no {language} example"
    return found
