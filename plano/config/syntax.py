"""Says in plain words why a text is not YAML, and how it may have come about."""

from __future__ import annotations

import re
from collections.abc import Mapping

import yaml
from msgspec import Struct
from yaml.reader import ReaderError

_TOKENS: Mapping[str, str] = {
    "<block end>": "the end of the block",
    "<block mapping start>": "a key",
    "<block sequence start>": "a list",
    "<scalar>": "a value",
    "<stream end>": "the end of the file",
    "<document start>": "a second document",
}
"""PyYAML's names of tokens, in plain words."""

_HINTS = (
    (r"character '\\t'|tab", "Indent with blanks, because YAML takes no tabs"),
    (r"quoted scalar.*end of stream|quoted scalar.*document separator", "The quote that opens here is never closed"),
    (r"quoted scalar.*escape", "In double quotes a backslash begins an escape; use single quotes"),
    (
        r"mapping values are not allowed",
        "Check the indentation, the blank after a colon, and put a value with `: ` in quotes",
    ),
    (r"could not find expected ':'", "A key needs a colon and a blank after it; check for an unclosed quote too"),
    (r"flow (mapping|sequence).*expected ',' or", "Check that the bracket that opens on line {line} is closed"),
    (r"scanning an? (alias|anchor)", "Put a value that begins with `*` or `&` in quotes"),
    (r"character '[@`%|>]' that", "Put a value that begins with this character in quotes"),
    (r"undefined alias", "Put a value that begins with `*` in quotes"),
    (r"constructor for the tag|tag handle|scanning a tag", "Put a value that begins with `!` in quotes"),
    (r"block (mapping|collection|sequence)", "Check the quotes, and the indentation against that of line {line}"),
    (r"expected a single document", "One file has one configuration; take out the `---` in the middle"),
)
"""Hints by a pattern of the error; the first that matches is given. `{line}` is the line on which the list, mapping or
scalar began."""

_AT_ITS_BEGINNING = re.compile(r"quoted scalar|could not find expected ':'")
"""Errors that are noticed long after the mistake. They are reported where the text in question begins."""

_QUOTATION = re.compile(r""" (?:'(?!<)(?:\\.|[^'\\]){5,}'|"(?:\\.|[^"\\]){5,}")""", re.DOTALL)
"""A quotation of the document, which may be a key. A quotation of a few characters is a mark of YAML, not a key."""


class Mistake(Struct, frozen=True):
    """A place in the text, counted from 1 and None if unknown, and the sentence about it."""

    line: int | None
    column: int | None
    message: str


def unfit(text: str, error: ReaderError) -> Mistake:
    """Describes a character that YAML does not allow anywhere."""
    before = text[: error.position]
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    code = f"U+{ord(text[error.position]):04X}"
    return Mistake(line, column, f"is not YAML: column {column}: has the character {code}, which YAML does not allow")


def mistake(error: yaml.MarkedYAMLError) -> Mistake:
    """Describes an error of PyYAML's. The document is not quoted, because it may hold credentials."""
    whole = f"{error.context or ''} {error.problem or ''}"
    early = _AT_ITS_BEGINNING.search(whole) is not None
    mark = (error.context_mark if early else None) or error.problem_mark or error.context_mark
    began = error.context_mark or mark
    hint = next((hint for pattern, hint in _HINTS if re.search(pattern, whole, re.DOTALL)), "")
    if hint and began is not None:
        hint = f". {hint.format(line=began.line + 1)}"
    parts = [part for part in (error.context, error.problem) if part] or ["it cannot be read"]
    said = _QUOTATION.sub("", ", ".join(parts))
    for token, words in _TOKENS.items():
        said = said.replace(f"'{token}'", words).replace(token, words)
    if mark is None:
        return Mistake(None, None, f"is not YAML: {said}{hint}")
    return Mistake(mark.line + 1, mark.column + 1, f"is not YAML: column {mark.column + 1}: {said}{hint}")
