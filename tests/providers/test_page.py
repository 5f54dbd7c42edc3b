"""docs/providers.md, beside the rows it is made of."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from plano.capabilities import Refused, Takes, Thinking
from plano.provider import Provider
from plano.providers import CATALOGUE
from scripts import providers


def test_the_page_is_made_from_the_rows() -> None:
    assert providers.main("--check") == 0, "run `make docs`"


def test_a_stale_page_is_found_and_mended(tmp_path: Path) -> None:
    page = tmp_path / "providers.md"
    assert providers.main("--check", path=page) == 1
    assert providers.main(path=page) == 0
    assert page.read_text() == providers.page()
    assert providers.main("--check", path=page) == 0


@pytest.mark.parametrize(
    "change",
    [
        {"thinking": Thinking("asked", ("low", "max"))},
        {"thinking": Thinking("default", switch="thinking", budget="budget")},
        {"thoughts": "reasoning"},
        {"thoughts": ""},
        {"developer": False},
        {"systems": "one"},
        {"renames": {"a": "b"}},
        {"refuses": (Refused(fields=("seed",), reason="r", harmless={"seed": 0}),)},
        {"excludes": {"seed": "n"}},
        {"knows": ("user",)},
        {"needs_thoughts": True},
        {"forces": "never"},
        {"adds": {"x": True}},
        {"apis": ("messages",)},
        {"max_tokens": 7},
    ],
)
def test_a_changed_row_changes_its_own_line(monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]) -> None:
    def page(takes: Takes) -> list[str]:
        rows: Mapping[str, Provider] = {**CATALOGUE, "groq": replace(groq, takes={**groq.takes, "new-": takes})}
        monkeypatch.setattr(providers, "CATALOGUE", rows)
        return providers.page().splitlines()

    groq = CATALOGUE["groq"]
    before, after = page(Takes()), page(Takes(**change))
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert len(changed) == 1
    assert all(line.startswith("| `new-` |") for line in changed[0])
