"""The text that `plano up` prints once it listens."""

from __future__ import annotations

import shlex

import msgspec

from plano.app import Plano
from plano.config.environment import DEFAULTS
from plano.errors import InvalidRequest
from plano.providers.known import KNOWN
from plano.routing.models import ModelInfo
from plano.version import VERSION

MOST_NAMES = 12


def banner(application: Plano, url: str) -> str:
    """The address, the models, and a request to try."""
    names = [info.id for info in application.models.listing() if not _is_short(info)]
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    lines = [f"plano {VERSION} listens on {url}", f"models: {', '.join(names[:MOST_NAMES])}{more}"]
    if application.config.ui:
        lines.append(f"look:   {url}/ui")
    model = model_to_try(application)
    if model is not None:
        lines += _curl(url, model, keyed=bool(application.config.callers))
    return "\n".join(lines)


def _is_short(info: ModelInfo) -> bool:
    """Whether a name is only the end of the name of its model, as bare ids are."""
    return info.target.endswith(f"/{info.id}")


def model_to_try(application: Plano) -> str | None:
    """A name that works: the default's, else the first one of the configuration; None if only wildcards are there and
    nobody knows what their providers have."""
    try:
        return application.models.resolve(None).name
    except InvalidRequest:
        pass
    for entry in application.config.providers:
        if entry.model != "*":
            return f"{entry.provider}/{entry.model}"
    for entry in application.config.providers:
        known = DEFAULTS.get(entry.provider) or next(iter(KNOWN.models.get(entry.provider, ())), None)
        if known is not None:
            return f"{entry.provider}/{known}"
    return None


def _curl(url: str, model: str, *, keyed: bool) -> list[str]:
    name = msgspec.json.encode(model).decode()
    body = shlex.quote(f'{{"model": {name}, "messages": [{{"role": "user", "content": "Hello"}}]}}')
    key = " -H 'authorization: Bearer YOUR-KEY'" if keyed else ""
    return [
        f"try:    curl {url}/v1/chat/completions -H 'content-type: application/json'{key} \\",
        f"          -d {body}",
    ]
