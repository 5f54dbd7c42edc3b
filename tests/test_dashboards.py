"""The Grafana dashboard, the scrape configuration and the alerts, held against the metrics that the code has."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml

from plano.observability.metrics import METRICS, labels_of
from tests.documents import ROOT
from tests.promql import check

DASHBOARD: dict[str, Any] = json.loads((ROOT / "config" / "grafana" / "plano.json").read_text(encoding="utf-8"))
PROMETHEUS: dict[str, Any] = yaml.safe_load((ROOT / "config" / "prometheus.yml").read_text(encoding="utf-8"))
ALERTS: dict[str, Any] = yaml.safe_load((ROOT / "config" / "alerts.yml").read_text(encoding="utf-8"))

PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
RULES: list[dict[str, Any]] = [rule for group in ALERTS["groups"] for rule in group["rules"]]
QUERIES = [(panel, target) for panel in PANELS for target in panel["targets"]]

DOLLARS = re.compile(r"\{\{\s*\$labels\.(\w+)\s*\}\}")
LEGEND = re.compile(r"\{\{(\w+)\}\}")
LABEL_VALUES = re.compile(r"label_values\((?P<selector>\w+(?:\{.*\})?), (?P<label>\w+)\)")


def plain(expression: str) -> str:
    """As Grafana sends it: variables filled in."""
    return re.sub(r"\$__(rate_)?interval", "5m", expression).replace("$provider", ".*").replace("$model", ".*")


@pytest.mark.parametrize(("panel", "target"), QUERIES, ids=[f"{p['title']}-{t['refId']}" for p, t in QUERIES])
def test_every_query_of_the_dashboard_asks_for_what_there_is(panel: dict[str, Any], target: dict[str, Any]) -> None:
    labels = check(plain(target["expr"]))
    assert labels is not None
    assert set(LEGEND.findall(target["legendFormat"])) <= labels
    if not LEGEND.search(target["legendFormat"]):
        assert labels == frozenset(), f"{panel['title']}: several series with one name"


def test_every_metric_is_on_the_dashboard() -> None:
    shown = " ".join(target["expr"] for _, target in QUERIES) + DASHBOARD["annotations"]["list"][0]["expr"]
    assert [metric.name for metric in METRICS if metric.name not in shown] == []


def test_what_can_be_chosen_are_labels_that_there_are() -> None:
    source, *chosen = DASHBOARD["templating"]["list"]
    assert (source["type"], source["query"]) == ("datasource", "prometheus")
    for variable in chosen:
        match = LABEL_VALUES.fullmatch(variable["query"]["query"])
        assert match, variable["query"]
        labels = check(plain(match["selector"]))
        assert labels is not None
        assert match["label"] in labels
        assert variable["definition"] == variable["query"]["query"]
    used = set(re.findall(r"\$(?!__)\{?(\w+)\}?", json.dumps(DASHBOARD["panels"])))
    assert used == {variable["name"] for variable in (source, *chosen)}


def test_annotations_ask_for_what_there_is() -> None:
    for annotation in DASHBOARD["annotations"]["list"]:
        labels = check(plain(annotation["expr"]))
        assert labels is not None
        assert set(LEGEND.findall(annotation["titleFormat"])) <= labels


def test_panels_lie_side_by_side_and_say_what_they_show() -> None:
    taken: set[tuple[int, int]] = set()
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    assert len({panel["title"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, f"{panel['title']} covers another panel"
        taken |= cells
    for panel in PANELS:
        assert panel["description"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        for holder in (panel, *panel["targets"]):
            assert holder["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


def test_charts_say_what_they_count_and_show_all_of_their_legends() -> None:
    for panel, target in QUERIES:
        defaults = panel["fieldConfig"]["defaults"]
        if "rate(" in target["expr"]:
            assert defaults["unit"] != "short", f"{panel['title']}: of what, a second?"
        if panel["title"].startswith("Share of"):
            assert (defaults["unit"], defaults["max"]) == ("percentunit", 1)
        if panel["type"] == "timeseries":
            assert panel["options"]["legend"]["displayMode"] == "list", "of a table three rows are seen"


def test_models_without_traffic_are_no_lines_without_points() -> None:
    """What divides by their count, or is a quantile of nothing, is NaN: in the legend, and nowhere in the chart."""
    for panel, target in QUERIES:
        expression = target["expr"]
        divides = ") / sum by" in expression or expression.startswith("histogram_quantile")
        if divides and LEGEND.search(target["legendFormat"]):
            assert expression.endswith(" >= 0"), panel["title"]


def test_the_dashboard_can_be_imported_anywhere() -> None:
    assert DASHBOARD["id"] is None, "Grafana gives it one"
    assert DASHBOARD["uid"] == "plano"
    assert DASHBOARD["schemaVersion"] >= 36


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_every_alert_asks_for_what_there_is_and_says_which(rule: dict[str, Any]) -> None:
    labels = check(rule["expr"])
    assert labels is not None
    assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert set(rule["annotations"]) == {"summary", "description"}
    named = {label for text in rule["annotations"].values() for label in DOLLARS.findall(text)}
    assert named <= labels
    assert labels - named <= {"job", "provider", "instance"}, "the alert does not say which of several it is about"
    assert re.search(r"(==|>|<) ", rule["expr"]), "an alert compares"
    assert re.fullmatch(r"\d+[smh]", rule.get("for", "0s"))


def test_there_are_alerts_for_what_wakes_people_up() -> None:
    names = [rule["alert"] for rule in RULES]
    assert len(set(names)) == len(names)
    assert {"PlanoErrorRate", "PlanoFirstTokenSlow", "PlanoStoreDown", "PlanoLossSpike", "PlanoDown"} <= set(names)


def test_the_docs_say_of_every_alert_what_to_do() -> None:
    page = (ROOT / "docs" / "observability.md").read_text(encoding="utf-8")
    _, table = page.split("| Alert | It fires when | What to do |\n| --- | --- | --- |\n", 1)
    rows = [row.split(" | ") for row in table.split("\n\n", 1)[0].splitlines()]
    assert sorted(name.strip("|` ") for name, _, _ in rows) == sorted(rule["alert"] for rule in RULES)
    assert all(len(todo) > 10 for _, _, todo in rows)


def test_bounds_of_alerts_on_quantiles_can_be_reached() -> None:
    for rule in RULES:
        for name, bound in re.findall(r"rate\((\w+)_bucket.*?>\s*([\d.]+)", rule["expr"], re.DOTALL):
            (metric,) = (metric for metric in METRICS if metric.name == name)
            assert float(bound) < max(metric.bounds), rule["alert"]


def test_prometheus_scrapes_plano_and_reads_the_alerts() -> None:
    (job,) = PROMETHEUS["scrape_configs"]
    assert job["job_name"] == "plano"
    assert job["metrics_path"] == "/metrics"
    assert job["static_configs"] == [{"targets": ["127.0.0.1:12000"]}]
    for file in PROMETHEUS["rule_files"]:
        assert (ROOT / "config" / file).is_file()


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ("rate(plano_request_total[5m])", "no metric"),
        ("rate(plano_requests_in_flight[5m])", "of a gauge"),
        ("gen_ai_client_token_usage", "no metric"),
        ('plano_requests_total{modle="x"}', "no label modle"),
        ("sum by (origin) (rate(plano_requests_total[5m]))", "no label there"),
        ("histogram_quantile(0.9, sum(rate(plano_overhead_seconds_bucket[5m])))", "needs `le`"),
        ("histogram_quantile(95, rate(plano_overhead_seconds_bucket[5m]))", "a quantile of"),
        ("sum by (model) (plano_losses_total)", "no label there"),
        ("sum by (model) (rate(plano_requests_total[5m])) / sum(rate(plano_requests_total[5m]))", "matches nothing"),
    ],
)
def test_the_check_finds_what_is_wrong(wrong: str, why: str) -> None:
    with pytest.raises(AssertionError, match=re.escape(why)):
        check(wrong)


def test_labels_of_every_metric_are_known_to_the_check() -> None:
    for metric in METRICS:
        name = f"{metric.name}_count" if metric.kind == "histogram" else metric.name
        assert check(name) == {"job", "instance", *labels_of(metric)}
