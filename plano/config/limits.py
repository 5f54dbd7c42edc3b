"""`ratelimits` and `budgets`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from msgspec import Struct

from plano.config.headers import is_name
from plano.config.names import Names
from plano.config.problems import Problems, did_you_mean, one_of
from plano.config.reading import Section
from plano.config.showing import shown
from plano.limits.settings import ANY, SECONDS, Budget, Rule, Selector
from plano.routing.models import WILDCARD

_RATES = ("requests", "tokens", "input_tokens", "output_tokens")
_AMOUNTS = ("dollars", "tokens")


class Subjects(Struct, frozen=True):
    """The subjects that a selector's `value` can name.

    Attributes:
        names: the models.
        aliases: the aliases.
        by: the names by the kind of subject; a kind that is missing may have any.
    """

    names: Names
    aliases: Collection[str]
    by: Mapping[str, Collection[str]]


def subjects_of(names: Names, aliases: Collection[str], entries: Sequence[Section], auth: Section | None) -> Subjects:
    """The subjects of a configuration. Without `auth`, callers and tenants are those of an application around plano."""
    by = {"entry": {name for each in entries if (name := each.get("name") or each.get("model"))}}
    callers = [each for each in (auth or Section("auth", None)).get("keys") or () if "name" in each]
    if callers:
        by["caller"] = {each["name"] for each in callers}
        by["tenant"] = {each.get("tenant") or each["name"] for each in callers}
    return Subjects(names, aliases, by)


def read_rules(sections: Sequence[Section], subjects: Subjects, problems: Problems) -> list[Rule]:
    """Reads the rules; those with errors are left out."""
    _check_unique("rules", sections, problems)
    rules = [_rule(section, index, subjects, problems) for index, section in enumerate(sections)]
    return [rule for rule in rules if rule is not None]


def read_budgets(sections: Sequence[Section], subjects: Subjects, problems: Problems) -> list[Budget]:
    """Reads the budgets; those with errors are left out."""
    _check_unique("budgets", sections, problems)
    budgets = [_budget(section, subjects, problems) for section in sections]
    return [budget for budget in budgets if budget is not None]


def _rule(section: Section, index: int, subjects: Subjects, problems: Problems) -> Rule | None:
    before = len(problems.found)
    selector = _selector(section, subjects, problems)
    model = _model(section, subjects, problems)
    limit: Section = section.get("limit") or Section("", None)
    if "limit" in section and not {*_RATES, "in_flight"} & limit.given:
        problems.error(limit.line, limit.path, f"limits nothing: give {one_of((*_RATES, 'in_flight'))}")
    elif "limit" in section:
        _check_period(limit, problems, required=bool(limit.given & set(_RATES)))
    if section.get("required") and selector is not None and selector.by != "header":
        problems.warn(
            section.line_of("required"), section.path_of("required"), "has no effect, because it is about headers alone"
        )
    if selector is None or not limit or _failed(problems, before):
        return None
    unit = limit.get("unit")
    return Rule(
        name=section.get("name") or f"ratelimits[{index}]",
        selector=selector,
        model=model,
        requests=limit.get("requests"),
        tokens=limit.get("tokens"),
        input_tokens=limit.get("input_tokens"),
        output_tokens=limit.get("output_tokens"),
        in_flight=limit.get("in_flight"),
        period=limit.get("period") or SECONDS[unit or "minute"],
        required=bool(section.get("required")),
    )


def _budget(section: Section, subjects: Subjects, problems: Problems) -> Budget | None:
    before = len(problems.found)
    selector = _selector(section, subjects, problems)
    model = _model(section, subjects, problems)
    limit: Section = section.get("limit") or Section("", None)
    if "limit" in section:
        _check_amount(limit, problems)
        _check_period(limit, problems, required=True)
    fallback: str | None = section.get("fallback")
    if fallback is not None and not subjects.names.knows(fallback):
        problems.error(section.line_of("fallback"), section.path_of("fallback"), subjects.names.unknown(fallback))
    if selector is None or "name" not in section or not limit or _failed(problems, before):
        return None
    return Budget(
        name=section["name"],
        selector=selector,
        model=model,
        dollars=limit.get("dollars"),
        tokens=limit.get("tokens"),
        unit=limit.get("unit"),
        period=limit.get("period"),
        reserve_output=section.get("reserve_output", 4096),
        fallback=fallback,
    )


def _failed(problems: Problems, before: int) -> bool:
    return any(problem.severity == "error" for problem in problems.found[before:])


def _check_unique(what: str, sections: Sequence[Section], problems: Problems) -> None:
    seen: set[str] = set()
    for section in sections:
        name = section.get("name")
        if name in seen:
            problems.error(section.line_of("name"), section.path_of("name"), f"two {what} are called {shown(name)}")
        elif name:
            seen.add(name)


def _model(section: Section, subjects: Subjects, problems: Problems) -> str | None:
    """The `provider/model` that a rule is for; None for all."""
    said = section.get("model")
    if said in (None, ANY):
        return None
    found = None if said in subjects.aliases else subjects.names.full(said)
    if found is None:
        message = subjects.names.unknown(said)
        if said in subjects.aliases:
            message = f"{shown(said)} is an alias; name the model"
        elif said.endswith(f"/{WILDCARD}"):
            message = f"no entry has models of the provider {shown(said.removesuffix(f'/{WILDCARD}'))}"
        problems.error(section.line_of("model"), section.path_of("model"), message)
    return found


def _selector(section: Section, subjects: Subjects, problems: Problems) -> Selector | None:
    said: Section | None = section.get("selector")
    if said is None:
        return None
    key, by, value = said.get("key"), said.get("by"), said.get("value") or ANY
    given = {"key", "by"} & said.given
    if len(given) != 1:
        message = "and `by` are two subjects; use only one of them" if given else "or `by` is missing"
        problems.error(said.line_of("key"), said.path_of("key"), message)
        return None
    if key is not None:
        if not is_name(key):
            problems.error(said.line_of("key"), said.path_of("key"), "is not a valid name for a header")
            return None
        return Selector(by="header", header=key.lower(), value=value)
    if by is None:
        return None
    _check_subject(said, by, value, subjects, problems)
    return Selector(by=by, value=value)


def _check_subject(said: Section, by: str, value: str, subjects: Subjects, problems: Problems) -> None:
    known = subjects.by.get(by, (value,))
    if value != ANY and value not in known:
        problems.error(
            said.line_of("value"),
            said.path_of("value"),
            f"no {by} is called {shown(value)}.{did_you_mean(value, known)}",
        )


def _check_amount(limit: Section, problems: Problems) -> None:
    given = limit.given & set(_AMOUNTS)
    if len(given) != 1:
        message = "and `tokens` are two amounts; a budget has one of them" if given else "or `tokens` is missing"
        problems.error(limit.line_of("dollars"), limit.path_of("dollars"), message)
    elif limit.get("dollars") == 0:
        problems.error(limit.line_of("dollars"), limit.path_of("dollars"), "must be more than 0")


def _check_period(limit: Section, problems: Problems, *, required: bool) -> None:
    given = limit.given & {"unit", "period"}
    if len(given) > 1:
        problems.error(
            limit.line_of("period"), limit.path_of("period"), "and `unit` say the same; use only one of the two"
        )
    elif required and not given:
        problems.error(limit.line, limit.path_of("unit"), "or `period` is missing")
