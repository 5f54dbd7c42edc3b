"""Requests, targets and prices for tests of limits."""

from __future__ import annotations

import json
from typing import Any

from plano.limits.settings import Budget, Rule, Selector
from plano.observability.prices import Price
from plano.provider import Target
from plano.providers import CATALOGUE
from plano.request import Request
from plano.routing.models import Entry, ModelIndex
from plano.types import Caller, ClientDialect, Headers
from tests.test_promises import MINIMAL

_ENTRIES = [
    Entry(provider=CATALOGUE["openai"], model="gpt-4o", name="openai/gpt-4o"),
    Entry(provider=CATALOGUE["openai"], model="*", name="openai/*"),
    Entry(provider=CATALOGUE["anthropic"], model="claude-sonnet-4-5", name="anthropic/claude-sonnet-4-5"),
    Entry(provider=CATALOGUE["groq"], model="llama", name="groq/llama"),
]
_INDEX = ModelIndex(_ENTRIES)


def target(name: str = "openai/gpt-4o") -> Target:
    return _INDEX.resolve(name)


def request(
    caller: Caller | None = None,
    *,
    dialect: ClientDialect = "chat",
    operation: str = "create",
    headers: dict[str, str] | None = None,
    raw: bytes | None = None,
    **fields: Any,
) -> Request:
    made = Request(
        dialect=dialect,
        operation=operation,
        raw=json.dumps(MINIMAL[dialect] | fields).encode() if raw is None else raw,
        headers=Headers([(name.encode(), value.encode()) for name, value in (headers or {}).items()]),
        caller=caller or Caller(),
    )
    made.journal.dialect = dialect
    return made


def rule(by: Any = "tenant", value: str = "*", **more: Any) -> Rule:
    header, by = (by, "header") if by.startswith("x-") else (None, by)
    return Rule(name=more.pop("name", "the rule"), selector=Selector(by=by, header=header, value=value), **more)


def budget(by: Any = "tenant", value: str = "*", **more: Any) -> Budget:
    header, by = (by, "header") if by.startswith("x-") else (None, by)
    return Budget(name=more.pop("name", "the budget"), selector=Selector(by=by, header=header, value=value), **more)


class Known:
    """Prices by the name of a target: a dollar for a thousand input or five hundred output tokens, unless another is
    given."""

    def __init__(self, **prices: Price | None) -> None:
        self._prices = {name.replace("__", "/").replace("_", "-"): price for name, price in prices.items()}

    def of(self, target: Target) -> Price | None:
        return self._prices.get(target.name, Price(input=1000.0, output=2000.0))
