"""The metrics: each is a row of data, and a registry holds them all with a closed set of label values.

A label value comes from the configuration or from a list in this file. Any other value is counted under `other`, so
that clients cannot create series. `docs/observability.md` lists the same rows, and a test keeps the two equal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from math import prod
from typing import Any, Literal, get_args

from msgspec import Struct
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric as Collected

from plano.errors import UPSTREAM_FAILURES, Kind
from plano.losses import LOSS_FIELDS
from plano.observability.series import Axis, Distribution, Family, Key, Metric, Number
from plano.operations import OPERATIONS
from plano.types import CLIENT_DIALECTS, UPSTREAM_DIALECTS
from plano.version import VERSION

OTHER = "other"
NONE = "none"

SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
FIRST_TOKEN = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
PER_TOKEN = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
TOKENS = tuple(4**power for power in range(14))
"""The bounds of the `gen_ai` histograms that OpenTelemetry's semantic conventions for generative AI recommend."""

OVERHEAD = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)


STATUSES = ("2xx", "3xx", "4xx", "5xx", NONE)
OUTCOMES = ("completed", "failed", "aborted")
TOKEN_TYPES = ("input", "output", "cached_input", "cache_creation", "reasoning")
STORE_OPERATIONS = (
    "get_chain",
    "get",
    "put",
    "delete",
    "create_conversation",
    "get_conversation",
    "update_conversation",
    "delete_conversation",
    "append_items",
    "list_items",
    "get_item",
    "delete_item",
    "ping",
)


LABELS: Mapping[str, tuple[str, ...]] = {
    "asked": ("client_dialect", "operation"),
    "client": ("client_dialect",),
    "served": ("provider", "model", "upstream_dialect"),
    "target": ("provider", "model"),
    "pair": ("client_dialect", "upstream_dialect"),
    "stream": ("stream",),
    "result": ("status", "outcome"),
    "status": ("status",),
    "route": ("route",),
    "filter": ("filter",),
    "field": ("field",),
    "phase": ("phase",),
    "failure": ("kind",),
    "estimated": ("estimated",),
    "store": ("operation", "outcome"),
    "connection": ("origin", "state"),
    "version": ("version",),
    "gen_ai": ("gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model"),
    "error": ("error_type",),
    "token": ("gen_ai_token_type",),
}
"""The labels of each axis."""

METRICS: tuple[Metric, ...] = (
    Metric(
        name="gen_ai_server_request_duration_seconds",
        kind="histogram",
        unit="seconds",
        meaning="From a request's head to the last byte of its reply, or to the moment the client left.",
        axes=("gen_ai", "error"),
        bounds=SECONDS,
    ),
    Metric(
        name="gen_ai_server_time_to_first_token_seconds",
        kind="histogram",
        unit="seconds",
        meaning="From a request's head to the first event of a streamed reply in which the model says something.",
        axes=("gen_ai",),
        bounds=FIRST_TOKEN,
    ),
    Metric(
        name="gen_ai_server_time_per_output_token_seconds",
        kind="histogram",
        unit="seconds",
        meaning="The time after a streamed reply's first token, divided by the number of tokens that followed.",
        axes=("gen_ai",),
        bounds=PER_TOKEN,
    ),
    Metric(
        name="gen_ai_client_token_usage",
        kind="histogram",
        unit="tokens",
        meaning="Tokens of each request; the sum is what was used. Cached and cache creation are part of input, "
        "reasoning is part of output.",
        axes=("gen_ai", "token", "estimated"),
        bounds=TOKENS,
    ),
    Metric(
        name="plano_requests_total",
        kind="counter",
        unit="requests",
        meaning="Requests to a model that have ended.",
        axes=("asked", "served", "stream", "result"),
    ),
    Metric(
        name="plano_requests_in_flight",
        kind="gauge",
        unit="requests",
        meaning="Requests to a model that are in progress.",
        axes=("client",),
    ),
    Metric(
        name="plano_overhead_seconds",
        kind="histogram",
        unit="seconds",
        meaning="The time that plano itself adds to a request: from its body's arrival to its end, without waiting for "
        "the upstream and without handing bytes to the client's connection.",
        axes=("pair", "stream"),
        bounds=OVERHEAD,
    ),
    Metric(
        name="plano_filter_seconds_total",
        kind="counter",
        unit="seconds",
        meaning="Time in each filter until it returned its response, without the filters below it and without waiting "
        "for a stream. At most a hundred requests a second are timed; each stands for the untimed ones before it, too.",
        axes=("filter",),
    ),
    Metric(
        name="plano_upstream_errors_total",
        kind="counter",
        unit="attempts",
        meaning="Attempts at an upstream that failed.",
        axes=("target", "failure"),
    ),
    Metric(
        name="plano_losses_total",
        kind="counter",
        unit="losses",
        meaning="Fields that a translation could not carry.",
        axes=("pair", "field"),
    ),
    Metric(
        name="plano_client_aborts_total",
        kind="counter",
        unit="requests",
        meaning="Requests whose client left before it had the whole reply.",
        axes=("client", "target", "phase"),
    ),
    Metric(
        name="plano_usage_missing_total",
        kind="counter",
        unit="replies",
        meaning="Replies whose upstream did not report their tokens, or not all of them.",
        axes=("target",),
    ),
    Metric(
        name="plano_cost_dollars_total",
        kind="counter",
        unit="US dollars",
        meaning="The cost of requests to models that have a price in the configuration.",
        axes=("target", "estimated"),
    ),
    Metric(
        name="plano_other_requests_total",
        kind="counter",
        unit="requests",
        meaning="Requests that ask no model: lists, stored replies, health, scrapes, and paths that do not exist.",
        axes=("route", "status"),
    ),
    Metric(
        name="plano_store_operations_total",
        kind="counter",
        unit="operations",
        meaning="Operations on the state store.",
        axes=("store",),
    ),
    Metric(
        name="plano_replies_not_stored_total",
        kind="counter",
        unit="replies",
        meaning="Replies that should have been stored and were sent without being stored.",
        axes=("client",),
    ),
    Metric(
        name="plano_log_lines_dropped_total",
        kind="counter",
        unit="lines",
        meaning="Lines of the log that were dropped because it was not read in time, or could not be written.",
    ),
    Metric(
        name="plano_upstream_connections",
        kind="gauge",
        unit="connections",
        meaning="Connections to upstreams: open (idle ones included), idle, and requests waiting for one.",
        axes=("connection",),
    ),
    Metric(
        name="plano_build_info",
        kind="gauge",
        unit="1",
        meaning="Always 1; the label is the version that runs.",
        axes=("version",),
        mode="livemax",
    ),
)

_BY_NAME = {metric.name: metric for metric in METRICS}


class Served(Struct, frozen=True):
    """The labels of a configured entry; `dialects` are all those of its upstream."""

    provider: str
    model: str
    dialects: tuple[str, ...]


class Instruments:
    """A registry with all metrics, and an attribute for each metric.

    Args:
        served: the configured entries.
        origins: scheme, host and port of every upstream.
        enabled: metrics are on.
        shared: several processes count together, through prometheus-client's shared files.

    Attributes:
        registry: the registry. Collecting it first calls every function that was passed to `before_scrape`.
        enabled: metrics are on.
    """

    def __init__(
        self, served: Iterable[Served], origins: Iterable[str], *, enabled: bool = True, shared: bool = False
    ) -> None:
        self.enabled = enabled
        self.registry = CollectorRegistry()
        self._shared = shared
        self._axes = _axes(list(served), list(origins))
        self._families: list[Family[Any]] = []
        self._refreshers: list[Callable[[], None]] = []
        if enabled:
            self.registry.register(_First(self.refresh))
        self.duration = self._distributions("gen_ai_server_request_duration_seconds")
        self.first_token = self._distributions("gen_ai_server_time_to_first_token_seconds")
        self.per_token = self._distributions("gen_ai_server_time_per_output_token_seconds")
        self.tokens = self._distributions("gen_ai_client_token_usage")
        self.requests = self._numbers("plano_requests_total")
        self.in_flight = self._numbers("plano_requests_in_flight")
        self.overhead = self._distributions("plano_overhead_seconds")
        self.filter_seconds = self._numbers("plano_filter_seconds_total")
        self.upstream_errors = self._numbers("plano_upstream_errors_total")
        self.losses = self._numbers("plano_losses_total")
        self.aborts = self._numbers("plano_client_aborts_total")
        self.usage_missing = self._numbers("plano_usage_missing_total")
        self.cost = self._numbers("plano_cost_dollars_total")
        self.other_requests = self._numbers("plano_other_requests_total")
        self.store_operations = self._numbers("plano_store_operations_total")
        self.not_stored = self._numbers("plano_replies_not_stored_total")
        self.log_lines_dropped = self._numbers("plano_log_lines_dropped_total")
        self.connections = self._numbers("plano_upstream_connections")
        self._numbers("plano_build_info")[(VERSION,)].set(1)

    def serve(self, served: Iterable[Served], origins: Iterable[str]) -> None:
        """Adds the label values of more entries and upstreams. Those that are known stay."""
        for name, axis in _axes(list(served), list(origins)).items():
            self._axes[name].values |= axis.values

    def allow(self, axis: Literal["filter", "route"], values: Iterable[str]) -> None:
        """Adds label values that are known only after construction: names of the pipeline's links, paths of routes."""
        self._axes[axis].values.update((value,) for value in values)

    def begin(self, family: Literal["filter_seconds", "not_stored", "upstream_errors"], keys: Iterable[Key]) -> None:
        """Makes series appear with the value 0 from the first scrape on."""
        if self.enabled:
            series: Family[Number] = getattr(self, family)
            for key in keys:
                series[key].inc(0.0)

    def before_scrape(self, refresh: Callable[[], None]) -> None:
        """Has `refresh` called before each scrape, to set gauges whose numbers are kept elsewhere."""
        self._refreshers.append(refresh)

    def fill_bins(self) -> None:
        """Sorts the values that were observed since the last call into their bins. Until then they take memory."""
        for family in (self.duration, self.first_token, self.per_token, self.tokens, self.overhead):
            for series in list(family.values()):
                series.fill_bins()

    def refresh(self) -> None:
        """Brings everything up to date: numbers that are kept elsewhere, and values that other processes read."""
        for refresh in self._refreshers:
            refresh()
        for family in self._families:
            family.flush()

    def most_lines(self) -> int:
        """The most lines that a scrape can ever have. A metric has a series for each combination of label values."""
        if not self.enabled:
            return 0
        return sum(metric.lines * prod(len(self._axes[axis].values) for axis in metric.axes) for metric in METRICS)

    def _numbers(self, name: str) -> Family[Number]:
        return self._family(name)

    def _distributions(self, name: str) -> Family[Distribution]:
        return self._family(name)

    def _family(self, name: str) -> Family[Any]:
        metric = _BY_NAME[name]
        axes = [(self._axes[axis], len(LABELS[axis])) for axis in metric.axes]
        family: Family[Any] = Family(metric, labels_of(metric), axes, shared=self._shared and self.enabled)
        if self.enabled:
            self.registry.register(family)
            self._families.append(family)
        return family


def labels_of(metric: Metric) -> tuple[str, ...]:
    """The labels of a metric, in the order of its axes."""
    return tuple(chain.from_iterable(LABELS[axis] for axis in metric.axes))


def _axes(served: list[Served], origins: list[str]) -> dict[str, Axis]:
    targets = [(entry.provider, entry.model) for entry in served]
    dialects = [*UPSTREAM_DIALECTS, NONE]
    operations = [(dialect, each.name) for each in OPERATIONS.values() for dialect in each.paths]
    gen_ai = list(dict.fromkeys(each.gen_ai for each in OPERATIONS.values()))
    flags = _single(("true", "false"), "false")
    return {
        "asked": Axis(operations, (OTHER, OTHER)),
        "client": _single(CLIENT_DIALECTS),
        "served": Axis(
            [(e.provider, e.model, dialect) for e in served for dialect in (*e.dialects, NONE)], (OTHER, OTHER, NONE)
        ),
        "target": Axis(targets, (OTHER, OTHER)),
        "pair": Axis([(client, upstream) for client in CLIENT_DIALECTS for upstream in dialects], (OTHER, OTHER)),
        "stream": flags,
        "result": Axis([(status, outcome) for status in STATUSES for outcome in OUTCOMES], (NONE, "failed")),
        "status": _single(STATUSES, NONE),
        "route": _single(()),
        "filter": _single(("upstream",)),
        "field": _single(LOSS_FIELDS),
        "phase": _single(("before_reply", "during_reply"), "before_reply"),
        "failure": _single(UPSTREAM_FAILURES, "server"),
        "estimated": flags,
        "store": Axis(
            [(operation, outcome) for operation in STORE_OPERATIONS for outcome in ("ok", "failed")], (OTHER, "failed")
        ),
        "connection": Axis(
            [(origin, state) for origin in (*origins, OTHER) for state in ("open", "idle", "waiting")], (OTHER, "open")
        ),
        "version": _single((VERSION,), VERSION),
        "gen_ai": Axis(
            [(operation, *target) for operation in gen_ai for target in (*targets, (OTHER, OTHER))],
            (OTHER, OTHER, OTHER),
        ),
        "error": _single(("", "aborted", *get_args(Kind)), "server"),
        "token": _single(TOKEN_TYPES, "input"),
    }


def _single(values: Iterable[str], other: str = OTHER) -> Axis:
    return Axis([(value,) for value in values], (other,))


class _First:
    """Calls `refresh` before a scrape. It is registered first, so it is collected first; it has no metrics itself."""

    def __init__(self, refresh: Callable[[], None]) -> None:
        self._refresh = refresh

    def collect(self) -> Iterable[Collected]:
        self._refresh()
        return ()

    def describe(self) -> Iterable[Collected]:
        return ()
