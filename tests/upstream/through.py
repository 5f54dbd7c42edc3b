"""A gateway whose requests all go to the given target, in place of the one that their model's name means."""

from __future__ import annotations

from typing import Any

from plano import CallNext, Plano, Request, Response
from plano.provider import Provider, Target
from plano.providers import CATALOGUE
from plano.routing.models import Entry, ModelIndex
from plano.testing import FakeProvider
from plano.types import CLIENT_DIALECTS, Dialect
from tests.asgi import Answer, ask
from tests.test_pairs import PATHS
from tests.test_vendor_rules import asked_in

ORDER = ("metrics", "intake", "auth", "alias", "filters", "state", "translation")
ENDPOINTS = {"chat": "/chat/completions", "messages": "/messages", "responses": "/responses"}


def row(*dialects: Dialect, **more: Any) -> Provider:
    """A provider that speaks these dialects, and of which nothing else is known."""
    paths = {dialect: ENDPOINTS[dialect] for dialect in dialects or CLIENT_DIALECTS}
    return Provider(name="made_up", base_url="https://made-up.test", **{"paths": paths, **more})


def target_of(provider: Provider | str, model: str = "m", **entry: Any) -> Target:
    """The target of an entry."""
    found = CATALOGUE[provider] if isinstance(provider, str) else provider
    name = f"{found.name}/{model}"
    return ModelIndex([Entry(provider=found, model=model, name=name, **entry)]).resolve(name)


async def asked(
    provider: FakeProvider,
    target: Target,
    client: Dialect,
    *,
    path: str | None = None,
    headers: dict[str, str] | None = None,
    body: bytes | None = None,
    **fields: Any,
) -> Answer:
    """What a client gets from the target."""

    async def to_target(request: Request, call_next: CallNext) -> Response:
        return await call_next(request.replace(target=target))

    config = {"model_providers": [{"model": "openai/m", "access_key": "k", "default": True}]}
    gateway = Plano(config, filters=[to_target], order=ORDER, transport=provider)
    given = asked_in(client, **fields) if body is None else body
    answer = await ask(gateway, "POST", path or PATHS[client], given, headers)
    await gateway.aclose()
    return answer
