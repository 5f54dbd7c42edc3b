"""The checked and typed configuration that the rest of plano reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct

from plano.config.problems import Problem
from plano.limits.settings import Admission, Budget, Rule, SharedState
from plano.observability.prices import Price
from plano.routing.settings import AliasEntry
from plano.state import StateSettings
from plano.transport import Timeouts
from plano.types import Caller, Secret, UpstreamDialect
from plano.upstream.settings import Resilience


class Listener(Struct, frozen=True, kw_only=True):
    """The address that plano listens on.

    Attributes:
        timeout: seconds to wait for an upstream's first byte, and between two pieces of its reply.
    """

    name: str = "default"
    address: str = "127.0.0.1"
    port: int = 12000
    timeout: float = 300.0
    max_retries: int | None = None


class ProviderEntry(Struct, frozen=True, kw_only=True):
    """One of `model_providers`, as written; `plano.config.assemble` joins it to its row of the catalogue."""

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
    keys: tuple[tuple[Secret, float], ...] = ()
    context_window: int | None = None
    max_in_flight: int | None = None
    timeout: float | None = None
    first_output: float | None = None
    defaults: Mapping[str, Any] = {}
    overrides: Mapping[str, Any] = {}


class FilterEntry(Struct, frozen=True, kw_only=True):
    """A filter in Python.

    Attributes:
        use: `package.module:Name`. A class or a factory is called with `options`.
        line, column, path: the place of `use`, as in `Problem`.
    """

    id: str
    use: str
    options: Mapping[str, Any] = {}
    line: int | None = None
    column: int | None = None
    path: str = ""


class Limits(Struct, frozen=True, kw_only=True):
    """The most bytes of a request's body, and the seconds in which it must arrive."""

    max_body_bytes: int = 32 * 1024 * 1024
    body_seconds: float = 60.0


class Drain(Struct, frozen=True, kw_only=True):
    """The end of `plano up` after SIGTERM.

    Attributes:
        delay: seconds for which it goes on as before, while `/readyz` already says that it drains.
        timeout: seconds that running requests have after that.
    """

    delay: float = 0.0
    timeout: float = 30.0


class Tls(Struct, frozen=True, kw_only=True):
    """TLS towards upstreams.

    Attributes:
        ca_path: the file of the CAs that upstreams are verified against; None for `SSL_CERT_FILE`, `SSL_CERT_DIR` or
            certifi's list.
        certificate, key: the PEM files of plano's own certificate, for upstreams that ask for one.
    """

    ca_path: str | None = None
    certificate: str | None = None
    key: str | None = None


class Metrics(Struct, frozen=True, kw_only=True):
    """Metrics, and the address where `/metrics` is served.

    Attributes:
        enabled: `/metrics` is served.
        address, port: the address of a server for it alone; without a port it is served at the listener.
        auth: reading it needs a caller's key.
        stream_usage: streamed chat completions always ask the upstream for their usage.
    """

    enabled: bool = True
    address: str | None = None
    port: int | None = None
    auth: bool = False
    stream_usage: bool = False


class Log(Struct, frozen=True, kw_only=True):
    """The format and the content of logs.

    Attributes:
        format: `auto` is text on a terminal and JSON elsewhere.
        access: there is a line for each request.
        bodies: requests and replies are logged too, with everything that looks like a credential removed.
    """

    format: Literal["auto", "json", "text"] = "auto"
    access: bool = True
    bodies: bool = False


class Tracing(Struct, frozen=True, kw_only=True):
    """The `tracing` block, as katanemo's Plano defines it; `random_sampling` is in percent."""

    random_sampling: int = 100
    endpoint: str | None = None
    header_prefixes: tuple[str, ...] = ()
    static: Mapping[str, str] = {}


class Config(Struct, frozen=True, kw_only=True):
    """A whole configuration.

    Attributes:
        file: its path as it was given; None if it did not come from a file.
        providers: the entries, in the order of the file.
        aliases: the targets and fallbacks of each alias.
        filters: the user's own filters, in the order they run.
        callers: the callers with their keys; empty if anybody may call.
        ui: the page at `/ui` is served; None means only if `plano up` listens on loopback.
        loopback: only this machine can reach the gateway. `plano up` sets it; no key of a file does.
        state_storage: the store for conversations; None if they are not stored.
        chat_completions_continue: chat completions are stored as well.
        upstream_store: the `store` that is sent to providers; None for the client's own.
        prices: the prices of models, by name; they take precedence over those in `prices_file`.
        prices_package: the other models have the prices of the `genai-prices` package.
        rules: the rules of `ratelimits`.
        warnings: values that have no effect, or are probably not meant.
    """

    file: str | None = None
    listener: Listener = Listener()
    providers: tuple[ProviderEntry, ...] = ()
    aliases: Mapping[str, AliasEntry] = {}
    filters: tuple[FilterEntry, ...] = ()
    callers: tuple[tuple[Caller, Secret], ...] = ()
    ui: bool | None = None
    loopback: bool = False
    strict_translation: bool = False
    limits: Limits = Limits()
    drain: Drain = Drain()
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
    prices_package: bool = False
    tracing: Tracing | None = None
    resilience: Resilience = Resilience()
    rules: tuple[Rule, ...] = ()
    budgets: tuple[Budget, ...] = ()
    admission: Admission = Admission()
    shared_state: SharedState = SharedState()
    warnings: tuple[Problem, ...] = ()

    def secrets(self) -> list[Secret]:
        """Every credential in it, so that they can be kept out of logs and errors."""
        found = [key for _, key in self.callers]
        for entry in self.providers:
            found += [secret for secret in (entry.key, entry.proxy, *entry.headers.values()) if secret is not None]
            found += [key for key, _ in entry.keys]
        if self.state_storage is not None:
            found += [s for s in (self.state_storage.url, self.state_storage.connection_string) if s is not None]
        if self.shared_state.url is not None:
            found.append(self.shared_state.url)
        return found

    @property
    def timeouts(self) -> Timeouts:
        """The time to wait for upstreams."""
        patience = self.listener.timeout
        return Timeouts(connect=self.connect_timeout, first_byte=patience, idle=patience)
