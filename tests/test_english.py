"""Docstrings and documents are in sentences or noun phrases that a reader understands at the first reading."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

OPENINGS = {
    "a clause stands for a noun": r"^(What|Who|Whom|Whose|Whoever|Whatever|Where|Wherever|Which)\b",
    "a preposition has nothing before it": r"^(Of|For|To|By|With|From)\b",
}
ANYWHERE = {
    "say who or what: the caller, the upstream, any": r"(?i)\b(whoever|whatever|whichever|whomever|wherever)\b",
    "because, not for": r"[,;:] for (they|he|she|we|there|nobody|nothing|it (is|has|was|had|does|would|may|can))\b",
}
RULES = OPENINGS | ANYWHERE
"""Patterns that no docstring may match, by the fault that each finds; those of `ANYWHERE` hold for documents too."""

FOLDERS = ("plano", "filters", "providers", "benchmarks", "scripts")
"""The folders whose docstrings keep the rules."""

DOCUMENTS = (
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "README.md",
    "benchmarks/README.md",
    "docs/configuration.md",
    "docs/filters.md",
    "docs/observability.md",
    "docs/reference.md",
    "docs/state.md",
    "docs/resilience.md",
    "docs/testing.md",
    "docs/translation.md",
)

Docstring = tuple[str, int, str]
"""A path, a line and a text."""


def _texts(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """The docstrings in a module, those that stand below an assignment included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.lineno, node.value.value.strip()


@cache
def docstrings() -> tuple[Docstring, ...]:
    found: list[Docstring] = []
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if not name.startswith(("plano/filters/", "plano/providers/")):
                found += [(name, line, text) for line, text in _texts(ast.parse(path.read_text()))]
    return tuple(found)


def offences(rule: str) -> list[Docstring]:
    return [each for each in docstrings() if re.search(RULES[rule], each[2])]


@pytest.mark.parametrize("rule", RULES)
def test_a_docstring_is_understood_at_the_first_reading(rule: str) -> None:
    found = [f"{name}:{line}: {text[:70]}" for name, line, text in offences(rule)]
    assert not found, "\n".join([rule, *found])


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_that_keeps_the_rules_has_docstrings(folder: str) -> None:
    assert any(name.startswith(f"{folder}/") for name, _, _ in docstrings())


@pytest.mark.parametrize("document", DOCUMENTS)
@pytest.mark.parametrize("rule", ANYWHERE)
def test_a_document_is_understood_at_the_first_reading(rule: str, document: str) -> None:
    text = (ROOT / document).read_text()
    found = [f"{document}:{text.count(chr(10), 0, match.start()) + 1}" for match in re.finditer(ANYWHERE[rule], text)]
    assert not found, "\n".join([rule, *found])


@pytest.mark.parametrize(
    "text",
    [
        "What is stored.",
        "Who may ask.",
        "Which provider answered.",
        "Of a request: what it continues.",
        "For each operation.",
        "A function for whoever asks.",
        "It waits, for it is busy.",
        "It waits, for nobody closed the store.",
    ],
)
def test_a_docstring_that_must_be_read_twice_is_found(text: str) -> None:
    assert any(re.search(rule, text) for rule in RULES.values())


@pytest.mark.parametrize(
    "text",
    ["Whether several processes share it.", "`state_storage` of the configuration.", "Time, for this request alone."],
)
def test_a_plain_docstring_is_left_alone(text: str) -> None:
    assert not any(re.search(rule, text) for rule in RULES.values())
