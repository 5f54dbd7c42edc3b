"""The registry of all metrics, which have a closed set of label values.

A label value comes from the configuration or from a list in the code. Any other value is counted under `other`, so
that clients cannot create series.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import prod
from typing import Any, Literal, TypeAlias, get_args

from msgspec import Struct
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric as Collected

from plano.attempt import ATTEMPT_OUTCOMES
from plano.errors import UPSTREAM_FAILURES, Kind
from plano.journal import HedgeOutcome
from plano.losses import LOSS_FIELDS
from plano.observability.metrics import LABELS, METRICS, labels_of
from plano.observability.series import Axis, Distribution, Family, Key, Number
from plano.operations import OPERATIONS
from plano.types import CLIENT_DIALECTS, UPSTREAM_DIALECTS
from plano.version import VERSION

OTHER = "other"
NONE = "none"

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

_BY_NAME = {metric.name: metric for metric in METRICS}


Closed: TypeAlias = Literal["filter", "route", "move", "condition", "limit", "budget", "mode"]
"""The axes whose values are told later."""

Begun: TypeAlias = Literal["filter_seconds", "not_stored", "upstream_errors", "unrepeated", "limited", "unshared"]
"""The families that have series before anything is counted in them."""


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
        self.attempts = self._numbers("plano_attempts_total")
        self.retries = self._numbers("plano_retries_total")
        self.fallbacks = self._numbers("plano_fallbacks_total")
        self.unrepeated = self._numbers("plano_retry_budget_empty_total")
        self.target_states = self._numbers("plano_target_state")
        self.hedges = self._numbers("plano_hedges_total")
        self.hold = self._distributions("plano_commit_hold_seconds")
        self.limited = self._numbers("plano_limited_total")
        self.budgets = self._numbers("plano_budget_used_ratio")
        self.queue = self._distributions("plano_queue_seconds")
        self.unshared = self._numbers("plano_shared_state_failures_total")
        self._numbers("plano_build_info")[(VERSION,)].set(1)

    def serve(self, served: Iterable[Served], origins: Iterable[str]) -> None:
        """Adds the label values of more entries and upstreams. Those that are known stay."""
        for name, axis in _axes(list(served), list(origins)).items():
            self._axes[name].values |= axis.values

    def allow(self, axis: Closed, values: Iterable[Key]) -> None:
        """Adds label values that are known only after construction, such as names of the pipeline's links."""
        self._axes[axis].values.update(values)

    def begin(self, family: Begun, keys: Iterable[Key]) -> None:
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
        for family in (
            self.duration,
            self.first_token,
            self.per_token,
            self.tokens,
            self.overhead,
            self.hold,
            self.queue,
        ):
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
        "attempt": _single(ATTEMPT_OUTCOMES, "server"),
        "cause": _single(UPSTREAM_FAILURES, "server"),
        "move": Axis([], (OTHER, OTHER)),
        "moved": _single((*UPSTREAM_FAILURES, "budget"), "server"),
        "condition": _single(()),
        "hedge": _single(get_args(HedgeOutcome), "unneeded"),
        "limit": Axis([], (OTHER, OTHER)),
        "budget": _single(()),
        "mode": _single(()),
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
