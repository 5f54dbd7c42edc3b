"""Loads a `Config` from a file or a dictionary and checks everything that can be checked before a request."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from plano.config.aliases import read_aliases
from plano.config.assemble import can_trace, has_prices, other_prices, trouble
from plano.config.budget_prices import check_prices
from plano.config.callers import read_callers
from plano.config.document import Node, from_python, parse, read_text
from plano.config.foreign import foreign
from plano.config.limits import read_budgets, read_rules, subjects_of
from plano.config.listeners import check_address, listener_of, model_listener, read_filters
from plano.config.names import Names
from plano.config.problems import Problems
from plano.config.providers import read_providers
from plano.config.reading import Reader, Section
from plano.config.resilience import check_attempts, read_admission, read_resilience, read_shared_state
from plano.config.schema import ROOT
from plano.config.settings import (
    Config,
    Drain,
    FilterEntry,
    Limits,
    Listener,
    Log,
    Metrics,
    ProviderEntry,
    Tls,
    Tracing,
)
from plano.config.showing import shown
from plano.errors import ConfigError
from plano.observability.prices import Price, read_prices
from plano.state import StateSettings, open_store
from plano.transport.tls import tls_context

_ENDPOINT = re.compile(r"https?://[^/@\s?#]+/?")


def load(source: str | Path | Mapping[str, Any], environ: Mapping[str, str] | None = None) -> Config:
    """Loads a configuration.

    Args:
        source: the path of a YAML file, or a dictionary of the same shape.
        environ: the variables for `$VAR`; None for the process's environment.

    Raises:
        ConfigError: the configuration has errors. Its `problems` has a text for each, such as
            `plano_config.yaml:12: model_providers[0].access_key: ...`, and its `found` the same as `Problem`s. If
            there are errors, filters are imported too, so that their faults are in the list.
    """
    if not isinstance(source, Mapping):
        return load_text(read(source), source, environ)
    problems = Problems("config")
    return _checked(from_python(source), problems, environ, is_mapping=True)


def load_text(text: str, file: str | Path, environ: Mapping[str, str] | None = None) -> Config:
    """Loads a configuration from the text of a file that was read before; see `load`."""
    problems = Problems(str(file))
    return _checked(parse(text, problems), problems, environ)


def read(file: str | Path) -> str:
    """The text of a configuration's file. Raises ConfigError if it cannot be read."""
    problems = Problems(str(file))
    text = read_text(Path(file), problems)
    problems.raise_errors()
    assert text is not None, "without a text there is an error"
    return text


def _checked(
    node: Node | None, problems: Problems, environ: Mapping[str, str] | None, *, is_mapping: bool = False
) -> Config:
    environ = os.environ if environ is None else environ
    config = None if node is None else _config(node, problems, environ, is_mapping)
    problems.raise_errors()
    assert config is not None, "without a document there is an error"
    return config


def _config(node: Node, problems: Problems, environ: Mapping[str, str], is_mapping: bool) -> Config | None:
    other = foreign(node.value) if isinstance(node.value, dict) else None
    if other is not None:
        problems.error(node.line, "", other)
        return None
    root = Reader(problems, environ).section(ROOT, node, "")
    if not isinstance(node.value, dict):
        return None
    providers = _providers(root, problems)
    said: Section = root.get("model_aliases") or Section("model_aliases", None)
    names = Names(providers, _provider_sections(root), said.given)
    aliases = read_aliases(said, names, problems)
    listener = model_listener(root.get("listeners"), problems)
    listens = listener_of(listener, problems)
    filters = read_filters(root.get("filters") or (), listener, problems)
    callers = read_callers(root.get("auth"), names, problems)
    _check_passthrough(root, problems)
    resilience = read_resilience(root.get("resilience"), listener, problems)
    check_attempts(resilience, root.get("resilience"), listener, said, problems)
    subjects = subjects_of(names, said.given, _provider_sections(root), root.get("auth"))
    rules = read_rules(root.get("ratelimits") or (), subjects, problems)
    budgets = read_budgets(root.get("budgets") or (), subjects, problems)
    overrides: Mapping[str, Any] = root.get("overrides") or {}
    config = Config(
        file=None if is_mapping else problems.file,
        listener=listens,
        providers=tuple(providers),
        aliases=aliases,
        filters=tuple(filters.in_order),
        callers=tuple(callers),
        ui=root.get("ui"),
        strict_translation=root.get("strict_translation", False),
        limits=Limits(**(root.get("limits") or {})),
        drain=Drain(**(root.get("drain") or {})),
        log_level=root.get("log_level", "info"),
        connect_timeout=overrides.get("upstream_connect_timeout", 5.0),
        tls=_tls(overrides, problems),
        state_storage=_state_storage(root.get("state_storage"), problems),
        chat_completions_continue=(root.get("state_storage") or {}).get("chat_completions", True),
        upstream_store=(root.get("state_storage") or {}).get("upstream_store"),
        metrics=_metrics(root, listens, problems),
        log=Log(**(root.get("log") or {})),
        prices=_prices(root.get("prices"), names, problems),
        prices_file=(root.get("prices") or {}).get("file"),
        prices_package=(root.get("prices") or {}).get("package", False),
        tracing=_tracing(root.get("tracing"), problems),
        resilience=resilience,
        rules=tuple(rules),
        budgets=tuple(budgets),
        admission=read_admission(root.get("admission"), problems),
        shared_state=read_shared_state(root.get("shared_state"), problems, counts=bool(rules or budgets)),
    )
    package = other_prices(config)
    check_prices(root.get("budgets") or (), _provider_sections(root), config, names, package, problems)
    if problems.has_errors:  # otherwise they are found when the filters are built
        _try_filters(filters.defined, problems)
    return replace(config, warnings=problems.warnings)


def _try_filters(entries: Sequence[FilterEntry], problems: Problems) -> None:
    """Adds the problems of filters that cannot be imported or constructed. A filter whose options are wrong already is
    left out."""
    wrong = [problem.path for problem in problems.found]
    for entry in entries:
        options = entry.path.removesuffix("use") + "options"
        message = None if any(path.startswith(options) for path in wrong) else trouble(entry)
        if message is not None:
            problems.error(entry.line, entry.path, message)


def _providers(root: Section, problems: Problems) -> list[ProviderEntry]:
    if {"model_providers", "llm_providers"} <= root.given:
        problems.error(
            root.line_of("llm_providers"), "llm_providers", "is the old name of `model_providers`; use only the new one"
        )
    sections = _provider_sections(root)
    given = "llm_providers" if "llm_providers" in root.given else "model_providers"
    if not sections and not _has_content(root, given):
        problems.error(root.line_of(given), given, "at least one entry is needed, such as `- model: openai/gpt-4o`")
    return read_providers(sections, problems)


def _has_content(root: Section, key: str) -> bool:
    """Whether the key has a value in which something is wrong, which is reported already."""
    return key in root.given and root.get(key, "") != ()


def _provider_sections(root: Section) -> list[Section]:
    return [*(root.get("model_providers") or ()), *(root.get("llm_providers") or ())]


def _check_passthrough(root: Section, problems: Problems) -> None:
    """Warns where callers' keys would be sent to a provider. A caller sends one credential, so if plano asks for its
    own key, that key is the one passed on."""
    if not (root.get("auth") or {}).get("keys"):
        return
    for section in _provider_sections(root):
        if section.get("passthrough_auth"):
            problems.warn(
                section.line_of("passthrough_auth"),
                section.path_of("passthrough_auth"),
                "sends callers' keys of `auth.keys` to this provider; give the entry an `access_key` instead",
            )


def _tls(overrides: Mapping[str, Any], problems: Problems) -> Tls:
    before = len(problems.found)
    paths: dict[str, str | None] = {}
    for name in ("ca_path", "certificate", "key"):
        key = f"upstream_tls_{name}"
        paths[name] = path = overrides.get(key)
        if path is not None and not Path(path).exists() and isinstance(overrides, Section):
            problems.error(overrides.line_of(key), overrides.path_of(key), "there is no such file or folder")
    tls = Tls(**paths)
    if isinstance(overrides, Section) and tls != Tls() and len(problems.found) == before:
        try:
            tls_context(ca_path=tls.ca_path, certificate=tls.certificate, key=tls.key)
        except ConfigError as error:
            problems.error(overrides.line, overrides.path, error.message)
    return tls


def _state_storage(section: Section | None, problems: Problems) -> StateSettings | None:
    if section is None:
        return StateSettings()
    before = len(problems.found)
    for kind, needed in (("postgres", "connection_string"), ("redis", "url")):
        if section.get("type") == kind and needed in section and section[needed] is None:
            problems.error(section.line_of("type"), section.path_of(needed), f"is missing: `{kind}` needs it")
    if section.get("type") in ("none", None):
        return None
    known = StateSettings.__struct_fields__
    settings = StateSettings(**{key: value for key, value in section.items() if key in known and value is not None})
    if settings.type != "memory" and len(problems.found) == before:
        _try_store(settings, section, problems)
    return settings


def _try_store(settings: StateSettings, section: Section, problems: Problems) -> None:
    """Adds the problem of a store that cannot be opened. Nothing connects to it yet."""
    try:
        open_store(settings)
    except ConfigError as error:
        path, _, message = error.message.partition(": ")
        problems.error(section.line_of(path.rpartition(".")[2]), path, message)


def _metrics(root: Section, listener: Listener, problems: Problems) -> Metrics:
    section: Section | None = root.get("metrics")
    if section is None:
        return Metrics()
    if section.get("auth") and "auth" not in root.given:
        problems.warn(
            section.line_of("auth"), section.path_of("auth"), "needs a caller's key, but `auth` configures none"
        )
    if section.get("address") is not None and section.get("port") is None and "port" in section:
        problems.error(section.line_of("address"), section.path_of("address"), "needs a `port`, and none is given")
    check_address(section, problems)
    if section.get("port") and section["port"] == listener.port:
        problems.error(
            section.line_of("port"),
            section.path_of("port"),
            "is the listener's port; leave it out, and `/metrics` is served there",
        )
    return Metrics(**section)


def _prices(section: Section | None, names: Names, problems: Problems) -> dict[str, Price]:
    if section is None:
        return {}
    file = section.get("file")
    if file is not None:
        try:
            read_prices(file)
        except ConfigError as error:
            problems.error(section.line_of("file"), section.path_of("file"), error.message)
    prices = {}
    models: Section = section.get("models") or Section("", None)
    for name, said in models.items():
        if not (names.unsure or names.is_model(re.sub(r"/\*$", "/any", name))):
            problems.warn(models.line_of(name), models.path_of(name), names.unknown(name))
        price = _price(said, problems)
        if price is not None:
            prices[name] = price
    if section.get("package") and not has_prices():
        line, path = section.line_of("package"), section.path_of("package")
        problems.warn(line, path, "has no effect: it needs `pip install 'plano[prices]'`")
    return prices


def _price(said: Section, problems: Problems) -> Price | None:
    """A model's price; None if it is wrong, which the problems say."""
    if "input" not in said or not all("above" in tier for tier in said["tiers"]):
        return None
    try:
        return msgspec.convert(said, Price)
    except msgspec.ValidationError as error:
        problems.error(said.line_of("tiers"), said.path_of("tiers"), str(error))
        return None


def _tracing(section: Section | None, problems: Problems) -> Tracing | None:
    if section is None:
        return None
    if not can_trace():
        problems.warn(section.line, section.path, "has no effect: it needs `pip install 'plano[otel]'`")
    endpoint = section.get("opentracing_grpc_endpoint")
    if endpoint is not None and not _ENDPOINT.fullmatch(endpoint):
        problems.error(
            section.line_of("opentracing_grpc_endpoint"),
            section.path_of("opentracing_grpc_endpoint"),
            f"must be scheme, host and port, such as `http://localhost:4317`, not {shown(endpoint)}",
        )
    attributes: Mapping[str, Any] = section.get("span_attributes") or {}
    return Tracing(
        random_sampling=section.get("random_sampling", 100),
        endpoint=endpoint,
        header_prefixes=tuple(attributes.get("header_prefixes") or ()),
        static=attributes.get("static") or {},
    )
