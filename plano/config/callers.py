"""`auth`: the callers, their keys, and the models that they may use."""

from __future__ import annotations

from collections.abc import Sequence

from plano.config.names import Names
from plano.config.problems import Problems
from plano.config.reading import Section
from plano.config.showing import shown
from plano.types import Caller, Secret

_SHORTEST_KEY = 16


def read_callers(auth: Section | None, names: Names, problems: Problems) -> list[tuple[Caller, Secret]]:
    """Reads the callers. One whose name or key is wrong is left out, but everything else about it is checked too."""
    if auth is None:
        return []
    sections: Sequence[Section] = [section for section in auth.get("keys") or () if isinstance(section, Section)]
    if not sections and "keys" in auth:
        problems.error(
            auth.line_of("keys"), "auth.keys", "is empty, which lets nobody in; to let everybody in, leave `auth` out"
        )
    _check_names(sections, problems)
    _check_keys(sections, problems)
    for section in sections:
        _check_models(section, names, problems)
    return [_caller(section) for section in sections if {"name", "key"} <= section.keys()]


def _caller(section: Section) -> tuple[Caller, Secret]:
    name, models = section["name"], section.get("models")
    return Caller(
        name=name,
        tenant=section.get("tenant") or name,
        models=frozenset(models) if models else None,
        operator=section.get("operator", False),
    ), section["key"]


def _check_names(sections: Sequence[Section], problems: Problems) -> None:
    seen: set[str] = set()
    for section in sections:
        name = section.get("name")
        if name in seen:
            problems.error(section.line_of("name"), section.path_of("name"), f"two callers are called {shown(name)}")
        elif name is not None:
            seen.add(name)


def _check_keys(sections: Sequence[Section], problems: Problems) -> None:
    owners: dict[Secret, object] = {}
    for section in sections:
        key: Secret | None = section.get("key")
        if key is None:
            continue
        place = section.line_of("key"), section.path_of("key")
        if key in owners:
            problems.error(*place, f"is the same key as that of {shown(owners[key])}")
        elif len(key.reveal()) < _SHORTEST_KEY:
            problems.warn(*place, f"is short; use at least {_SHORTEST_KEY} random characters")
        owners.setdefault(key, section.get("name", "a caller without a name"))


def _check_models(section: Section, names: Names, problems: Problems) -> None:
    for index, model in enumerate(section.get("models") or ()):
        if not (names.knows(model) or names.covers(model)):
            path = f"{section.path_of('models')}[{index}]"
            problems.error(problems.line_of(path) or section.line_of("models"), path, names.unknown(model))
