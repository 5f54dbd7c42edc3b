"""`resilience`, `admission` and `shared_state`."""

from __future__ import annotations

from typing import Any

from plano.config.problems import Problems
from plano.config.reading import Section
from plano.errors import ConfigError
from plano.limits.settings import Admission, SharedState
from plano.state import StateSettings, open_store
from plano.upstream.settings import MinimumRate, Resilience


def read_resilience(said: Section | None, listener: Section | None, problems: Problems) -> Resilience:
    """Reads `resilience`, and `max_retries` of the listener, which is one attempt less."""
    section = Section("resilience", None) if said is None else said
    retries = None if listener is None else listener.get("max_retries")
    attempts = section.get("max_attempts")
    if listener is not None and "max_retries" in listener.given and "max_attempts" in section.given:
        problems.error(
            section.line_of("max_attempts"),
            section.path_of("max_attempts"),
            f"and `{listener.path_of('max_retries')}` say the same; use only one of the two",
        )
    hedge: Any = section.get("hedge")
    if isinstance(hedge, Section):
        hedge = hedge.get("after")
    rate = section.get("minimum_rate")
    values = {key: value for key, value in section.items() if value is not None}
    values |= {
        "max_attempts": attempts if retries is None else retries + 1,
        "hedge": hedge,
        "minimum_rate": MinimumRate(**rate) if rate is not None and {"tokens", "over"} <= rate.keys() else None,
    }
    return Resilience(**values)


def check_attempts(
    resilience: Resilience, said: Section | None, listener: Section | None, aliases: Section, problems: Problems
) -> None:
    """Warns of what never happens because a request is tried only once."""
    if resilience.max_attempts != 1:
        return
    key = "resilience.max_attempts` is 1"
    if listener is not None and listener.get("max_retries") == 0:
        key = f"{listener.path_of('max_retries')}` is 0"
    for section in aliases.values():
        if section.get("fallbacks"):
            problems.warn(
                section.line_of("fallbacks"), section.path_of("fallbacks"), f"are never reached, because `{key}"
            )
    if said is not None and resilience.hedge is not None:
        problems.warn(said.line_of("hedge"), said.path_of("hedge"), f"has no effect, because `{key}")


def read_admission(section: Section | None, problems: Problems) -> Admission:
    """Reads `admission`."""
    if section is None:
        return Admission()
    most, share = section.get("max_in_flight"), section.get("per_tenant")
    if most is None and share is None and "max_in_flight" not in section.given:
        problems.warn(section.line, section.path, "has no effect without `max_in_flight` or `per_tenant`")
    elif most is not None and share is not None and share >= most:
        problems.warn(
            section.line_of("per_tenant"),
            section.path_of("per_tenant"),
            "has no effect, because `max_in_flight` is no more than it",
        )
    return Admission(**section)


def read_shared_state(section: Section | None, problems: Problems, *, counts: bool) -> SharedState:
    """Reads `shared_state`. `counts` says that there are rules or budgets."""
    if section is None or "type" not in section:
        return SharedState()
    settings = SharedState(**section)
    if settings.type == "memory":
        for key in sorted({"url", "on_failure"} & section.given):
            problems.warn(section.line_of(key), section.path_of(key), "has no effect, because `type` is `memory`")
    elif not counts:
        problems.warn(section.line, section.path, "has no effect without `ratelimits` or `budgets`")
    if settings.type == "redis":
        _check_redis(section, problems)
    return settings


def _check_redis(section: Section, problems: Problems) -> None:
    url = section.get("url")
    if url is None:
        if "url" in section:
            problems.error(section.line_of("type"), section.path_of("url"), "is missing: `redis` needs it")
        return
    try:
        open_store(StateSettings(type="redis", url=url))
    except ConfigError as error:
        problems.error(section.line_of("url"), section.path_of("url"), error.message.partition(": ")[2])
