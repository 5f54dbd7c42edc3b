"""The problems of a configuration, each with its place in the file."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Literal, TypeAlias

from msgspec import Struct

from plano.errors import ConfigError

Severity: TypeAlias = Literal["error", "warning"]

_LIKE_A_KEY = re.compile(r"(?i)bearer |^[a-z]{2,6}[-_](?=.*\d)|^AIza")
_LONGEST_SHOWN = 40


class Problem(Struct, frozen=True, kw_only=True):
    """One error, or one warning about something that has no effect or is probably not meant.

    Attributes:
        file: the path as it was given, or `config` for a dictionary.
        line: counted from 1; None for a dictionary.
        path: the key, such as `model_providers[0].access_key`; "" for the whole configuration.
        message: says what is wrong or what would be right, and never holds a credential.
        severity: an `error` keeps plano from starting, a `warning` does not.
    """

    file: str
    line: int | None
    path: str
    message: str
    severity: Severity = "error"

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return ": ".join(part for part in (place, self.path, self.message) if part)


class Problems:
    """Collects the problems of one configuration, so that all are reported and not only the first.

    Attributes:
        file: as in `Problem`.
        found: in the order in which they were found.
    """

    def __init__(self, file: str) -> None:
        self.file = file
        self.found: list[Problem] = []

    def error(self, line: int | None, path: str, message: str) -> None:
        """Adds a problem that keeps plano from starting."""
        self._add(line, path, message, "error")

    def warn(self, line: int | None, path: str, message: str) -> None:
        """Adds a problem that plano can start with."""
        self._add(line, path, message, "warning")

    def _add(self, line: int | None, path: str, message: str, severity: Severity) -> None:
        self.found.append(Problem(file=self.file, line=line, path=path, message=message, severity=severity))

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """The warnings, in the order of the file."""
        return tuple(problem for problem in self._sorted() if problem.severity == "warning")

    def raise_errors(self) -> None:
        """Raises ConfigError with a line for each error, in the order of the file, if there are any."""
        errors = [str(problem) for problem in self._sorted() if problem.severity == "error"]
        if errors:
            raise ConfigError(errors)

    def _sorted(self) -> list[Problem]:
        return sorted(self.found, key=lambda problem: problem.line or 0)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint, ` Did you mean `x`?` with a leading blank; empty if no known word is similar."""
    near = difflib.get_close_matches(word, list(known), 1, 0.6)
    return f" Did you mean `{near[0]}`?" if near else ""


def one_of(words: Iterable[str]) -> str:
    """The words as a sentence lists them: `a`, `b` or `c`."""
    *most, last = (f"`{word}`" for word in words)
    return f"{', '.join(most)} or {last}" if most else last


def shown(value: object) -> str:
    """The form in which a message shows a value. A text that is long or looks like a credential is only described,
    because credentials often end up under the wrong key."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "nothing"
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if len(text) > _LONGEST_SHOWN or _LIKE_A_KEY.search(text):
        return f"text of {len(text)} characters"
    return f"`{text}`"
