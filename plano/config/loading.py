"""Loads a `Config` from a file or a dictionary and checks everything that can be checked before a request."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from plano.config.assemble import can_trace, entry_of
from plano.config.document import Node, from_python, join, parse, read_text
from plano.config.listeners import check_address, filters_in_order, listener_of, model_listener
from plano.config.problems import Problems, did_you_mean, shown
from plano.config.providers import read_providers
from plano.config.reading import Reader, Section
from plano.config.schema import ROOT
from plano.config.settings import Config, Drain, Limits, Listener, Log, Metrics, ProviderEntry, Tls, Tracing
from plano.errors import ConfigError, ModelNotFound
from plano.observability.prices import Price, read_prices
from plano.routing.models import ModelIndex
from plano.state import StateSettings
from plano.types import Caller, Secret

_SHORTEST_KEY = 16

_ENDPOINT = re.compile(r"https?://[^/@\s?#]+/?")


def load(source: str | Path | Mapping[str, Any], environ: Mapping[str, str] | None = None) -> Config:
    """Loads a configuration.

    Args:
        source: the path of a YAML file, or a dictionary of the same shape.
        environ: the variables for `$VAR`; None for the process's environment.

    Raises:
        ConfigError: the configuration has errors. Its `problems` has a line for each, such as
            `plano_config.yaml:12: model_providers[0].access_key: ...`.
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
    root = Reader(problems, environ).section(ROOT, node, "")
    if not isinstance(node.value, dict):
        return None
    providers = _providers(root, problems)
    said: Mapping[str, Section] = root.get("model_aliases") or {}
    aliases: dict[str, str] = {alias: section["target"] for alias, section in said.items() if "target" in section}
    index = None if _wrong_providers(problems) else ModelIndex([entry_of(entry) for entry in providers])
    _check_aliases(said, aliases, index, problems)
    listener = model_listener(root.get("listeners"), problems)
    listens = listener_of(listener, problems)
    filters = filters_in_order(root.get("filters") or (), listener, problems)
    callers = _callers(root, aliases, index, problems)
    _check_passthrough(root, problems)
    overrides: Mapping[str, Any] = root.get("overrides") or {}
    return Config(
        file=None if is_mapping else problems.file,
        listener=listens,
        providers=tuple(providers),
        aliases=aliases,
        filters=tuple(filters),
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
        prices=_prices(root.get("prices"), index, problems),
        prices_file=(root.get("prices") or {}).get("file"),
        tracing=_tracing(root.get("tracing"), problems),
        warnings=problems.warnings,
    )


def _wrong_providers(problems: Problems) -> bool:
    places = ("model_providers", "llm_providers")
    return any(problem.severity == "error" and problem.path.startswith(places) for problem in problems.found)


def _providers(root: Section, problems: Problems) -> list[ProviderEntry]:
    if {"model_providers", "llm_providers"} <= root.given:
        problems.error(
            root.line_of("llm_providers"), "llm_providers", "is the old name of `model_providers`; use only the new one"
        )
    sections = _provider_sections(root)
    if not sections and not _wrong_providers(problems):
        given = "llm_providers" if "llm_providers" in root.given else "model_providers"
        problems.error(root.line_of(given), given, "at least one entry is needed, such as `- model: openai/gpt-4o`")
    return read_providers(sections, problems)


def _provider_sections(root: Section) -> list[Section]:
    return [*(root.get("model_providers") or ()), *(root.get("llm_providers") or ())]


def _check_aliases(
    said: Mapping[str, Section], aliases: Mapping[str, str], index: ModelIndex | None, problems: Problems
) -> None:
    """Reports cycles, and targets that are no model; without an `index` only cycles."""
    in_cycles: set[str] = set()
    for alias, section in said.items():
        place = join("model_aliases", f"{alias}.target")
        chain = _chain(alias, aliases)
        if chain[-1] in aliases:
            if alias not in in_cycles:
                problems.error(section.line_of("target"), place, f"leads back to itself: {' -> '.join(chain)}")
            in_cycles.update(chain)
        elif index is not None and alias in aliases:
            if not _resolves(chain[-1], index):
                known = [*aliases, *(info.id for info in index.listing())]
                hint = did_you_mean(chain[-1], known)
                problems.error(section.line_of("target"), place, f"no model is called {shown(chain[-1])}.{hint}")
            elif _resolves(alias, index):
                problems.warn(section.line, join("model_aliases", alias), "hides the model of the same name")


def _chain(alias: str, aliases: Mapping[str, str]) -> list[str]:
    """The alias, its target, that one's target and so on, up to a name that is no alias or that closes a cycle."""
    chain = [alias]
    while chain[-1] in aliases:
        following = aliases[chain[-1]]
        if following in chain:
            return [*chain[chain.index(following) :], following]
        chain.append(following)
    return chain


def _resolves(name: str, index: ModelIndex) -> bool:
    if not name:
        return False
    try:
        index.resolve(name)
    except ModelNotFound:
        return False
    return True


def _callers(
    root: Section, aliases: Mapping[str, str], index: ModelIndex | None, problems: Problems
) -> list[tuple[Caller, Secret]]:
    auth: Section | None = root.get("auth")
    if auth is None:
        return []
    sections: Sequence[Section] = [section for section in auth.get("keys") or () if isinstance(section, Section)]
    if not sections and "keys" in auth:
        problems.error(
            auth.line_of("keys"), "auth.keys", "is empty, which lets nobody in; to let everybody in, leave `auth` out"
        )
    callers: dict[str, tuple[Caller, Secret]] = {}
    keys: dict[Secret, str] = {}
    for section in sections:
        name, key = section.get("name"), section.get("key")
        for model in section.get("models") or ():
            if index is not None and model not in aliases and not _resolves(model, index):
                hint = did_you_mean(model, [*aliases, *(info.id for info in index.listing())])
                problems.error(
                    section.line_of("models"), section.path_of("models"), f"no model is called {shown(model)}.{hint}"
                )
        if name is None or key is None:
            continue
        if name in callers:
            problems.error(section.line_of("name"), section.path_of("name"), f"two callers are called {shown(name)}")
        if key in keys:
            problems.error(section.line_of("key"), section.path_of("key"), f"is the same key as that of `{keys[key]}`")
        elif len(key.reveal()) < _SHORTEST_KEY:
            problems.warn(
                section.line_of("key"),
                section.path_of("key"),
                f"is short; use at least {_SHORTEST_KEY} random characters",
            )
        keys[key] = name
        models = frozenset(section["models"]) if section.get("models") else None
        tenant, operator = section.get("tenant") or name, section.get("operator", False)
        callers[name] = (Caller(name=name, tenant=tenant, models=models, operator=operator), key)
    return list(callers.values())


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
    paths: dict[str, str | None] = {}
    for name in ("ca_path", "certificate", "key"):
        key = f"upstream_tls_{name}"
        paths[name] = path = overrides.get(key)
        if path is not None and not Path(path).exists() and isinstance(overrides, Section):
            problems.error(overrides.line_of(key), overrides.path_of(key), "there is no such file or folder")
    return Tls(**paths)


def _state_storage(section: Section | None, problems: Problems) -> StateSettings | None:
    if section is None:
        return StateSettings()
    for kind, needed in (("postgres", "connection_string"), ("redis", "url")):
        if section.get("type") == kind and section.get(needed) is None:
            problems.error(section.line_of(needed), section.path_of(needed), f"is missing: `{kind}` needs it")
    if section.get("type") == "none":
        return None
    known = StateSettings.__struct_fields__
    return StateSettings(**{key: value for key, value in section.items() if key in known and value is not None})


def _metrics(root: Section, listener: Listener, problems: Problems) -> Metrics:
    section: Section | None = root.get("metrics")
    if section is None:
        return Metrics()
    if section.get("auth") and "auth" not in root.given:
        problems.warn(
            section.line_of("auth"), section.path_of("auth"), "needs a caller's key, but `auth` configures none"
        )
    if section.get("address") is not None and section.get("port") is None:
        problems.error(section.line_of("address"), section.path_of("address"), "needs a `port`, and none is given")
    check_address(section, problems)
    if section.get("port") and section["port"] == listener.port:
        problems.error(
            section.line_of("port"),
            section.path_of("port"),
            "is the listener's port; leave it out, and `/metrics` is served there",
        )
    return Metrics(**section)


def _prices(section: Section | None, index: ModelIndex | None, problems: Problems) -> dict[str, Price]:
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
        if index is not None and not _resolves(re.sub(r"/\*$", "/any", name), index):
            hint = did_you_mean(name, [info.id for info in index.listing()])
            problems.warn(models.line_of(name), models.path_of(name), f"is no configured model.{hint}")
        if "input" in said:
            prices[name] = Price(**said)
    return prices


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
