"""`model_providers`: checks each entry by itself, and all of them together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from plano.config.headers import is_name, wrong_value
from plano.config.outgoing import read_fields, read_keys
from plano.config.problems import Problems, did_you_mean, one_of
from plano.config.reading import Section
from plano.config.settings import ProviderEntry
from plano.config.showing import shown
from plano.config.urls import is_url, wrong_url
from plano.provider import Provider
from plano.providers import CATALOGUE
from plano.providers.closed import closed_service
from plano.routing.models import LONGEST_NAME, WILDCARD
from plano.types import Secret

INTERFACES: Mapping[str, str] = {"claude": "anthropic"}
"""Names for `provider_interface` in katanemo's Plano that differ from the row's name here."""

_LATER = "is not supported in this version of plano; a later one will. Take it out until then"

UNSUPPORTED: Mapping[str, str] = {
    "amazon_bedrock": _LATER,
    "anthropic_aws": _LATER,
    "azure_anthropic": _LATER,
    "bedrock_mantle": _LATER,
    "vertex_ai": _LATER,
    "claude-cli": "is not supported, because plano starts no programs; use `anthropic` with a key",
}
"""Messages about providers that katanemo's Plano has, or a later version of plano. The usual advice for an unknown
provider, to name one whose interface it has, would not help there."""

CALLED_ELSEWHERE: Mapping[str, str] = {
    "azure": "azure_openai",
    "bedrock": "amazon_bedrock",
    "dashscope": "qwen",
    "fireworks_ai": "fireworks",
    "hosted_vllm": "vllm",
    "lm_studio": "lmstudio",
    "moonshot": "moonshotai",
    "nvidia_nim": "nvidia",
    "ollama_chat": "ollama",
    "sgl": "sglang",
    "vercel_ai_gateway": "vercel",
    "vertex": "vertex_ai",
}
"""Names of providers in other gateways' configurations that differ from those here."""

_PLANOS_OWN = frozenset({"connection", "content-length", "host", "te", "transfer-encoding", "upgrade"})


def row_of(provider: str, interface: str | None) -> Provider | None:
    """The catalogue's row for an entry: its interface's if one is given, else its provider's; None if that is
    unknown."""
    return CATALOGUE.get(INTERFACES.get(interface, interface) if interface is not None else provider)


def read_providers(sections: Sequence[Section], problems: Problems) -> list[ProviderEntry]:
    """Reads the entries. An entry with errors of its own is left out, and the errors are added to the problems."""
    found = [(section, entry) for section in sections if (entry := _entry(section, problems)) is not None]
    found = _without_repeated_wildcards(found, problems)
    _check_names(sections, problems)
    _check_defaults(sections, problems)
    return [entry for _, entry in found]


def _without_repeated_wildcards(
    found: Sequence[tuple[Section, ProviderEntry]], problems: Problems
) -> list[tuple[Section, ProviderEntry]]:
    """Leaves out each wildcard that repeats an earlier one without a name of its own, because it never answers."""
    first: dict[str, Section] = {}
    kept = []
    for section, entry in found:
        if entry.model == WILDCARD and not section.get("name"):
            other = first.setdefault(entry.name, section)
            if other is not section:
                problems.warn(
                    section.line_of("model"),
                    section.path_of("model"),
                    f"never answers, because {where(other)} is the same wildcard; give it a `name` to reach it by, "
                    "or take it out",
                )
                continue
        kept.append((section, entry))
    return kept


def _entry(section: Section, problems: Problems) -> ProviderEntry | None:
    before = len(problems.found)
    names = _model(section, problems)
    headers, keys = _headers(section, problems), read_keys(section, problems)
    defaults, overrides = (read_fields(section, key, problems) for key in ("defaults", "overrides"))
    _base_url(section, problems)
    _proxy(section, problems)
    if names is None:
        return None
    provider, model = names
    row = None if _is_closed(section, provider, problems) else _row(section, provider, problems)
    if row is not None:
        _check_place(section, provider, row, problems)
        _check_key(section, row, problems)
    if section.get("default") and model == WILDCARD:
        problems.error(
            section.line_of("default"), section.path_of("default"), "a wildcard cannot be the default; name one model"
        )
    if row is None or any(problem.severity == "error" for problem in problems.found[before:]):
        return None
    return ProviderEntry(
        provider=provider,
        model=model,
        name=section.get("name") or section["model"],
        key=keys[0][0] if len(keys) == 1 else section.get("access_key"),
        default=bool(section.get("default")),
        base_url=section.get("base_url"),
        apis=tuple(dict.fromkeys(section.get("apis") or ())),
        passthrough_auth=bool(section.get("passthrough_auth")),
        interface=section.get("provider_interface"),
        headers=headers,
        http_host=section.get("http_host"),
        proxy=section.get("proxy"),
        http2=bool(section.get("http2")),
        keys=keys if len(keys) > 1 else (),
        context_window=section.get("context_window"),
        max_in_flight=section.get("max_in_flight"),
        timeout=section.get("timeout"),
        first_output=section.get("first_output"),
        defaults=defaults,
        overrides=overrides,
    )


def _model(section: Section, problems: Problems) -> tuple[str, str] | None:
    said = section.get("model")
    if said is None:
        return None
    provider, slash, model = said.partition("/")
    if not slash or not provider or not model:
        problems.error(
            section.line_of("model"),
            section.path_of("model"),
            f"must be `provider/model-id` or `provider/*`, such as `openai/gpt-4o`, not {shown(said)}",
        )
        return None
    if not said.isprintable() or " " in said or len(said) > LONGEST_NAME or (WILDCARD in said and model != WILDCARD):
        problems.error(
            section.line_of("model"),
            section.path_of("model"),
            "must have no blanks, and a `*` only as the whole model id, as in `openai/*`",
        )
        return None
    return provider, model


def _is_closed(section: Section, provider: str, problems: Problems) -> bool:
    """Reports an entry that would ask a service that has closed."""
    base_url = section.get("base_url")
    host = None if base_url is None else urlsplit(base_url).hostname
    closed = closed_service(provider, host, tuple(section.get("apis") or ()))
    if closed is None:
        return False
    key = "apis" if closed.dialect is not None else "model" if base_url is None else "base_url"
    problems.error(section.line_of(key), section.path_of(key), f"{closed}")
    return True


def _row(section: Section, provider: str, problems: Problems) -> Provider | None:
    if "provider_interface" in section.given and section.get("provider_interface") is None:
        return None
    interface = section.get("provider_interface")
    row = row_of(provider, interface)
    if row is not None:
        return row
    key, said = ("model", provider) if interface is None else ("provider_interface", interface)
    said = CALLED_ELSEWHERE.get(said, said)
    if said in UNSUPPORTED:
        problems.error(
            section.line_of(key),
            section.path_of(key),
            f"`{said}` {UNSUPPORTED[said]}",
        )
        return None
    if interface is not None:
        message = f"no interface is called {shown(interface)}."
        hint = did_you_mean(interface, [*CATALOGUE, *INTERFACES]) or f" Use {one_of(sorted(CATALOGUE))}."
        problems.error(section.line_of("provider_interface"), section.path_of("provider_interface"), message + hint)
        return None
    hint = f" Did you mean `{said}`?" if said in CATALOGUE else did_you_mean(provider, CATALOGUE)
    problems.error(
        section.line_of("model"),
        section.path_of("model"),
        f"no provider is called {shown(provider)}.{hint} For a server of your own, add `base_url` and "
        "`provider_interface: openai` (or another provider's name)",
    )
    return None


def _check_place(section: Section, provider: str, row: Provider, problems: Problems) -> None:
    """Checks that an entry has a URL, and that the provider has the APIs that the entry selects."""
    base_url = section.get("base_url")
    here = section.line_of("base_url")
    if base_url is None and "base_url" not in section.given:
        if row.base_url is None or provider not in CATALOGUE:
            problems.error(
                section.line, section.path_of("base_url"), f"is missing: plano does not know the URL of `{provider}`"
            )
            return
        for dialect in section.get("apis") or ():
            if dialect not in row.paths:
                problems.error(
                    section.line_of("apis"),
                    section.path_of("apis"),
                    f"plano knows no {dialect} API of `{provider}`, only {one_of(row.paths)}; "
                    "if there is one, give its `base_url`",
                )
    if section.get("http_host") and "base_url" not in section.given:
        problems.error(
            section.line_of("http_host"), section.path_of("http_host"), "needs a `base_url`, and none is given"
        )
    if base_url is not None and provider == "demo":
        problems.error(here, section.path_of("base_url"), "the demo provider answers inside plano; take this out")


def _check_key(section: Section, row: Provider, problems: Problems) -> None:
    if section.get("passthrough_auth"):
        for key in ("access_key", "access_keys"):
            if section.get(key):
                problems.warn(
                    section.line_of(key),
                    section.path_of(key),
                    "is not sent, because `passthrough_auth` forwards the caller's own credential",
                )
    elif not {"access_key", "access_keys"} & section.given and row.key_variables and section.get("base_url") is None:
        problems.warn(
            section.line,
            section.path_of("access_key"),
            f"is missing, so requests go to {row.name} without a key; usually it is `${row.key_variables[0]}`",
        )


def _base_url(section: Section, problems: Problems) -> None:
    said = section.get("base_url")
    if said is None:
        return
    wrong = wrong_url(said)
    if wrong is not None:
        problems.error(section.line_of("base_url"), section.path_of("base_url"), wrong)
        del section["base_url"]


def _proxy(section: Section, problems: Problems) -> None:
    proxy: Secret | None = section.get("proxy")
    if proxy is None:
        return
    if not is_url(proxy.reveal()):
        problems.error(
            section.line_of("proxy"),
            section.path_of("proxy"),
            "must be a proxy's URL with scheme and host, such as `http://proxy.example.com:3128`",
        )


def _headers(section: Section, problems: Problems) -> dict[str, Secret]:
    headers: dict[str, Secret] = {}
    said = section.get("headers") or Section("", None)
    for name, value in said.items():
        wrong = _wrong_header(name, value)
        if wrong is not None:
            problems.error(said.line_of(name), said.path_of(name), wrong)
        elif value is not None:
            headers[name.lower()] = value
    return headers


def _wrong_header(name: str, value: Secret | None) -> str | None:
    if not is_name(name):
        return "is not a valid name for a header"
    if name.lower() in _PLANOS_OWN:
        return "is a header that plano sets itself" + ("; use `http_host`" if name.lower() == "host" else "")
    return None if value is None else wrong_value(value.reveal())


def _check_names(sections: Sequence[Section], problems: Problems) -> None:
    first: dict[str, Section] = {}
    for section in sections:
        key = "name" if section.get("name") else "model"
        name = section.get(key)
        if name is None:
            continue
        other = first.setdefault(name, section)
        repeated_wildcard = name.endswith(f"/{WILDCARD}") and key == "model" and not other.get("name")
        if other is not section and not repeated_wildcard:
            problems.error(
                section.line_of(key),
                section.path_of(key),
                f"two entries are called {shown(name)}; the first is {where(other)}. Give one of them another `name`",
            )


def _check_defaults(sections: Sequence[Section], problems: Problems) -> None:
    defaults = [section for section in sections if section.get("default")]
    for section in defaults[1:]:
        problems.error(
            section.line_of("default"),
            section.path_of("default"),
            f"only one entry can be the default, and {where(defaults[0])} already is",
        )


def where(section: Section) -> str:
    """The place of an entry, for messages about another one."""
    return section.path if section.line is None else f"{section.path} on line {section.line}"
