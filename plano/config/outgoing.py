"""The keys and the fields of bodies that an entry sends: `access_keys`, `defaults` and `overrides`."""

from __future__ import annotations

from typing import Any

from plano.config.problems import Problems
from plano.config.reading import Section
from plano.types import Secret

_REQUESTS_OWN = frozenset({"model", "messages", "input", "stream"})


def read_keys(section: Section, problems: Problems) -> tuple[tuple[Secret, float], ...]:
    """The keys of an entry with their weights; () without `access_keys`."""
    path, line = section.path_of("access_keys"), section.line_of("access_keys")
    if {"access_key", "access_keys"} <= section.given:
        problems.error(line, path, "and `access_key` say the same; use only one of the two")
    found: dict[Secret, float] = {}
    for index, said in enumerate(section.get("access_keys") or ()):
        key, weight = (said, 1.0) if isinstance(said, Secret) else (said.get("key"), said.get("weight", 1.0))
        if key in found:
            place = f"{path}[{index}]"
            problems.warn(problems.line_of(place) or line, place, "is the same key as one before it, and is left out")
        elif key is not None:
            found[key] = weight
    if found and not any(found.values()):
        problems.error(line, path, "have no weight above 0")
    return tuple(found.items())


def read_fields(section: Section, key: str, problems: Problems) -> dict[str, Any]:
    """The fields of `defaults` or `overrides`."""
    said: Section = section.get(key) or Section("", None)
    for name in said:
        place = said.line_of(name), said.path_of(name)
        if name in _REQUESTS_OWN:
            problems.error(*place, "cannot be set here, because it is the request's own")
        elif key == "defaults" and name in (section.get("overrides") or ()):
            problems.warn(*place, "has no effect, because `overrides` sets it in any case")
    return dict(said)
