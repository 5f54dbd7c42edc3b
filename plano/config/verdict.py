"""The verdict of `plano check` about a configuration, as JSON and as the status it exits with."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from plano.config.problems import Problem
from plano.errors import ConfigError

MOST_SHOWN = 50
"""Problems on a terminal. The JSON has all of them."""


class Verdict(Struct, frozen=True, kw_only=True):
    """The verdict about one configuration.

    Attributes:
        file: its path as it was given; None if it did not come from a file.
        problems: all of them, in the order of the file, errors and warnings.
        description: what the configuration does, with its warnings; "" if it has errors.
    """

    file: str | None
    problems: Sequence[Problem]
    description: str = ""

    @property
    def errors(self) -> list[Problem]:
        """The problems that keep plano from starting."""
        return [problem for problem in self.problems if problem.severity == "error"]

    def status(self, *, strict: bool) -> int:
        """The status to exit with: 0, or 1 because of errors or, if it is strict, of any problem."""
        return 1 if self.errors or (strict and self.problems) else 0

    def as_json(self, *, strict: bool) -> str:
        """One object: `file`, `valid`, and `problems` with `line`, `column`, `key`, `severity` and `message` each."""
        problems = [
            {
                "line": problem.line,
                "column": problem.column,
                "key": problem.path,
                "severity": problem.severity,
                "message": problem.message,
            }
            for problem in self.problems
        ]
        said = {"file": self.file, "valid": self.status(strict=strict) == 0, "problems": problems}
        return msgspec.json.encode(said).decode()


def refused(error: ConfigError, file: str | None) -> Verdict:
    """The verdict about a configuration that cannot be used."""
    found = [_problem(each, file) for each in (*error.found, *error.warnings)]
    return Verdict(file=file, problems=sorted(found, key=lambda problem: (problem.line or 0, problem.column or 0)))


def _problem(found: object, file: str | None) -> Problem:
    """Makes a problem of a text, which knows no place."""
    return found if isinstance(found, Problem) else Problem(file=file or "", line=None, path="", message=str(found))


def bounded(lines: Sequence[str]) -> list[str]:
    """The first lines, and how many more there are."""
    more = len(lines) - MOST_SHOWN
    return [*lines[:MOST_SHOWN], f"and {more} more"] if more > 0 else list(lines)
