"""`model_aliases`: the targets and fallbacks of each alias."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from plano.config.names import Names
from plano.config.problems import Problems
from plano.config.reading import Section
from plano.config.showing import shown, shown_key
from plano.config.urls import wrong_url
from plano.errors import UpstreamFailure
from plano.routing.models import WILDCARD
from plano.routing.settings import ANY, CONDITIONS, NEVER, AliasEntry, AliasFallback, AliasTarget


class _Name(Struct, frozen=True):
    """A name of a model in an alias, and its place.

    Attributes:
        name: the name.
        line, path: its place in the file.
        member: it is one of several targets, or has an `endpoint`, so that it cannot be another alias.
    """

    name: str
    line: int | None
    path: str
    member: bool = False


def read_aliases(said: Mapping[str, Section], names: Names, problems: Problems) -> dict[str, AliasEntry]:
    """Reads the aliases. Reports names that are no model, cycles, aliases that are patterns, and what has no effect. An
    alias without a target is left out."""
    entries = {alias: entry for alias, section in said.items() if (entry := _entry(section, problems)) is not None}
    targets = {alias: _targets(section) for alias, section in said.items()}
    fallbacks = {alias: _fallbacks(section, problems) for alias, section in said.items()}
    onward = {alias: [each for each in (*targets[alias], *fallbacks[alias]) if not each.member] for alias in targets}
    in_cycles: set[str] = set()
    for alias, section in said.items():
        if WILDCARD in alias or not alias:
            _refuse_pattern(section, problems)
            continue
        _check_names((*targets[alias], *fallbacks[alias]), said, names, problems)
        way = [] if alias in in_cycles else _way_back(alias, onward)
        if way:
            in_cycles.update(each.name for each in way)
            path = " -> ".join(shown_key(each) for each in (alias, *(each.name for each in way)))
            problems.error(way[0].line, way[0].path, f"leads back to itself: {path}")
        elif alias in entries and alias not in in_cycles:
            _check_effect(alias, section, fallbacks[alias], entries, names, problems)
    return entries


def models_of(name: str, aliases: Mapping[str, AliasEntry]) -> list[str]:
    """The names of the models that a name stands for before any fallback; none if it leads back to itself."""
    seen = set()
    while (entry := aliases.get(name)) is not None:
        if len(entry.targets) > 1 or name in seen:
            return [] if name in seen else [each.model for each in entry.targets]
        seen.add(name)
        name = entry.targets[0].model
    return [name]


def reached(name: str, aliases: Mapping[str, AliasEntry]) -> set[str]:
    """The names of all models that a request for a name may get to, fallbacks included."""
    found, ahead = set(), [name]
    while ahead:
        name = ahead.pop()
        if name not in found:
            found.add(name)
            if (entry := aliases.get(name)) is not None:
                ahead += [each.model for each in entry.targets] + [each.target for each in entry.fallbacks]
    return found - set(aliases)


def _entry(section: Section, problems: Problems) -> AliasEntry | None:
    if {"target", "targets"} <= section.given:
        problems.error(
            section.line_of("target"), section.path_of("target"), "and `targets` say the same; use only one of the two"
        )
    elif not {"target", "targets"} & section.given:
        problems.error(section.line, section.path_of("target"), "is missing")
    members: Sequence[Section] = section.get("targets") or ()
    targets = [
        AliasTarget(model=each["model"], weight=each.get("weight", 1.0), endpoint=_endpoint(each, problems))
        for each in members
        if "model" in each
    ]
    if members and not any(each.get("weight", 1.0) for each in members):
        problems.error(section.line_of("targets"), section.path_of("targets"), "have no weight above 0")
    if section.get("target") is not None:
        targets.append(AliasTarget(model=section["target"]))
    if not targets:
        return None
    return AliasEntry(
        targets=tuple(targets),
        algorithm=(section.get("load_balance") or {}).get("algorithm", "weighted"),
        fallbacks=tuple(_fallback(each) for each in section.get("fallbacks") or () if _named(each)),
    )


def _endpoint(target: Section, problems: Problems) -> str | None:
    said: str | None = target.get("endpoint")
    wrong = None if said is None else wrong_url(said)
    if wrong is not None:
        problems.error(target.line_of("endpoint"), target.path_of("endpoint"), wrong)
    return said


def _named(said: str | Section) -> bool:
    return isinstance(said, str) or "target" in said


def _fallback(said: str | Section) -> AliasFallback:
    if isinstance(said, str):
        return AliasFallback(target=said, conditions=ANY)
    return AliasFallback(target=said["target"], conditions=_conditions(said.get("conditions") or ()))


def _conditions(words: Iterable[str]) -> frozenset[UpstreamFailure]:
    found: frozenset[UpstreamFailure] = frozenset().union(*(CONDITIONS[word] for word in words))
    return found or ANY


def _targets(section: Section) -> list[_Name]:
    """The names of the targets of an alias."""
    members: Sequence[Section] = section.get("targets") or ()
    found = [
        _Name(each["model"], each.line_of("model"), each.path_of("model"), len(members) > 1 or bool(each["endpoint"]))
        for each in members
        if "model" in each
    ]
    if section.get("target") is not None:
        found.append(_Name(section["target"], section.line_of("target"), section.path_of("target")))
    return found


def _fallbacks(section: Section, problems: Problems) -> list[_Name]:
    """The names of the fallbacks of an alias."""
    found = []
    for index, each in enumerate(section.get("fallbacks") or ()):
        path = f"{section.path_of('fallbacks')}[{index}]"
        if isinstance(each, str):
            found.append(_Name(each, problems.line_of(path) or section.line_of("fallbacks"), path))
        elif "target" in each:
            found.append(_Name(each["target"], each.line_of("target"), each.path_of("target")))
    return found


def _refuse_pattern(section: Section, problems: Problems) -> None:
    problems.error(
        section.line,
        section.path,
        "must be a plain name. For every model of a provider, add `- model: provider/*` to `model_providers`; "
        "requests then name the models themselves",
    )


def _check_names(said: Iterable[_Name], aliases: Mapping[str, Section], names: Names, problems: Problems) -> None:
    for each in said:
        if each.member and each.name in aliases:
            problems.error(
                each.line, each.path, f"{shown(each.name)} is an alias; several `targets` must be models, not aliases"
            )
        elif not names.knows(each.name):
            problems.error(each.line, each.path, names.unknown(each.name))


def _way_back(alias: str, onward: Mapping[str, Sequence[_Name]]) -> list[_Name]:
    """The shortest way from an alias back to itself; empty if there is none."""
    ways = [[each] for each in onward[alias]]
    seen = set()
    for way in ways:  # it grows while it is walked
        name = way[-1].name
        if name == alias:
            return way
        if name not in seen:
            seen.add(name)
            ways += [[*way, each] for each in onward.get(name, ())]
    return []


def _check_effect(
    alias: str,
    section: Section,
    fallbacks: Sequence[_Name],
    entries: Mapping[str, AliasEntry],
    names: Names,
    problems: Problems,
) -> None:
    """Warns of settings that do nothing, or something else than was meant."""
    models = models_of(alias, entries)
    if models and all(names.means_other(alias, model) for model in models):
        problems.warn(section.line, section.path, "hides the model of the same name")
    targets = entries[alias].targets
    if len(targets) > 1 and len({(names.place_of(each.model), each.endpoint) for each in targets}) == 1:
        problems.warn(
            section.line_of("targets"), section.path_of("targets"), f"are all the same model, {shown(targets[0].model)}"
        )
    if len(targets) == 1 and "load_balance" in section.given:
        problems.warn(
            section.line_of("load_balance"), section.path_of("load_balance"), "has no effect on a single target"
        )
    _check_fallbacks(alias, section, fallbacks, entries, names, problems)


def _check_fallbacks(
    alias: str,
    section: Section,
    fallbacks: Sequence[_Name],
    entries: Mapping[str, AliasEntry],
    names: Names,
    problems: Problems,
) -> None:
    elsewhere = any(each.endpoint is not None for each in entries[alias].targets)
    tried = set() if elsewhere else {names.place_of(each) for each in models_of(alias, entries)}
    for each in fallbacks:
        places = {names.place_of(model) for model in models_of(each.name, entries)}
        if places and places <= tried:
            problems.warn(each.line, each.path, f"{shown(each.name)} is among the targets before it, and adds none")
        tried |= places
    for said in section.get("fallbacks") or ():
        words = () if isinstance(said, str) else said.get("conditions") or ()
        if words and _conditions(words) <= NEVER:
            problems.warn(
                said.line_of("conditions"),
                said.path_of("conditions"),
                "never lead to it, because a request that is invalid is refused by every model",
            )
