"""Resolves the names in a configuration: models, rows of the catalogue, filters."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec
from msgspec.structs import replace

from plano.config.problems import Problem
from plano.config.providers import row_of
from plano.config.settings import Config, FilterEntry, ProviderEntry
from plano.config.settings import Tracing as TracingSettings
from plano.dialects import COMMON
from plano.errors import ConfigError
from plano.observability.prices import PriceOf
from plano.observability.spans import host_provider
from plano.pipeline import Filter, Link, objection
from plano.provider import Provider
from plano.providers import CATALOGUE
from plano.providers.known import KNOWN
from plano.routing.models import Entry, ModelIndex
from plano.types import UpstreamDialect

if TYPE_CHECKING:
    from plano.filters.tracing import Tracing


_OTEL = ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.grpc")


def build_models(config: Config) -> ModelIndex:
    """The index of all names of models.

    Raises:
        ConfigError: see `ModelIndex`; it is never raised for a configuration that `load` returned.
    """
    return ModelIndex([entry_of(entry) for entry in config.providers], config.aliases)


def build_filters(config: Config) -> list[Link]:
    """Imports and constructs the configuration's own filters, in the order they run.

    A class is called with the entry's options. Anything else is called too if there are options; without options it
    is used as it is.

    Raises:
        ConfigError: names every filter that could not be imported or constructed, or that cannot be a filter.
    """
    links: list[Link] = []
    wrong: list[Problem] = []
    for entry in config.filters:
        try:
            links.append(Link(entry.id, _construct(entry)))
        except ConfigError as error:
            file = config.file or "config"
            wrong.append(
                Problem(file=file, line=entry.line, column=entry.column, path=entry.path, message=error.message)
            )
    if wrong:
        raise ConfigError(wrong)
    return links


def trouble(entry: FilterEntry) -> str | None:
    """Says why a filter cannot be imported or constructed; None if it can."""
    try:
        _construct(entry)
    except ConfigError as error:
        return error.message
    return None


def can_trace() -> bool:
    """Whether the `otel` extra is installed."""
    try:
        return all(find_spec(name) is not None for name in _OTEL)
    except ModuleNotFoundError:  # the parent package is missing too
        return False


def has_prices() -> bool:
    """Whether the `prices` extra is installed."""
    return find_spec("genai_prices") is not None


def other_prices(config: Config) -> PriceOf | None:
    """The prices of models without a configured one. None, without importing the package that has them, if it is not
    asked for or not installed."""
    if not (config.prices_package and has_prices()):
        return None
    from plano.observability.price_package import price_of  # imported late because it reads all prices

    return price_of


def build_tracing(config: Config, provider: Any = None) -> Tracing | None:
    """Makes the tracing filter. Returns None, without importing anything of OpenTelemetry, if tracing is not configured
    or not installed, and the host application does not trace either.

    `provider` is the OpenTelemetry tracer provider of the host application, which needs the API only. It decides which
    spans are sampled and where they are sent. Where neither it nor `tracing` is given, the global provider does.
    """
    said = config.tracing
    provider = _provider(said) if provider is None else provider
    if provider is None:
        return None
    from plano.filters.tracing import Tracing  # imported late because OpenTelemetry is optional

    if said is None:
        return Tracing(provider)
    return Tracing(provider, header_prefixes=said.header_prefixes, static=said.static)


def _provider(said: TracingSettings | None) -> Any:
    """The provider that `tracing` configures, else the host's, if it has one."""
    if said is None:
        return host_provider()
    if said.random_sampling == 0:
        return None
    if not can_trace():
        return host_provider()
    from plano.observability.otlp import provider_for

    return provider_for(said.random_sampling, said.endpoint)


def entry_of(said: ProviderEntry) -> Entry:
    """Joins an entry to its row of the catalogue, adapted to the entry's base URL and named as the entry names it."""
    return Entry(
        provider=_row(said),
        model=said.model,
        name=said.name,
        default=said.default,
        base_url=said.base_url,
        apis=said.apis,
        key=said.keys[0][0] if said.keys else said.key,
        passthrough_auth=said.passthrough_auth,
        headers=tuple((name, value.reveal()) for name, value in said.headers.items()),
        host_header=said.http_host,
        proxy=None if said.proxy is None else said.proxy.reveal(),
        http2=said.http2,
        known=KNOWN.models.get(said.provider, ()) if said.interface in (None, said.provider) else (),
        assumed=_assumed(said),
        keys=said.keys,
        context_window=said.context_window,
        max_in_flight=said.max_in_flight,
        timeout=said.timeout,
        first_output=said.first_output,
        defaults=_fields(said.defaults),
        overrides=_fields(said.overrides),
    )


def _fields(said: Mapping[str, Any]) -> tuple[tuple[str, bytes], ...]:
    return tuple((name, msgspec.json.encode(value)) for name, value in said.items())


def _assumed(said: ProviderEntry) -> tuple[UpstreamDialect, ...]:
    """The dialects that a server at the entry's own base URL may lack: all of the provider's but chat, if the server is
    somebody else's."""
    row = row_of(said.provider, said.interface)
    if row is None or row.base_url is None or COMMON not in row.paths or said.apis or said.base_url is None:
        return ()
    own, host = urlsplit(row.base_url).hostname or "", urlsplit(said.base_url).hostname or ""
    return () if f".{host}".endswith(f".{own}") else tuple(dialect for dialect in row.paths if dialect != COMMON)


def _row(said: ProviderEntry) -> Provider:
    row = row_of(said.provider, said.interface)
    assert row is not None, "the configuration was checked for it"
    if said.base_url is not None and row.adapt is not None:
        row = row.adapt(urlsplit(said.base_url))
    if row.name == said.provider:
        return row
    known = CATALOGUE.get(said.provider)
    return replace(row, name=said.provider, base_url=None if known is None else known.base_url)


def _construct(entry: FilterEntry) -> Filter:
    module, _, name = entry.use.partition(":")
    try:
        found: Any = import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except Exception as error:  # a module can raise anything when it is imported
        raise _failed(entry, f"cannot import `{entry.use}`", error) from error
    try:
        made = found(**entry.options) if isinstance(found, type) or entry.options else found
    except Exception as error:  # a constructor can raise anything
        raise _failed(entry, f"`{entry.use}` cannot be constructed with these options", error) from error
    why = objection(made)
    if why is not None:
        raise ConfigError(f"filter `{entry.id}`: `{entry.use}`: {why}")
    return made  # type: ignore[no-any-return]


def _failed(entry: FilterEntry, what: str, error: Exception) -> ConfigError:
    return ConfigError(f"filter `{entry.id}`: {what}: {type(error).__name__}: {_without(str(error), entry.options)}")


def _without(text: str, options: Mapping[str, Any]) -> str:
    """Removes the options' values from an exception's text, because it may quote an option that is a key."""
    for value in options.values():
        if isinstance(value, str) and len(value) >= 8:
            text = text.replace(value, "***")
    return text
