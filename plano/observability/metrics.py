"""The rows of all metrics, and the labels that they have.

`docs/observability.md` lists the same rows, and a test keeps the two equal.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain

from plano.observability.series import Metric

SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
FIRST_TOKEN = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
PER_TOKEN = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
TOKENS = tuple(4**power for power in range(14))
"""The bounds of the `gen_ai` histograms that OpenTelemetry's semantic conventions for generative AI recommend."""

OVERHEAD = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
HOLD = (0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
QUEUE = (0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)

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
    "attempt": ("outcome",),
    "cause": ("reason",),
    "move": ("from", "to"),
    "moved": ("reason",),
    "condition": ("state",),
    "hedge": ("outcome",),
    "limit": ("rule", "reason"),
    "budget": ("budget",),
    "mode": ("mode",),
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
        meaning="Tokens of each attempt at an upstream; the sum is what was used. Cached and cache creation are part "
        "of input, reasoning is part of output.",
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
        name="plano_attempts_total",
        kind="counter",
        unit="attempts",
        meaning="Attempts at an upstream that are over.",
        axes=("target", "attempt"),
    ),
    Metric(
        name="plano_retries_total",
        kind="counter",
        unit="attempts",
        meaning="Attempts that followed another one of the same request, at the same target or elsewhere, by the "
        "failure that led to them. The second of two at once counts as `timeout`.",
        axes=("cause",),
    ),
    Metric(
        name="plano_fallbacks_total",
        kind="counter",
        unit="requests",
        meaning="Requests that a target other than the first one answered, by the entries of both.",
        axes=("move", "moved"),
    ),
    Metric(
        name="plano_retry_budget_empty_total",
        kind="counter",
        unit="attempts",
        meaning="Attempts that were not made because the retry budget of their target was empty.",
        axes=("target",),
    ),
    Metric(
        name="plano_target_state",
        kind="gauge",
        unit="targets",
        meaning="Targets that plano watches, once for each of their keys, by state; the highest number in one process.",
        axes=("target", "condition"),
        mode="livemax",
    ),
    Metric(
        name="plano_hedges_total",
        kind="counter",
        unit="requests",
        meaning="Requests for which a second target could be asked at the same time, by the outcome of the second "
        "attempt.",
        axes=("hedge",),
    ),
    Metric(
        name="plano_commit_hold_seconds",
        kind="histogram",
        unit="seconds",
        meaning="The time for which the beginning of a stream was held back, until it was certain that no other target "
        "is needed.",
        bounds=HOLD,
    ),
    Metric(
        name="plano_limited_total",
        kind="counter",
        unit="requests",
        meaning="Refusals of a request, or of one of its targets, by a limit; another target may have answered it "
        "then.",
        axes=("limit",),
    ),
    Metric(
        name="plano_budget_used_ratio",
        kind="gauge",
        unit="1",
        meaning="The share of a budget that is spent or reserved, for the subject that has used most of it.",
        axes=("budget",),
        mode="livemax",
    ),
    Metric(
        name="plano_queue_seconds",
        kind="histogram",
        unit="seconds",
        meaning="The time that a request waited for a slot, whether it got one or not. Requests that need not wait are "
        "not in it.",
        bounds=QUEUE,
    ),
    Metric(
        name="plano_shared_state_failures_total",
        kind="counter",
        unit="decisions",
        meaning="Decisions about limits that were made without the shared state, because it did not answer.",
        axes=("mode",),
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
        meaning="The cost of attempts at models that have a price in the configuration.",
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


def labels_of(metric: Metric) -> tuple[str, ...]:
    """The labels of a metric, in the order of its axes."""
    return tuple(chain.from_iterable(LABELS[axis] for axis in metric.axes))
