"""`listeners` and `filters`: the address that plano listens on, and the filters that run there, in order."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from plano.config.addresses import bare_address, wrong_address
from plano.config.problems import Problems, did_you_mean
from plano.config.reading import Section
from plano.config.settings import FilterEntry, Listener
from plano.config.showing import shown

_LEGACY = "listeners.egress_traffic"
_NAMES_FILTERS = re.compile(r"listeners\[\d+\]\.(?:type|agents|filter_chain|input_filters|output_filters)")
_DOTTED = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


def model_listener(value: Any, problems: Problems) -> Section | None:
    """The section of the one listener that serves models, in either form; None where there is none."""
    if isinstance(value, Section):
        return _of_legacy(value, problems)
    found: list[Section] = []
    for section in value or ():
        if section.get("type") == "model":
            found.append(section)
        elif section.get("type") is not None:
            problems.error(
                section.line_of("type"),
                section.path_of("type"),
                f"`{section['type']}` listeners are not supported yet; only `model` is",
            )
    for section in found[1:]:
        problems.error(
            section.line_of("type"),
            section.path_of("type"),
            f"only one listener can be of type `model`, and {found[0].path} already is",
        )
    return found[0] if found else None


def _of_legacy(value: Section, problems: Problems) -> Section | None:
    if value.get("ingress_traffic") is not None:
        problems.warn(
            value.line_of("ingress_traffic"),
            value.path_of("ingress_traffic"),
            "prompt listeners are not supported yet; nothing listens there",
        )
    egress: Section | None = value.get("egress_traffic")
    if egress is not None:
        egress["name"] = "egress_traffic"
    return egress


def listener_of(section: Section | None, problems: Problems) -> Listener:
    """The listener; without a section, the default one."""
    if section is None:
        return Listener()
    check_address(section, problems)
    known = {"name", "address", "port", "timeout", "max_retries"}
    return Listener(**{key: value for key, value in section.items() if key in known and value is not None})


def check_address(section: Section, problems: Problems) -> None:
    """Reports an `address` that nothing can listen on. IPv6 loses the brackets that it has in URLs."""
    address = section.get("address")
    if address is None:
        return
    why = wrong_address(address)
    if why is not None:
        problems.error(section.line_of("address"), section.path_of("address"), why)
    section["address"] = bare_address(address)


class Filters(Struct, frozen=True):
    """The configuration's filters.

    Attributes:
        defined: all of them, in the order of the file.
        in_order: those that run, in the order they run.
    """

    defined: Sequence[FilterEntry]
    in_order: Sequence[FilterEntry]


def read_filters(sections: Sequence[Section], listener: Section | None, problems: Problems) -> Filters:
    """Reads the filters. They run in the order of the listener's `input_filters`, then those that only its
    `output_filters` name. Without a listener, all filters run, in the order of the file."""
    found: dict[str, FilterEntry] = {}
    wrong: set[str] = set()
    for section in sections:
        identity = section.get("id")
        entry = _filter(section, problems)
        if identity in found or identity in wrong:
            problems.error(section.line_of("id"), section.path_of("id"), f"two filters are called {shown(identity)}")
        elif entry is not None:
            found[entry.id] = entry
        elif identity is not None:
            wrong.add(identity)
    defined = list(found.values())
    if listener is None:
        return Filters(defined, defined)
    before = len(problems.found)
    used = _used(listener, [*found, *wrong], problems)
    # otherwise a wrong name may be meant for a filter that seems idle
    certain = len(problems.found) == before and not _unread(problems)
    if certain:
        _check_idle([section for section in sections if section.get("id") in found], used, listener, problems)
    return Filters(defined, [found[identity] for identity in used if identity in found])


def _unread(problems: Problems) -> bool:
    """Whether there are lists of filters that cannot be read."""
    return any(_NAMES_FILTERS.fullmatch(problem.path) and problem.severity == "error" for problem in problems.found)


def _check_idle(sections: Sequence[Section], used: Sequence[str], listener: Section, problems: Problems) -> None:
    """Reports each filter that never runs. It is an error because the filter may be there to keep secrets in."""
    for section in sections:
        identity = section["id"]
        if identity not in used:
            problems.error(section.line, section.path, f"never runs: {_remedy(identity, listener)}, or take it out")


def _remedy(identity: str, listener: Section) -> str:
    if listener.path == _LEGACY:
        return (
            f"`{_LEGACY}` cannot name filters; write `listeners` as a list, with "
            f"`{{type: model, name: ..., input_filters: [{identity}]}}`"
        )
    return f"add `{identity}` to the list `{listener.path_of('input_filters')}`"


def _used(listener: Section, known: Sequence[str], problems: Problems) -> list[str]:
    used: dict[str, None] = {}
    for key in ("input_filters", "output_filters"):
        for index, identity in enumerate(listener.get(key) or ()):
            if identity not in known:
                place = f"{listener.path_of(key)}[{index}]"
                hint = did_you_mean(identity, known) or " Define it under `filters`"
                problems.error(
                    problems.line_of(place) or listener.line_of(key),
                    place,
                    f"no filter is called {shown(identity)}.{hint}",
                )
            used[identity] = None
    return list(used)


def _filter(section: Section, problems: Problems) -> FilterEntry | None:
    if "type" in section.given and section.get("type") is None:
        return None
    kind = section.get("type") or ("python" if "use" in section.given or "url" not in section.given else "mcp")
    if kind != "python":
        problems.error(
            section.line_of("type"),
            section.path_of("type"),
            f"`{kind}` filters are not supported yet; only `python` ones are",
        )
        return None
    use = section.get("use")
    if use is None:
        if "use" not in section.given:
            problems.error(section.line, section.path_of("use"), "is missing: give `package.module:Name`")
        return None
    if _DOTTED.fullmatch(use) is None:
        problems.error(
            section.line_of("use"), section.path_of("use"), f"must be `package.module:Name`, not {shown(use)}"
        )
        return None
    if section.get("id") is None:
        return None
    return FilterEntry(
        id=section["id"],
        use=use,
        options=dict(section.get("options") or {}),
        line=section.line_of("use"),
        column=problems.column(section.line_of("use"), section.path_of("use")),
        path=section.path_of("use"),
    )
