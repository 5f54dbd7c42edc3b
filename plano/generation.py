"""A generation: everything that one configuration decides, assembled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from starlette.routing import Route, Router

from plano.config import Config
from plano.config.assemble import build_filters, build_models
from plano.connections import Connections
from plano.credentials.loopback import objection
from plano.edge import listing
from plano.edge.answers import Answer, Application, send_error
from plano.edge.ask import Ask, CallerOf, caller_from, intake
from plano.edge.filtered import CALLER, Filtered
from plano.edge.stored_routes import ROUTES, Stored
from plano.errors import NotFound, PermissionDenied
from plano.filters.admission import Admission
from plano.filters.alias import Alias
from plano.filters.auth import Auth
from plano.filters.limits import Limits
from plano.filters.state import State
from plano.filters.translation import Translation
from plano.limits.admission import Slots
from plano.limits.cells import Counts
from plano.limits.judge import Judge
from plano.observing import Observing
from plano.operations import OPERATIONS
from plano.pipeline import Filter, Link, fold, name_of
from plano.routing.models import ModelInfo
from plano.runtime.clock import Clock
from plano.state.store_per_loop import Stores
from plano.types import Caller, Headers, Receive, Scope, Send
from plano.ui import Ui
from plano.ui.record import Record
from plano.upstream.attempts import Attempts
from plano.upstream.choosing import Choosing
from plano.upstream.model_lists import ModelLists
from plano.upstream.send import Upstream

DEFAULT_ORDER = (
    "ui",
    "tracing",
    "metrics",
    "intake",
    "auth",
    "admission",
    "filters",
    "limits",
    "alias",
    "state",
    "attempts",
    "translation",
    "attempt",
)
"""The pipeline, outermost first. `filters` stands for the user's own, in the order they were given; `attempts`
is the loop that tries targets, `attempt` the span around each attempt."""

_IN_THEIR_PLACE = frozenset({"ui", "tracing", "admission", "limits", "attempts", "attempt"})
"""Links that an order may leave out; then they stand where `DEFAULT_ORDER` has them."""


class Survivors(NamedTuple):
    """The parts that outlive a configuration: open connections, stored state, and counters.

    Attributes:
        stores: None where the gateway keeps no state.
        tracing: the filter that makes spans, or None.
        record: the requests that the page at `/ui` shows, or None without the page.
        choosing: the health of targets.
        slots: the requests that this process has at once.
        counts: what limits and budgets have counted.
        clock: the time by which they count, and by which requests are tried.
    """

    connections: Connections
    stores: Stores | None
    observing: Observing
    tracing: Any
    record: Record | None
    choosing: Choosing
    slots: Slots
    counts: Counts
    clock: Clock


class Generation:
    """The models, links and routes of one configuration. A reload makes a new generation and replaces the old one.

    Args:
        survivors: the parts that live on from one generation to the next.
        filters: the user's own, after those that the configuration names.
        order: the pipeline's links by name, outermost first.
        caller_of: the host's own authentication, in place of the configuration's keys.

    Attributes:
        pipeline: every link, outermost first.
        lists: brings the providers' own lists of models into `models`.
        asks: the endpoints that ask a model, by path.
        router: Starlette's router over every endpoint, for paths that are not in `asks`.
        guarded: whether only programs on this machine may call, because no keys are configured.
        refuse: answers a request that the guard turned away.
    """

    def __init__(
        self,
        config: Config,
        survivors: Survivors,
        *,
        filters: Sequence[Filter],
        order: Sequence[str],
        caller_of: CallerOf | None,
    ) -> None:
        self.config = config
        self.models = build_models(config)
        sender_for = survivors.connections.senders(config).sender_for
        self.lists = ModelLists(self.models, sender_for)
        self._survivors = survivors
        self._caller_of = caller_of
        self._auth = Auth(config.callers if caller_of is None else ())
        self._order = _complete(order)
        self._own = [*build_filters(config), *(Link(name_of(call), call) for call in filters)]
        self.guarded = config.loopback and not config.callers
        self._judge = self._judged()
        self.pipeline = self._links()
        observing = survivors.observing
        upstream = Upstream(sender_for, config.timeouts, one_tenant=self._one_tenant)
        observing.serve(config, self.models, self._judge)
        self._run = fold(self.pipeline, upstream, observing.time_links(self.pipeline))
        endpoints = self._endpoints()
        self.asks = {path: each for path, each in endpoints.items() if isinstance(each, Ask)}
        self.refuse = observing.counted(_refuse)
        self.router = Router(
            [Route(path, observing.counted(endpoint, path)) for path, endpoint in endpoints.items()],
            default=observing.counted(self._filtered(_nowhere, open_to_all=True)),
            redirect_slashes=False,
        )

    async def caller(self, scope: Scope, headers: Headers) -> Caller:
        """The caller of a request that asks no model. Raises Unauthenticated."""
        known: Caller | None = scope.get(CALLER)
        if known is not None:
            return known
        return self._auth.caller(headers) if self._caller_of is None else await caller_from(self._caller_of, scope)

    async def settle_limits(self) -> None:
        """Wait until limits and budgets know what all requests have used."""
        if self._judge is not None:
            await self._judge.flush()

    def _links(self) -> list[Link]:
        """Every link of the pipeline, in order."""
        survivors = self._survivors
        tracing, stores, record = survivors.tracing, survivors.stores, survivors.record
        built = {
            "ui": _own("ui", record),
            "tracing": _own("tracing", tracing),
            "metrics": survivors.observing.links(self.config),
            "intake": _own("intake", intake),
            "auth": _own("auth", self._auth),
            "admission": _own("admission", self._admission()),
            "filters": self._own,
            "limits": _own("limits", self._limits()),
            "alias": _own("alias", Alias(self.models, self.lists.refresh)),
            "state": _own("state", None if stores is None else self._state(stores)),
            "attempts": _own("attempts", self._attempts()),
            "translation": _own("translation", Translation()),
            "attempt": _own("attempt", None if tracing is None else tracing.attempt),
        }
        return [link for name in self._order for link in built[name]]

    def _admission(self) -> Admission | None:
        """The link that admits requests; None if any number may run at once."""
        said, slots = self.config.admission, self._survivors.slots
        slots.resize(said.max_in_flight, queue=said.queue, share=said.per_tenant)
        if said.max_in_flight is None and said.per_tenant is None:
            return None
        return Admission(slots, said.queue_wait, waited=self._survivors.observing.queued)

    def _state(self, stores: Stores) -> State:
        return State(
            stores,
            chat_completions=self.config.chat_completions_continue,
            upstream_store=self.config.upstream_store,
            one_tenant=self._one_tenant,
        )

    def _judged(self) -> Judge | None:
        """Judges by the rules and budgets; None without any."""
        config, survivors = self.config, self._survivors
        if not (config.rules or config.budgets):
            return None
        prices = survivors.observing.prices
        return Judge(
            config.rules,
            config.budgets,
            survivors.counts,
            prices,
            clock=survivors.clock.wall,
            settle=survivors.observing.finished_requests.flush,
        )

    def _limits(self) -> Limits | None:
        return Limits(self._judge) if self._judge is not None and self._judge.concerns_requests else None

    def _attempts(self) -> Attempts:
        config, choosing = self.config, self._survivors.choosing
        choosing.share = config.resilience.retry_budget
        choosing.slots.queue = config.admission.queue
        choosing.health.keep(self.models.targets())
        return Attempts(
            config.resilience,
            choices=choosing,
            limits=self._judge if self._judge is not None and self._judge.concerns_targets else None,
            queue_wait=config.admission.queue_wait,
            groups_of=self.models.groups,
            clock=self._survivors.clock,
        )

    @property
    def _one_tenant(self) -> bool:
        """Whether all callers are known to be of one tenant."""
        return self._caller_of is None and len({caller.tenant for caller, _ in self.config.callers}) <= 1

    def _endpoints(self) -> dict[str, Application]:
        """The endpoints by path. Each path is there with and without a slash at its end, because some clients lose the
        body in a redirect."""
        found: dict[str, Application] = {
            **self._asking(),
            **self._stored(),
            "/v1/models": self._filtered(Answer(self._list_models, "GET", "HEAD")),
            "/v1/models/{id:path}": self._filtered(Answer(self._show_model, "GET", "HEAD")),
            "/healthz": Answer(lambda scope, headers: {"status": "ok"}, "GET", "HEAD"),
            **self._survivors.observing.endpoints(self.caller),
            **self._page(),
            "/": self._filtered(
                Answer(lambda scope, headers: {"name": "plano", "apis": list(self.asks)}, "GET", "HEAD"),
                open_to_all=True,
            ),
        }
        return {way: each for path, each in found.items() for way in _both(path)}

    def _filtered(self, endpoint: Application, *, open_to_all: bool = False) -> Application:
        if not self._own:
            return endpoint
        return Filtered(endpoint, self._own, self.caller, strangers=open_to_all or not self._auth_first)

    @property
    def _auth_first(self) -> bool:
        """Whether the user's filters see only requests with a valid key."""
        return self._order.index("auth") < self._order.index("filters")

    def _asking(self) -> dict[str, Application]:
        config = self.config
        keyed = bool(config.callers) and self._caller_of is None and self._auth_first
        return {
            path: Ask(
                dialect,
                operation.name,
                self._run,
                body_limit=config.limits.max_body_bytes,
                body_deadline=config.limits.body_seconds,
                strict=config.strict_translation,
                caller_of=self._caller_of,
                admit=self._auth.caller if keyed else None,
                finished_requests=self._survivors.observing.finished_requests,
            )
            for operation in OPERATIONS.values()
            for dialect, path in operation.paths.items()
        }

    def _stored(self) -> dict[str, Application]:
        limits = self.config.limits
        options: dict[str, Any] = {"body_limit": limits.max_body_bytes, "body_deadline": limits.body_seconds}
        return {
            path: self._filtered(Stored(self._survivors.stores, self.caller, methods, **options))
            for path, methods in ROUTES.items()
        }

    def _page(self) -> dict[str, Application]:
        """The endpoints of the page at `/ui`; none if it is off."""
        record, observing = self._survivors.record, self._survivors.observing
        if record is None:
            return {}
        return Ui(
            record,
            self.models,
            self._viewer,
            observing.finished_requests.refresh,
            observing.conditions.shown,
            shared=observing.shared,
        ).endpoints()

    async def _viewer(self, scope: Scope, headers: Headers) -> Caller:
        """The caller who looks at the page. Without keys, everybody is an operator and sees everything."""
        caller = await self.caller(scope, headers)
        return caller if self._caller_of is not None or self.config.callers else Caller(operator=True)

    async def _list_models(self, scope: Scope, headers: Headers) -> dict[str, Any]:
        models = await self._visible(scope, headers)
        query = dict(parse_qsl(scope.get("query_string", b"").decode("latin-1")))
        form = listing.anthropic_list if "anthropic-version" in headers else listing.openai_list
        return form(models, query)

    async def _show_model(self, scope: Scope, headers: Headers) -> dict[str, Any]:
        info = listing.find(await self._visible(scope, headers), scope["path_params"]["id"].rstrip("/"))
        return listing.anthropic_model(info) if "anthropic-version" in headers else listing.openai_model(info)

    async def _visible(self, scope: Scope, headers: Headers) -> list[ModelInfo]:
        """The models that the caller may ask for."""
        caller = await self.caller(scope, headers)
        await self.lists.refresh()
        return [info for info in self.models.listing() if caller.may_use(info.id) or caller.may_use(info.target)]


def _both(path: str) -> tuple[str, ...]:
    return (path,) if path == "/" or path.endswith(":path}") else (path, path + "/")


def _complete(order: Sequence[str]) -> list[str]:
    """An order with the links added that it may leave out."""
    named = set(order)
    assert named | _IN_THEIR_PLACE >= set(DEFAULT_ORDER), f"the order must name {', '.join(DEFAULT_ORDER)}, each once"
    assert named <= set(DEFAULT_ORDER), f"the order names {', '.join(sorted(named - set(DEFAULT_ORDER)))}"
    assert len(named) == len(order), "the order must name each link once"
    complete = list(order)
    for position, name in reversed(list(enumerate(DEFAULT_ORDER))):
        if name not in named:  # it stands before the link that follows it by default
            following = next((each for each in DEFAULT_ORDER[position + 1 :] if each in complete), None)
            place = len(complete) if following is None else complete.index(following)
            complete.insert(complete.index("auth") + 1 if name == "admission" else place, name)
    return complete


def _own(name: str, call: Any) -> list[Link]:
    """A link of plano's own, if it is wanted."""
    return [] if call is None else [Link(name, call, trusted=True)]


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    why = objection(scope["headers"])
    assert why is not None, "only refused requests come here"
    await send_error(scope, Headers(scope["headers"]), PermissionDenied(why), send)


async def _nowhere(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1000})
        return
    await send_error(scope, Headers(scope["headers"]), NotFound(f"There is nothing at {scope['path'][:200]}."), send)
