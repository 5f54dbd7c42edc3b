"""A configuration as the rest of plano reads it: checked, typed, frozen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct

from plano.config.problems import Problem
from plano.observability.prices import Price
from plano.state import StateSettings
from plano.transport import Timeouts
from plano.types import Caller, Secret, UpstreamDialect


class Listener(Struct, frozen=True, kw_only=True):
    """Where plano listens. `timeout`, in seconds, is for a reply's first byte and between two pieces of it."""

    name: str = "default"
    address: str = "127.0.0.1"
    port: int = 12000
    timeout: float = 300.0
    max_retries: int | None = None


class ProviderEntry(Struct, frozen=True, kw_only=True):
    """One of `model_providers`, as it was said; `plano.config.assemble` finds its row."""

    provider: str
    model: str
    name: str
    key: Secret | None = None
    default: bool = False
    base_url: str | None = None
    apis: tuple[UpstreamDialect, ...] = ()
    passthrough_auth: bool = False
    interface: str | None = None
    headers: Mapping[str, Secret] = {}
    http_host: str | None = None
    proxy: Secret | None = None
    http2: bool = False


class FilterEntry(Struct, frozen=True, kw_only=True):
    """A filter in Python: `use` is `package.module:Name`, called with `options` if it is a class or a factory."""

    id: str
    use: str
    options: Mapping[str, Any] = {}
    place: str = ""


class Limits(Struct, frozen=True, kw_only=True):
    """`max_body_bytes` of a request's body, and the seconds it may take to arrive."""

    max_body_bytes: int = 32 * 1024 * 1024
    body_seconds: float = 60.0


class Tls(Struct, frozen=True, kw_only=True):
    """How upstreams are verified: against the CAs in this file, or the system's. `certificate` and `key` are the
    PEM files that plano shows to upstreams that ask who it is."""

    ca_path: str | None = None
    certificate: str | None = None
    key: str | None = None


class Metrics(Struct, frozen=True, kw_only=True):
    """Whether `/metrics` is there, and where, if not beside everything else.

    Attributes:
        address, port: of a server for it alone; without a port it is served where everything else is.
        auth: whether a caller's key is needed to see it.
        stream_usage: whether streamed chat completions always ask the upstream for their usage.
    """

    enabled: bool = True
    address: str | None = None
    port: int | None = None
    auth: bool = False
    stream_usage: bool = False


class Log(Struct, frozen=True, kw_only=True):
    """How logs look, and what is in them.

    Attributes:
        format: `auto` is text on a terminal and JSON elsewhere.
        access: a line for each request.
        bodies: requests and replies as well, with what looks like a credential taken out.
    """

    format: Literal["auto", "json", "text"] = "auto"
    access: bool = True
    bodies: bool = False


class Tracing(Struct, frozen=True, kw_only=True):
    """The original's `tracing` block; `random_sampling` in percent."""

    random_sampling: int = 100
    endpoint: str | None = None
    header_prefixes: tuple[str, ...] = ()
    static: Mapping[str, str] = {}


class Config(Struct, frozen=True, kw_only=True):
    """Everything a configuration says.

    Attributes:
        file: its path as it was given, or None.
        providers: in the order of the file.
        aliases: alias to what it points at.
        filters: the user's own, in the order they run.
        state_storage: where conversations are kept, or None for nowhere.
        chat_completions_continue: whether chat completions are kept as well.
        upstream_store: what providers are told in `store`; None is what the client says.
        callers: who may ask, and the key of each; empty when anybody may.
        prices: what models cost, by name; those in `prices_file` come after them.
        ui: whether the page at `/ui` is there; None is where `plano up` listens on loopback.
        loopback: whether only this machine reaches it. `plano up` sees to it; no file says so.
        warnings: what was accepted and does nothing, or probably not what was meant.
    """

    file: str | None = None
    listener: Listener = Listener()
    providers: tuple[ProviderEntry, ...] = ()
    aliases: Mapping[str, str] = {}
    filters: tuple[FilterEntry, ...] = ()
    callers: tuple[tuple[Caller, Secret], ...] = ()
    ui: bool | None = None
    loopback: bool = False
    strict_translation: bool = False
    limits: Limits = Limits()
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    connect_timeout: float = 5.0
    tls: Tls = Tls()
    state_storage: StateSettings | None = StateSettings()
    chat_completions_continue: bool = True
    upstream_store: bool | None = None
    metrics: Metrics = Metrics()
    log: Log = Log()
    prices: Mapping[str, Price] = {}
    prices_file: str | None = None
    tracing: Tracing | None = None
    warnings: tuple[Problem, ...] = ()

    def secrets(self) -> list[Secret]:
        """Every credential in it, for whoever must keep them out of something."""
        found = [key for _, key in self.callers]
        for entry in self.providers:
            found += [secret for secret in (entry.key, entry.proxy, *entry.headers.values()) if secret is not None]
        if self.state_storage is not None:
            found += [s for s in (self.state_storage.url, self.state_storage.connection_string) if s is not None]
        return found

    @property
    def timeouts(self) -> Timeouts:
        """How long to wait for upstreams."""
        patience = self.listener.timeout
        return Timeouts(connect=self.connect_timeout, first_byte=patience, idle=patience)
