"""The problems of a configuration, each with its place in the file."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Literal, TypeAlias

from msgspec import Struct

from plano.errors import ConfigError

Severity: TypeAlias = Literal["error", "warning"]


class Problem(Struct, frozen=True, kw_only=True):
    """One error, or one warning about something that has no effect or is probably not meant.

    Attributes:
        file: the path as it was given, or `config` for a dictionary.
        line: counted from 1; None for a dictionary.
        column: of the key, or of the item of a list, counted from 1; None if it is unknown.
        path: the key, such as `model_providers[0].access_key`; "" for the whole configuration.
        message: says what is wrong or what would be right, and never holds a credential.
        severity: an `error` keeps plano from starting, a `warning` does not.
    """

    file: str
    line: int | None
    column: int | None = None
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
        self._columns: dict[tuple[int, str], int] = {}
        self._lines: dict[str, int] = {}

    def place(self, path: str, line: int, column: int) -> None:
        """Notes where a key or an item of a list stands, both counted from 1."""
        self._columns[line, path] = column
        self._lines[path] = line

    def line_of(self, path: str) -> int | None:
        """The line of a key or an item; None if the configuration did not come from a file."""
        return self._lines.get(path)

    def error(self, line: int | None, path: str, message: str, *, column: int | None = None) -> None:
        """Adds a problem that keeps plano from starting."""
        self._add(line, path, message, "error", column)

    def warn(self, line: int | None, path: str, message: str) -> None:
        """Adds a problem that plano can start with."""
        self._add(line, path, message, "warning")

    def _add(self, line: int | None, path: str, message: str, severity: Severity, column: int | None = None) -> None:
        column = column or self.column(line, path)
        self.found.append(
            Problem(file=self.file, line=line, column=column, path=path, message=message, severity=severity)
        )

    def column(self, line: int | None, path: str) -> int | None:
        """The column of a key or, if the key is missing, of what it is missing in."""
        while line is not None and path and (line, path) not in self._columns:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return None if line is None else self._columns.get((line, path))

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """The warnings, in the order of the file."""
        return tuple(problem for problem in self._sorted() if problem.severity == "warning")

    @property
    def has_errors(self) -> bool:
        """Whether there is a problem that keeps plano from starting."""
        return any(problem.severity == "error" for problem in self.found)

    def raise_errors(self) -> None:
        """Raises ConfigError with the errors in the order of the file, if there are any, and with the warnings."""
        errors = [problem for problem in self._sorted() if problem.severity == "error"]
        if errors:
            raise ConfigError(errors, warnings=self.warnings)

    def _sorted(self) -> list[Problem]:
        return sorted(self.found, key=lambda problem: (problem.line or 0, problem.column or 0))


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that is most similar; None if none is similar."""
    near = difflib.get_close_matches(word, list(known), 1, 0.6)
    return near[0] if near else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint, ` Did you mean `x`?` with a leading blank; empty if no known word is similar."""
    near = nearest(word, known)
    return f" Did you mean `{near}`?" if near else ""


def one_of(words: Iterable[str]) -> str:
    """The words as a sentence lists them: `a`, `b` or `c`."""
    *most, last = (f"`{word}`" for word in words)
    return f"{', '.join(most)} or {last}" if most else last
