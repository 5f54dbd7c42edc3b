"""PromQL held against the metrics that there are: names, labels, and what can be matched with what."""

from __future__ import annotations

from typing import Any

import promql_parser as promql

from plano.observability.metrics import METRICS, labels_of
from plano.observability.series import Metric

SCRAPE = frozenset({"job", "instance"})
"""What Prometheus adds to every series."""

OTHERS = {"up": SCRAPE}
"""Metrics of Prometheus itself."""

COUNTING = ("rate", "increase", "irate")
SETS = ("and", "or", "unless")

Labels = frozenset[str] | None
"""The labels of an expression's series; None for a number."""


def check(expression: str) -> Labels:
    """The labels of what an expression results in; an AssertionError for what could never be."""
    return _labels(promql.parse(expression))


def _labels(node: Any) -> Labels:
    match type(node).__name__:
        case "NumberLiteral" | "StringLiteral":
            return None
        case "ParenExpr" | "UnaryExpr" | "SubqueryExpr":
            return _labels(node.expr)
        case "VectorSelector":
            return _selected(node)[1]
        case "MatrixSelector":
            return _selected(node.vector_selector)[1]
        case "Call":
            return _called(node)
        case "AggregateExpr":
            return _aggregated(node)
        case "BinaryExpr":
            return _combined(node)
        case other:
            raise AssertionError(f"what is {other}?")


def _selected(node: Any) -> tuple[Metric | None, frozenset[str]]:
    metric, labels = _series(node.name)
    for matcher in node.matchers.matchers:
        assert matcher.name in labels, f"{node.name} has no label {matcher.name}"
    return metric, labels


def _series(name: str) -> tuple[Metric | None, frozenset[str]]:
    """The metric that a series belongs to, and the labels it has."""
    if name in OTHERS:
        return None, OTHERS[name]
    for metric in METRICS:
        labels = SCRAPE | set(labels_of(metric))
        if metric.kind != "histogram" and name == metric.name:
            return metric, labels
        if metric.kind == "histogram" and name == f"{metric.name}_bucket":
            return metric, labels | {"le"}
        if metric.kind == "histogram" and name in (f"{metric.name}_sum", f"{metric.name}_count"):
            return metric, labels
    raise AssertionError(f"there is no metric {name}")


def _called(node: Any) -> Labels:
    name = node.func.name
    if name in COUNTING:
        metric, labels = _selected(node.args[0].vector_selector)
        assert metric is not None, f"{name} is for counters"
        assert metric.kind != "gauge", f"{name} of a gauge, {metric.name}"
        return labels
    if name == "histogram_quantile":
        share, inner = node.args
        assert 0 < share.val < 1, f"a quantile of {share.val}"
        labels = _labels(inner)
        assert labels is not None, "histogram_quantile of a number"
        assert "le" in labels, "histogram_quantile needs `le`"
        return labels - {"le"}
    if name == "clamp_max":
        return _labels(node.args[0])
    if name == "vector":
        return frozenset()
    raise AssertionError(f"{name} is not looked into; add it here")


def _aggregated(node: Any) -> Labels:
    inner = _labels(node.expr)
    assert inner is not None, "an aggregate of a number"
    if str(node.op) in ("topk", "bottomk"):
        return inner
    modifier = node.modifier
    if modifier is None:
        return frozenset()
    named = frozenset(modifier.labels)
    assert named <= inner, f"{node.op!s} by {sorted(named - inner)}, which is no label there"
    return named if modifier.type == promql.AggModifierType.By else inner - named


def _combined(node: Any) -> Labels:
    left, right = _labels(node.lhs), _labels(node.rhs)
    if left is None or right is None:
        return right if left is None else left
    operator, modifier = str(node.op), node.modifier
    matching = None if modifier is None else modifier.matching
    if matching is not None:
        named = frozenset(matching.labels)
        both = named if matching.type == promql.LabelModifierType.Include else (left | right) - named
        assert both <= left & right, f"`{operator}` matches {sorted(both)}, which not both sides have"
        return left
    if operator not in SETS:
        assert left == right, f"`{operator}` between {sorted(left)} and {sorted(right)} matches nothing"
    return left
