"""The reference page and the names that documents use, beside the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import plano
import plano.conversation
import plano.errors
from scripts import reference
from tests.documents import ROOT

DOCUMENTS = [path.relative_to(ROOT).as_posix() for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))]
_IMPORTED = re.compile(r"^from plano import (.+)$", re.MULTILINE)
_ROW = re.compile(r"^\| `(\w+)` \| `plano\.", re.MULTILINE)


def imported() -> set[str]:
    """The names that the documents import from `plano`."""
    found = [names for document in DOCUMENTS for names in _IMPORTED.findall((ROOT / document).read_text())]
    return {name.strip() for names in found for name in names.split(",")}


def test_the_page_is_what_the_docstrings_say() -> None:
    assert reference.main("--check") == 0, "run `make docs`"


def test_a_stale_page_is_found_and_mended(tmp_path: Path) -> None:
    page = tmp_path / "reference.md"
    assert reference.main("--check", path=page) == 1
    page.write_text("old")
    assert reference.main("--check", path=page) == 1
    assert reference.main(path=page) == 0
    assert page.read_text() == reference.page()
    assert reference.main("--check", path=page) == 0


def test_the_names_of_the_package_are_the_documented_ones() -> None:
    names = set(plano.__all__) - {"__version__"}
    assert set(_ROW.findall(reference.PAGE.read_text())) == names
    assert imported() <= names
    assert all(hasattr(plano, name) for name in plano.__all__)


@pytest.mark.parametrize("module", [plano.conversation, plano.errors])
def test_every_public_class_is_on_the_page(module: object) -> None:
    page = reference.PAGE.read_text()
    classes = [
        name
        for name, value in vars(module).items()
        if isinstance(value, type) and not name.startswith("_") and value.__module__ == module.__name__  # type: ignore[attr-defined]
    ]
    assert len(classes) > 20
    assert [name for name in classes if f"#### `{name}`" not in page and f"| `{name}` |" not in page] == []
