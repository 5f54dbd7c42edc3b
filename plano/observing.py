"""The metrics and the readiness of one `Plano`, and the endpoints that serve them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from time import perf_counter
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import msgspec

from plano.conditions import Conditions
from plano.config import Config
from plano.config.assemble import entry_of, other_prices
from plano.connections import Connections
from plano.credentials.loopback import is_loopback, objection
from plano.edge.answers import send_json
from plano.edge.ask import Ask
from plano.edge.exposition import Admit, Exposition, named_directory
from plano.errors import UPSTREAM_FAILURES, ConfigError, PermissionDenied
from plano.filters.bodies import Bodies
from plano.filters.metrics import Metrics
from plano.filters.stream_usage import StreamUsage
from plano.limits.cells import Counts
from plano.limits.judge import Judge
from plano.observability import access, logs
from plano.observability.finished_requests import FinishedRequests
from plano.observability.instruments import NONE, OTHER, Instruments, Served
from plano.observability.prices import Prices
from plano.pipeline import Link
from plano.routing.models import Entry, ModelIndex
from plano.state.store_per_loop import StoreCheck, Stores
from plano.types import CLIENT_DIALECTS, Headers, Message, Receive, Scope, Send
from plano.upstream.choosing import Choosing

logger = logging.getLogger("plano")

Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

REFRESH_SECONDS = 1.0
"""Seconds between two times that one worker of several writes its gauges, for the others to serve."""


class Observing:
    """The parts of a `Plano` that observe the others.

    Args:
        config: the configuration.
        connections: the connections to upstreams.
        stores: the state store; None if there is none.
        choosing: knows the health of targets.
        counts: what limits count in.

    Attributes:
        conditions: the conditions of targets, limits and shared state.
        draining: the server stops, so `/readyz` asks for no more requests.
    """

    def __init__(
        self, config: Config, connections: Connections, stores: Stores | None, choosing: Choosing, counts: Counts
    ) -> None:
        self._config = config
        self._connections = connections
        self._stores = stores
        self._store_check = None if stores is None else StoreCheck(stores)
        self._directory = named_directory()
        self._origins: set[str] = set()
        self.instruments = Instruments((), (), enabled=config.metrics.enabled, shared=self._directory is not None)
        # Counters of rare events begin at 0. A counter that first appears with 1 has not grown for Prometheus, so its
        # first event would be missed.
        self.instruments.begin("not_stored", [(dialect,) for dialect in CLIENT_DIALECTS])
        self.prices = Prices({})
        self.draining = False
        self.finished_requests = FinishedRequests(log=config.log.access)
        self.instruments.before_scrape(self.finished_requests.refresh)
        self.conditions = Conditions(self.instruments, choosing, counts)
        self._metrics = Metrics(self.instruments, self.prices)
        self.instruments.before_scrape(self._count_connections)
        self.instruments.before_scrape(self._read_prices)
        self.instruments.before_scrape(self._count_operations)
        self.instruments.before_scrape(self._count_dropped_lines)

    def serve(self, config: Config, models: ModelIndex, judge: Judge | None) -> None:
        """Takes in the entries, aliases, limits and prices of a configuration. The series of earlier ones stay.

        Raises:
            ConfigError: the file of prices cannot be read.
        """
        self.finished_requests.refresh()  # those counted so far have the old prices
        entries = [entry_of(said) for said in config.providers]
        origins = {_origin(url) for entry in entries for url in _urls(entry)}
        self._origins |= origins
        self.instruments.serve(map(_served, entries), origins)
        places = [(entry.provider.name, entry.name) for entry in entries]
        self.instruments.begin("upstream_errors", [(*place, kind) for place in places for kind in UPSTREAM_FAILURES])
        self.conditions.serve(config, entries, models, judge)
        self.prices.replace(config.prices, config.prices_file, other_prices(config))

    @property
    def shared(self) -> bool:
        """Whether other processes serve the same port."""
        return self._directory is not None

    def queued(self, seconds: float) -> None:
        """Counts the wait of a request for a slot."""
        if self.instruments.enabled:
            self.instruments.queue[()].observe(seconds)

    def links(self, config: Config) -> list[Link]:
        """The first links of a configuration's pipeline."""
        links = [Link("metrics", self._metrics, trusted=True)] if self.instruments.enabled else []
        if self.instruments.enabled and config.metrics.stream_usage:
            links.append(Link("stream_usage", StreamUsage(), trusted=True))
        if config.log.bodies:
            links.append(Link("bodies", Bodies(config.secrets()), trusted=True))
        return links

    def time_links(self, links: Sequence[Link]) -> list[float] | None:
        """Takes all links of the pipeline. Returns the list in which their times are added up; None without metrics."""
        if not self.instruments.enabled:
            return None
        names = [link.name for link in links]
        self.instruments.allow("filter", [(name,) for name in names])
        self.instruments.begin("filter_seconds", [(name,) for name in (*names, "upstream")])
        return self._metrics.time_links(names)

    def exposition(self, admit: Admit | None, *, alone: bool = False, directory: str | None = None) -> Exposition:
        """Makes the application for `/metrics`.

        Args:
            admit: raises a PlanoError for a request without a caller's key; used if `metrics.auth` is on.
            alone: it has a port of its own, where web pages from other origins must not read it either.
            directory: the files in which other processes count, if this process is none of them.
        """
        metrics = self._config.metrics
        unasked = _admit_this_machine if alone and is_loopback(metrics.address or "127.0.0.1") else None
        return Exposition(
            self.instruments,
            admit=admit if metrics.auth else unasked,
            directory=directory or self._directory,
            paths=("/metrics", "/metrics/") if alone else None,
        )

    def endpoints(self, admit: Admit | None) -> dict[str, Application]:
        """The applications for metrics and readiness, by path."""
        found: dict[str, Application] = {"/readyz": _Ready(self)}
        if self._config.metrics.enabled and self._config.metrics.port is None:
            found["/metrics"] = self.exposition(admit)
        return found

    def counted(self, application: Application, path: str = OTHER) -> Application:
        """Wraps an application so that its requests are counted and logged. Requests to a model are not, because the
        pipeline counts them."""
        if isinstance(application, Ask):
            return application
        route = path.rstrip("/") or "/"
        self.instruments.allow("route", [(route,)])
        return _Counted(application, self.instruments, route, log=self._config.log.access)

    async def readiness(self) -> tuple[bool, dict[str, Any]]:
        """Returns whether requests can be taken, and the details without secrets or addresses. A gateway all of whose
        targets are out can, because they are then asked as if they were in."""
        store = await self._store_answers()
        counts = list(self._connections.counts().values())
        totals = [sum(column) for column in zip(*counts, strict=True)] if counts else [0, 0, 0]
        taken, shared = await self.conditions.shared_state()
        reachable = store != "unreachable" and taken
        whole = reachable and shared != "degraded"
        return reachable and not self.draining, {
            "status": "draining" if self.draining else "ready" if whole else "degraded",
            "config": "loaded",
            "store": store,
            "shared_state": shared,
            "targets": self.conditions.told(),
            "upstreams": dict(zip(("open", "idle", "waiting"), totals, strict=True)),
        }

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Surrounds the application's run. One worker of several writes its gauges regularly meanwhile."""
        if self._directory is None:
            yield
            return
        task = asyncio.create_task(self._refresh_regularly(), name="plano-metrics-refresh")
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _refresh_regularly(self) -> None:
        while True:
            self.instruments.refresh()
            await asyncio.sleep(REFRESH_SECONDS)

    async def _store_answers(self) -> str:
        if self._store_check is None:
            return "none"
        return "reachable" if await self._store_check() else "unreachable"

    def _count_operations(self) -> None:
        counts = self._stores.operations if self._stores is not None else {}
        for (operation, answered), count in list(counts.items()):
            self.instruments.store_operations[(operation, "ok" if answered else "failed")].set(count)

    def _count_dropped_lines(self) -> None:
        self.instruments.log_lines_dropped[()].set(logs.dropped())

    def _count_connections(self) -> None:
        found = self._connections.counts()
        gauges = self.instruments.connections
        for origin in self._origins:
            for state, count in zip(("open", "idle", "waiting"), found.get(origin, (0, 0, 0)), strict=True):
                gauges[(origin, state)].set(count)

    def _read_prices(self) -> None:
        try:
            self.prices.refresh()
        except ConfigError as error:
            logger.warning("prices stay as they were: %s", error)


class _Ready:
    """`GET /readyz`."""

    def __init__(self, observing: Observing) -> None:
        self._observing = observing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        ready, said = await self._observing.readiness()
        await send_json(scope, send, 200 if ready else 503, msgspec.json.encode(said))


class _Counted:
    """Counts and logs the answers of an application."""

    def __init__(self, application: Application, instruments: Instruments, route: str, *, log: bool) -> None:
        self._application = application
        self._log = log
        self._instruments = instruments
        self._route = route

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        started, status = perf_counter(), 0

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._application(scope, receive, noting)
        finally:
            status_class = f"{status // 100}xx" if status else NONE
            self._instruments.other_requests[(self._route, status_class)].inc()
            if self._log:
                access.write_other(scope, self._route, status, perf_counter() - started)


async def _admit_this_machine(scope: Scope, headers: Headers) -> None:
    why = objection(headers.raw)
    if why is not None:
        raise PermissionDenied(why)


def _served(entry: Entry) -> Served:
    dialects = entry.apis or tuple(entry.provider.paths)
    return Served(entry.provider.name, entry.name, dialects)


def _urls(entry: Entry) -> list[str]:
    target = ModelIndex([entry]).resolve(f"{entry.provider.name}/{'any' if entry.model == '*' else entry.model}")
    return [endpoint.url for endpoint in target.endpoints.values()]


def _origin(url: str) -> str:
    split = urlsplit(url)
    return f"{split.scheme}://{split.hostname}:{split.port or (443 if split.scheme == 'https' else 80)}"
