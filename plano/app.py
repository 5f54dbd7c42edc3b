"""Plano: the ASGI application."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from msgspec.structs import replace
from starlette.routing import Router

from plano.config import Config, load
from plano.config.assemble import build_tracing
from plano.connections import Connections
from plano.credentials.loopback import objection
from plano.edge.ask import CallerOf
from plano.edge.exposition import Exposition
from plano.generation import DEFAULT_ORDER, Generation, Survivors
from plano.limits.admission import EntrySlots, Slots
from plano.limits.counts_per_loop import open_counts
from plano.observing import Observing
from plano.pipeline import Filter, Link
from plano.routing.models import ModelIndex
from plano.runtime.clock import REAL, Clock
from plano.state.store_per_loop import Stores
from plano.transport import AsyncBaseTransport, Sender
from plano.types import Caller, Headers, Receive, Scope, Send
from plano.ui.record import Record
from plano.upstream.breaker import Health
from plano.upstream.choosing import Choosing

logger = logging.getLogger("plano")

FIXED = ("log", "metrics", "shared_state", "state_storage", "tracing", "ui")
"""The parts of a configuration that `Plano.reload` leaves as they are."""


class Plano:
    """An LLM gateway as an ASGI application.

    Runs by itself, or mounted: `Mount("/llm", app=Plano("plano_config.yaml"))`. Connections open on first
    use, so a host that runs no lifespan for mounted applications needs to do nothing; to close them at
    its end it awaits `aclose()`. Instances share nothing.

    Args:
        config: path of a `plano_config.yaml`, the same as a dictionary, or a loaded `Config`.
        filters: filters of your own, outermost first, after those that the config names.
        order: the pipeline; `filters` in it stands for your own.
        caller: the host's own authentication, in place of the config's keys.
        transport: sends everything to upstreams, in place of plano's own connections: a `plano.testing.FakeProvider`,
            or any httpx transport.
        tracer_provider: the host's own OpenTelemetry provider, in place of the one that `tracing` configures. Without
            either, the global provider is used if the host has set one before.
        open: without callers' keys, anybody whom the host lets through may call, and that is intended. Otherwise, if
            it is mounted, the first request logs a warning.
        clock: the clock of waits before repeats, of rests and ejections, and of limits: the machine's, or a
            `plano.testing.FakeClock`.

    Attributes:
        metrics: the registry of this instance's metrics, for a host that serves them itself.

    Raises:
        ConfigError: the configuration cannot work; it lists every problem.
    """

    def __init__(
        self,
        config: str | Path | Mapping[str, Any] | Config,
        *,
        filters: Sequence[Filter] = (),
        order: Sequence[str] = DEFAULT_ORDER,
        caller: CallerOf | None = None,
        transport: Sender | AsyncBaseTransport | None = None,
        tracer_provider: Any = None,
        open: bool = False,
        clock: Clock = REAL,
    ) -> None:
        config = config if isinstance(config, Config) else load(config)
        self._survivors = _survivors(config, transport, tracer_provider, clock)
        self.metrics = self._survivors.observing.instruments.registry
        self._assemble = partial(Generation, survivors=self._survivors, filters=filters, order=order, caller_of=caller)
        self._generation = self._assemble(config)
        self._keyless_is_meant = open or caller is not None
        self._called = False
        self._starting = Router(lifespan=self._lifespan)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        generation = self._generation
        if scope["type"] == "http":
            if not self._called:
                self._first_call(scope)
            if generation.guarded and objection(scope["headers"]) is not None:
                await generation.refuse(scope, receive, send)
                return
            if not scope.get("root_path"):
                ask = generation.asks.get(scope["path"])  # the common paths need no router
                if ask is not None:
                    await ask(scope, receive, send)
                    return
        elif scope["type"] == "lifespan":
            await self._starting(scope, receive, send)
            return
        await generation.router(scope, receive, send)

    @property
    def config(self) -> Config:
        """The configuration as loaded."""
        return self._generation.config

    @property
    def models(self) -> ModelIndex:
        """The index that resolves the names of models."""
        return self._generation.models

    @property
    def pipeline(self) -> list[Link]:
        """The links, outermost first."""
        return self._generation.pipeline

    @property
    def most_metric_lines(self) -> int:
        """The most series that this configuration can make, regardless of what clients ask."""
        return self._survivors.observing.instruments.most_lines()

    async def ask_for_models(self, *, patience: float = 10.0) -> None:
        """Ask the providers of wildcard entries for the lists of their models, and wait up to `patience` seconds. The
        gateway does so itself when it needs them; afterwards `models` has them all."""
        await self._generation.lists.refresh(patience=patience)

    def reload(self, config: str | Path | Mapping[str, Any] | Config) -> tuple[str, ...]:
        """Replace the configuration. Requests that run end under the one under which they began.

        Models, keys of callers, aliases, filters, limits and prices are replaced. Connections, stored state and
        counters live on.

        Args:
            config: as at the start. Call this in the thread of the event loop.

        Returns:
            The keys whose new values wait for the next start, because they decide what is shared by all requests.

        Raises:
            ConfigError: the configuration cannot work; it lists every problem. The old one stays in force.
        """
        config = config if isinstance(config, Config) else load(config)
        old = self.config
        waiting = tuple(name for name in FIXED if getattr(config, name) != getattr(old, name))
        here, there = old.listener, config.listener
        if (here.address, here.port) != (there.address, there.port):
            waiting += ("listeners",)
        listener = replace(there, address=here.address, port=here.port)
        kept = {name: getattr(old, name) for name in FIXED}
        self._generation = self._assemble(replace(config, loopback=old.loopback, listener=listener, **kept))
        return waiting

    def drain(self) -> None:
        """Say at `/readyz` from now on that no more requests should come, because the server is about to stop."""
        self._survivors.observing.draining = True

    def exposition(self, directory: str | None = None) -> Exposition:
        """`/metrics` alone, as an ASGI application for a port of its own.

        Args:
            directory: the folder in which worker processes count together, or None for one process.
        """
        return self._survivors.observing.exposition(self._admit, alone=True, directory=directory)

    async def _admit(self, scope: Scope, headers: Headers) -> Caller:
        """The caller of a request, by the keys that are configured now. Raises Unauthenticated."""
        return await self._generation.caller(scope, headers)

    async def aclose(self) -> None:
        """Close the connections to upstreams and to the state store. A request after this opens new ones.

        A store in memory loses its contents."""
        try:
            await self._survivors.connections.aclose()
        finally:
            self._survivors.observing.finished_requests.flush()
        await self._generation.settle_limits()
        await self._survivors.counts.aclose()
        if self._survivors.stores is not None:
            await self._survivors.stores.aclose()
        if self._survivors.tracing is not None:
            await asyncio.to_thread(self._survivors.tracing.deliver)

    def _first_call(self, scope: Scope) -> None:
        """Check what can be checked only now: the event loop, and whether anybody guards this."""
        _check_event_loop()
        self._called = True
        mounted = bool(scope.get("root_path")) or "app" in scope  # as Starlette says it
        if mounted and not (self._keyless_is_meant or self.config.callers):
            logger.warning(
                "plano has no callers' keys, so everybody whom the host application lets through can use the "
                "providers' keys; a FastAPI application's `dependencies` do not guard what is mounted in it. Configure "
                "`auth: {keys: [...]}`, pass `Plano(..., caller=...)`, or, if it is meant, `Plano(..., open=True)`."
            )

    @asynccontextmanager
    async def _lifespan(self, app: object) -> AsyncIterator[None]:
        _check_event_loop()
        try:
            async with self._survivors.observing.running():
                yield
        finally:
            await self.aclose()


def _survivors(
    config: Config, transport: Sender | AsyncBaseTransport | None, tracer_provider: Any, clock: Clock
) -> Survivors:
    connections = Connections(transport)
    stores = None if config.state_storage is None else Stores(config.state_storage)
    entries = EntrySlots(config.admission.queue, clock=clock)
    choosing = Choosing(Health(clock=clock.now), entries, config.resilience.retry_budget)
    counts = open_counts(config.shared_state, clock)
    observing = Observing(config, connections, stores, choosing, counts)
    tracing = build_tracing(config, tracer_provider)
    observing.finished_requests.at_once = tracing is not None or clock is not REAL
    record = Record(observing.prices) if config.ui else None
    return Survivors(connections, stores, observing, tracing, record, choosing, Slots(clock=clock), counts, clock)


def _check_event_loop() -> None:
    """Raise RuntimeError with what helps if the event loop is not asyncio's."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise RuntimeError(
            "plano needs asyncio, and this server runs another event loop, such as trio. Run it with asyncio or "
            "uvloop: `hypercorn --worker-class asyncio`, or `anyio.run(..., backend='asyncio')`."
        ) from None
