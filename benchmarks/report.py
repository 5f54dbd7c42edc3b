"""Numbers with their spread, tables of numbers, and the file that holds the tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isnan
from pathlib import Path
from statistics import median

BEGIN, END = "<!-- results: written by `python -m benchmarks --write` -->", "<!-- end of results -->"


class Figure:
    """The median of several repeats, shown with the lowest and the highest of them."""

    def __init__(self, values: Sequence[float] = ()) -> None:
        self.values = [value for value in values if not isnan(value)]

    @property
    def median(self) -> float:
        return median(self.values) if self.values else float("nan")

    def __str__(self) -> str:
        if not self.values:
            return "–"
        low, high = rounded(min(self.values)), rounded(max(self.values))
        middle = rounded(self.median)
        return middle if low == high else f"{middle} ({low}–{high})"


def rounded(value: float) -> str:
    """Rounds to three digits, because such measurements have no more."""
    if isnan(value):
        return "–"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


@dataclass
class Table:
    """A table of results; cells are shown by `str`."""

    title: str
    heads: Sequence[str]
    rows: list[Sequence[object]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, *cells: object) -> None:
        self.rows.append(cells)

    def __str__(self) -> str:
        lines = [f"### {self.title}", ""]
        lines += ["| " + " | ".join(self.heads) + " |", "| --- " + "| ---: " * (len(self.heads) - 1) + "|"]
        lines += ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in self.rows]
        for note in self.notes:
            lines += ["", note]
        return "\n".join(lines) + "\n"


def _cell(value: object) -> str:
    return rounded(value) if isinstance(value, float) else str(value)


def write(path: Path, text: str) -> None:
    """Replaces the results in the Markdown file at `path` with `text`."""
    before, _, rest = path.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    path.write_text(f"{before}{BEGIN}\n\n{text.strip()}\n\n{END}{after}")
