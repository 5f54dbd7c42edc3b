"""The rows that metrics are made of, and the arithmetic of series."""

from __future__ import annotations

import re
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from anthropic.types import message_create_params
from openai.types.chat import completion_create_params
from openai.types.responses import response_create_params
from prometheus_client import CollectorRegistry, Histogram

from plano import Plano
from plano.losses import LOSS_FIELDS
from plano.observability.instruments import Instruments, Served
from plano.observability.metrics import METRICS, labels_of
from plano.observability.series import Axis, Distribution, Family, Metric, Number
from plano.testing import FakeProvider
from tests.asgi import ask

ROOT = Path(__file__).parents[2]
SERVED = [Served("openai", "openai/gpt-4o", ("chat", "responses")), Served("groq", "groq/*", ("chat",))]


def family(kind: Any = "counter", **more: Any) -> Family[Any]:
    axes = [(Axis([("a",), ("b",)], ("other",)), 1), (Axis([("x", "1"), ("y", "2")], ("other", "0")), 2)]
    metric = Metric(name="plano_things_total", kind=kind, unit="things", meaning="Things.", **more)
    return Family(metric, ("one", "two", "three"), axes)


def test_a_value_that_is_not_allowed_is_counted_as_other_and_not_kept() -> None:
    found = family()
    found[("a", "x", "1")].inc()
    found[("made-up", "x", "1")].inc()
    found[("another", "x", "1")].inc()
    found[("a", "x", "2")].inc()  # each is allowed, but not together
    assert {key: series.value for key, series in found.items()} == {
        ("a", "x", "1"): 1,
        ("other", "x", "1"): 2,
        ("a", "other", "0"): 1,
    }


def test_a_distribution_counts_as_prometheus_own_histogram_does() -> None:
    bounds = (0.1, 1.0, 5.0)
    ours = Distribution(bounds)
    theirs = Histogram("h", "H.", registry=CollectorRegistry(), buckets=bounds)
    for value in (0.0, 0.1, 0.100001, 1.0, 3.0, 5.0, 5.1, 1e9, 2.5):
        ours.observe(value)
        theirs.observe(value)
    (metric,) = theirs.collect()
    expected = {(s.name, s.labels.get("le")): s.value for s in metric.samples if not s.name.endswith("_created")}
    assert {(s.name, s.labels.get("le")): s.value for s in ours.samples("h", {})} == expected


def test_what_is_observed_while_others_read_is_counted_once() -> None:
    distribution = Distribution((1.0, 2.0))
    values, done = 20_000, threading.Event()

    def read() -> None:
        while not done.is_set():
            distribution.fill_bins()

    readers = [threading.Thread(target=read) for _ in range(2)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for reader in readers:
            reader.start()
        for value in range(values):
            distribution.observe(value % 3 + 0.5)
        done.set()
        for reader in readers:
            reader.join()
    finally:
        sys.setswitchinterval(interval)
    found = {(sample.name, sample.labels.get("le")): sample.value for sample in distribution.samples("h", {})}
    assert found == {
        ("h_bucket", "1.0"): 6667,
        ("h_bucket", "2.0"): 13334,
        ("h_bucket", "+Inf"): values,
        ("h_count", None): values,
        ("h_sum", None): sum(value % 3 + 0.5 for value in range(values)),
    }


async def test_values_do_not_pile_up_where_nobody_scrapes() -> None:
    app = Plano({"model_providers": [{"model": "openai/m", "access_key": "k"}]}, transport=FakeProvider())
    asked = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
    for _ in range(300):
        await ask(app, "POST", "/v1/chat/completions", asked)
    (series,) = app._survivors.observing.instruments.duration.values()
    assert sum(series._counts) >= 256
    assert len(series._new) <= 44


def test_what_is_shared_is_brought_up_to_date_and_never_twice() -> None:
    class Shared:
        def __init__(self) -> None:
            self.value = 0.0

        def inc(self, amount: float) -> None:
            self.value += amount

    number, distribution = Number(), Distribution((1.0,))
    number._shared, distribution._shared = Shared(), [Shared(), Shared(), Shared()]
    for _ in range(3):
        number.inc(2)
        distribution.observe(0.5)
        distribution.observe(7)
        for _ in range(2):
            number.flush()
            distribution.flush()
    assert number._shared.value == 6
    assert [shared.value for shared in distribution._shared] == [22.5, 3, 3]


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_names_units_and_labels_are_as_prometheus_wants_them(metric: Any) -> None:
    assert re.fullmatch(r"(?:gen_ai|plano)_[a-z_]+", metric.name)
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert ("_seconds" in metric.name) == (metric.unit == "seconds")
    assert list(metric.bounds) == sorted(set(metric.bounds))
    assert (metric.kind == "histogram") == bool(metric.bounds)
    assert len(set(labels_of(metric))) == len(labels_of(metric))


def test_the_most_series_is_the_product_of_what_labels_can_be() -> None:
    small = Instruments([], []).most_lines()
    one = Instruments(SERVED[:1], ["https://a:443"]).most_lines()
    two = Instruments(SERVED, ["https://a:443", "https://b:443"]).most_lines()
    assert small < one < two
    assert Instruments(SERVED, [], enabled=False).most_lines() == 0


def test_every_series_of_every_label_value_is_within_the_most() -> None:
    instruments = Instruments(SERVED, ["https://a:443"])
    for kept in instruments._families:
        keys: list[tuple[str, ...]] = [()]
        for axis, _ in kept._axes:
            keys = [(*key, *value) for key in keys for value in axis.values]
        for key in keys:
            kept[key]
        assert len(kept) == len(keys)
    lines = sum(len(metric.samples) for metric in instruments.registry.collect())
    assert lines == instruments.most_lines()


def test_fields_that_the_code_drops_by_name_are_counted_by_name() -> None:
    text = "".join(path.read_text() for path in (ROOT / "plano" / "dialects").rglob("*.py"))
    named = set(re.findall(r'drop\(\s*"([a-z_.]+)"', text))
    assert len(named) > 20
    assert named <= LOSS_FIELDS


@pytest.mark.parametrize(
    "params",
    [
        completion_create_params.CompletionCreateParamsBase,
        response_create_params.ResponseCreateParamsBase,
        message_create_params.MessageCreateParamsBase,
    ],
)
def test_fields_of_the_three_apis_are_counted_by_name(params: Any) -> None:
    assert set(params.__annotations__) - {"model"} <= LOSS_FIELDS
