"""Plano: the ASGI application, and where its parts are put together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from starlette.routing import Route, Router

from plano.config import Config, load
from plano.config.assemble import build_filters, build_models, build_tracing
from plano.connections import Connections
from plano.credentials.loopback import objection
from plano.edge import listing
from plano.edge.answers import Answer, send_error
from plano.edge.ask import Ask, CallerOf, caller_from, intake
from plano.edge.exposition import Exposition
from plano.edge.stored_routes import ROUTES, Stored
from plano.errors import NotFound, PermissionDenied
from plano.filters.alias import Alias
from plano.filters.auth import Auth
from plano.filters.state import State
from plano.filters.translation import Translation
from plano.observing import Observing
from plano.operations import OPERATIONS
from plano.pipeline import Filter, Link, fold, name_of
from plano.routing.models import ModelInfo
from plano.state.store_per_loop import Stores
from plano.transport import AsyncBaseTransport, Sender
from plano.types import Caller, Headers, Receive, Scope, Send
from plano.ui import Ui
from plano.ui.record import Record
from plano.upstream.send import Upstream

logger = logging.getLogger("plano")

DEFAULT_ORDER = ("metrics", "intake", "auth", "filters", "alias", "state", "translation")
"""The pipeline, outermost first. `filters` is where a user's own go, in the order they were given."""


class Plano:
    """An LLM gateway as an ASGI application.

    Runs by itself, or mounted: `Mount("/llm", app=Plano("plano_config.yaml"))`. Connections open on first
    use, so a host that runs no lifespan for mounted applications needs to do nothing; one that cares
    awaits `aclose()`. Instances share nothing.

    Args:
        config: path of a `plano_config.yaml`, the same as a dictionary, or a loaded `Config`.
        filters: filters of your own, outermost first, after those that the config names.
        order: the pipeline; `filters` in it stands for your own.
        caller: the host's own authentication, in place of the config's keys.
        transport: sends everything to upstreams, in place of plano's own connections: a `plano.testing.FakeProvider`,
            or any httpx transport.
        tracer_provider: the host's own OpenTelemetry provider, in place of the one that `tracing` configures.

    Attributes:
        config: the configuration as loaded.
        models: what names mean.
        pipeline: the links, outermost first.
        metrics: the registry of what this instance counts, for a host that serves it itself.

    Raises:
        ConfigError: the configuration cannot work; says all that is wrong with it.
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
    ) -> None:
        self.config = config if isinstance(config, Config) else load(config)
        self.models = build_models(self.config)
        self._caller_of = caller
        self._auth = Auth(self.config.callers if caller is None else ())
        self._guarded = self.config.loopback and not self.config.callers
        self._connections = Connections(self.config, transport)
        self._stores = None if self.config.state_storage is None else Stores(self.config.state_storage)
        self._observing = Observing(self.config, self._connections, self._stores)
        self.metrics = self._observing.instruments.registry
        self.pipeline = self._links(order, filters)
        self._tracing = build_tracing(self.config, tracer_provider)
        if self._tracing is not None:  # a request's span goes around everything, an attempt's around the upstream
            self._observing.finished.at_once = True
            around = Link("tracing", self._tracing, trusted=True)
            self.pipeline = [around, *self.pipeline, Link("attempt", self._tracing.attempt, trusted=True)]
        ui = self._ui()
        spent = self._observing.time_links(self.pipeline)
        upstream = Upstream(self._connections.sender_for, self.config.timeouts, one_tenant=self._one_tenant)
        run = fold(self.pipeline, upstream, spent)
        shown = {**self._observing.endpoints(self._caller), **ui}
        routes = [
            *self._asking(run, caller, order),
            *self._stored(),
            *_both("/v1/models", Answer(self._list_models, "GET", "HEAD")),
            Route("/v1/models/{id:path}", Answer(self._show_model, "GET", "HEAD")),
            *_both("/healthz", Answer(lambda scope, headers: {"status": "ok"}, "GET", "HEAD")),
            *(route for path, endpoint in shown.items() for route in _both(path, endpoint)),
            Route("/", Answer(lambda scope, headers: {"name": "plano", "apis": _paths()}, "GET", "HEAD")),
        ]
        self._asks = {route.path: route.endpoint for route in routes if isinstance(route.endpoint, Ask)}
        counted = self._observing.counted
        self._refuse = counted(_refuse)
        self._router = Router(
            [Route(route.path, counted(route.endpoint, route.path)) for route in routes],
            default=counted(_nowhere),
            redirect_slashes=False,
            lifespan=self._lifespan,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._guarded and scope["type"] == "http" and objection(scope["headers"]) is not None:
            await self._refuse(scope, receive, send)
            return
        if scope["type"] == "http" and not scope.get("root_path"):
            ask = self._asks.get(scope["path"])  # what is asked all day does not need a router
            if ask is not None:
                await ask(scope, receive, send)
                return
        await self._router(scope, receive, send)

    @property
    def most_metric_lines(self) -> int:
        """The most series that this configuration can make, whatever clients ask."""
        return self._observing.instruments.most_lines()

    def exposition(self, directory: str | None = None) -> Exposition:
        """`/metrics` alone, as an ASGI application for a port of its own.

        Args:
            directory: where worker processes count together, if they do.
        """
        return self._observing.exposition(self._caller, alone=True, directory=directory)

    async def aclose(self) -> None:
        """Close the connections to upstreams and to the state store. A request after this opens new ones.

        What a store in memory holds is gone."""
        try:
            await self._connections.aclose()
        finally:
            self._observing.finished.flush()
        if self._stores is not None:
            await self._stores.aclose()
        if self._tracing is not None:
            await asyncio.to_thread(self._tracing.deliver)

    @asynccontextmanager
    async def _lifespan(self, app: object) -> AsyncIterator[None]:
        try:
            async with self._observing.running():
                yield
        finally:
            await self.aclose()

    def _links(self, order: Sequence[str], filters: Sequence[Filter]) -> list[Link]:
        built_in = {
            "metrics": self._observing.links(),
            "intake": [Link("intake", intake, trusted=True)],
            "auth": [Link("auth", self._auth, trusted=True)],
            "filters": [*build_filters(self.config), *(Link(name_of(call), call) for call in filters)],
            "alias": [Link("alias", Alias(self.models), trusted=True)],
            "state": [] if self._stores is None else [Link("state", self._state(self._stores), trusted=True)],
            "translation": [Link("translation", Translation(), trusted=True)],
        }
        assert set(order) == set(built_in), f"the order must name {', '.join(built_in)}, each once"
        return [link for name in order for link in built_in[name]]

    def _state(self, stores: Stores) -> State:
        return State(
            stores,
            chat_completions=self.config.chat_completions_continue,
            upstream_store=self.config.upstream_store,
            one_tenant=self._one_tenant,
        )

    @property
    def _one_tenant(self) -> bool:
        """Whether all callers are known to be of one tenant."""
        return self._caller_of is None and len({caller.tenant for caller, _ in self.config.callers}) <= 1

    def _asking(self, run: Any, caller: CallerOf | None, order: Sequence[str]) -> list[Route]:
        limits = self.config.limits
        before_auth = order[: order.index("auth")] if "auth" in order else order
        keyed = bool(self.config.callers) and caller is None and "auth" in order and "filters" not in before_auth
        return [
            route
            for operation in OPERATIONS.values()
            for dialect, path in operation.paths.items()
            for route in _both(
                path,
                Ask(
                    dialect,
                    operation.name,
                    run,
                    body_limit=limits.max_body_bytes,
                    body_deadline=limits.body_seconds,
                    strict=self.config.strict_translation,
                    caller_of=caller,
                    admit=self._auth.caller if keyed else None,
                    finished=self._observing.finished,
                ),
            )
        ]

    def _ui(self) -> dict[str, Any]:
        """What the page has to say for itself, where there is one; a link of its own in the pipeline feeds it."""
        if not self.config.ui:
            return {}
        record = Record(self._observing.prices)
        self.pipeline = [Link("ui", record, trusted=True), *self.pipeline]
        finished, shared = self._observing.finished, self._observing.shared
        return Ui(record, self.models, self._viewer, finished.refresh, shared=shared).endpoints()

    async def _viewer(self, scope: Scope, headers: Headers) -> Caller:
        """Who looks at the page; where nobody is asked for a key, whoever does sees everything."""
        caller = await self._caller(scope, headers)
        return caller if self._caller_of is not None or self.config.callers else Caller(operator=True)

    def _stored(self) -> list[Route]:
        limits = self.config.limits
        options: dict[str, Any] = {"body_limit": limits.max_body_bytes, "body_deadline": limits.body_seconds}
        return [
            route
            for path, methods in ROUTES.items()
            for route in _both(path, Stored(self._stores, self._caller, methods, **options))
        ]

    async def _list_models(self, scope: Scope, headers: Headers) -> dict[str, Any]:
        models = await self._visible(scope, headers)
        if "anthropic-version" in headers:
            return listing.anthropic_list(models, dict(parse_qsl(scope.get("query_string", b"").decode("latin-1"))))
        return listing.openai_list(models)

    async def _show_model(self, scope: Scope, headers: Headers) -> dict[str, Any]:
        info = listing.find(await self._visible(scope, headers), scope["path_params"]["id"].rstrip("/"))
        return listing.anthropic_model(info) if "anthropic-version" in headers else listing.openai_model(info)

    async def _caller(self, scope: Scope, headers: Headers) -> Caller:
        """Whoever is asking."""
        return self._auth.caller(headers) if self._caller_of is None else await caller_from(self._caller_of, scope)

    async def _visible(self, scope: Scope, headers: Headers) -> list[ModelInfo]:
        """The models that whoever is asking may ask for."""
        caller = await self._caller(scope, headers)
        return [info for info in self.models.listing() if caller.may_use(info.id) or caller.may_use(info.target)]


def _paths() -> list[str]:
    """Every path that goes through the pipeline."""
    return [path for operation in OPERATIONS.values() for path in operation.paths.values()]


def _both(path: str, endpoint: Any) -> list[Route]:
    """The path with and without a trailing slash: a redirect would lose the body with some clients."""
    return [Route(path, endpoint), Route(path + "/", endpoint)]


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    why = objection(scope["headers"])
    assert why is not None, "only what is refused comes here"
    await send_error(scope, Headers(scope["headers"]), PermissionDenied(why), send)


async def _nowhere(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1000})
        return
    await send_error(scope, Headers(scope["headers"]), NotFound(f"There is nothing at {scope['path'][:200]}."), send)
