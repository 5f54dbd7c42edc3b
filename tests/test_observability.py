"""`docs/observability.md` says of every metric and every field of a log line what the code says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from plano.observability.access import Line
from plano.observability.metrics import LABELS, METRICS, labels_of
from plano.observability.series import Metric

PAGE = (Path(__file__).parents[1] / "docs" / "observability.md").read_text(encoding="utf-8")
SECTION = re.compile(
    r"^### `(?P<name>\w+)`\n\n(?P<kind>\w+), in (?P<unit>[^.]+)\. Labels: (?P<labels>[^.]+)\.\n\n(?P<meaning>.+)\n\n"
    r".+:\n\n```promql\n(?P<query>.+)\n```$",
    re.MULTILINE,
)
SECTIONS = {section["name"]: section for section in SECTION.finditer(PAGE)}


def test_every_metric_has_a_section_and_no_other() -> None:
    assert list(SECTIONS) == [metric.name for metric in METRICS]


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_metrics_section_says_what_the_code_says(metric: Metric) -> None:
    section = SECTIONS[metric.name]
    assert section["kind"].lower() == metric.kind
    assert section["unit"] == metric.unit
    assert section["meaning"] == metric.meaning
    assert re.findall(r"`(\w+)`", section["labels"]) == list(labels_of(metric))


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_metrics_query_asks_for_it_and_for_labels_that_it_has(metric: Metric) -> None:
    query = SECTIONS[metric.name]["query"]
    assert metric.name in query
    assert query.count("(") == query.count(")")
    known = {label for each in METRICS if each.name in query for label in (*labels_of(each), "le")}
    selected = re.findall(r"(\w+)=~?\"", query)
    grouped = [label for group in re.findall(r"(?:by|ignoring) \(([^)]*)\)", query) for label in group.split(", ")]
    assert {*selected, *grouped} <= known


def test_every_label_is_explained() -> None:
    _, table = PAGE.split("| Label | Values |\n| --- | --- |\n", 1)
    rows = table.split("\n\n", 1)[0].splitlines()
    explained = {label for row in rows for label in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert explained == {label for labels in LABELS.values() for label in labels}


def test_every_field_of_a_log_line_is_explained() -> None:
    _, table = PAGE.split("| Field | Meaning |\n| --- | --- |\n", 1)
    rows = table.split("\n\n", 1)[0].splitlines()
    explained = [label for row in rows for label in re.findall(r"`(\w+)`", row.split("|")[1])]
    assert sorted(explained) == sorted(Line.__struct_fields__)
