"""The prices of the `genai-prices` package, as plano's."""

from __future__ import annotations

import subprocess
import sys
import warnings
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from genai_prices import Usage as Tokens
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelPrice, TieredPrices
from genai_prices.types import Tier as Step

from plano import Plano
from plano.conversation import Usage
from plano.observability import price_package
from plano.observability.price_package import price_of
from plano.observability.prices import Price
from plano.providers import CATALOGUE
from plano.testing import FakeProvider, Reply
from tests.asgi import ask

THEN = datetime(2026, 6, 15, 12, 7, tzinfo=UTC)


def same(price: Price, said: ModelPrice, **tokens: int) -> bool:
    """Whether both say the same of a request."""
    usage = Usage(
        input_tokens=tokens["input_tokens"],
        output_tokens=tokens["output_tokens"],
        cached_tokens=tokens.get("cache_read_tokens", 0),
        cache_creation_tokens=tokens.get("cache_write_tokens", 0),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = said.calc_price(Tokens(**tokens))["total_price"]
    return price.of(usage) == pytest.approx(float(theirs))


SPENT: list[dict[str, int]] = [
    {"input_tokens": 1000, "output_tokens": 500},
    {"input_tokens": 100_000, "output_tokens": 500, "cache_read_tokens": 90_000, "cache_write_tokens": 5_000},
    {"input_tokens": 300_000, "output_tokens": 5000, "cache_read_tokens": 100_000, "cache_write_tokens": 100_000},
]


@pytest.mark.parametrize("tokens", SPENT)
@pytest.mark.parametrize(
    ("provider", "theirs", "model"),
    [
        ("openai", "openai", "gpt-4o-2024-08-06"),
        ("openai", "openai", "gpt-5"),
        ("anthropic", "anthropic", "claude-sonnet-4-5-20250929"),
        ("anthropic", "anthropic", "claude-haiku-4-5"),
        ("gemini", "google", "gemini-2.5-pro"),
        ("xai", "x-ai", "grok-4"),
        ("groq", "groq", "llama-3.3-70b-versatile"),
        ("deepseek", "deepseek", "deepseek-chat"),
        ("azure_openai", "azure", "gpt-4o"),
        ("openrouter", "openrouter", "anthropic/claude-sonnet-4.5"),
    ],
)
def test_a_request_costs_what_the_package_says(provider: str, theirs: str, model: str, tokens: dict[str, int]) -> None:
    price = price_of(provider, model, at=THEN.timestamp())
    assert price is not None
    row, found = get_snapshot().find_provider_model(model, None, theirs, None)
    assert row.id == theirs
    assert same(price, found.get_prices(THEN), **tokens)


ONE = Decimal(1)


@pytest.mark.parametrize(
    ("said", "price"),
    [
        ({}, None),
        ({"audio_hours": ONE}, None),
        ({"input_mtok": ONE}, {"input": 1}),
        ({"output_mtok": ONE}, {"input": 0, "output": 1}),
        (
            {
                "input_mtok": TieredPrices(base=ONE, tiers=[Step(10, Decimal(2)), Step(20, Decimal(3))]),
                "output_mtok": TieredPrices(base=ONE, tiers=[Step(15, Decimal(5))]),
                "cache_read_mtok": Decimal("0.1"),
            },
            {
                "input": 1,
                "output": 1,
                "cached_input": 0.1,
                "tiers": [{"above": 10, "input": 2}, {"above": 15, "output": 5}, {"above": 20, "input": 3}],
            },
        ),
    ],
)
def test_its_tiers_are_plano_s(said: dict[str, Any], price: dict[str, Any] | None) -> None:
    assert price_package._price(ModelPrice(**said)) == (None if price is None else msgspec.convert(price, Price))


@pytest.mark.parametrize(
    ("provider", "model"), [("openai", "nothing-like-that"), ("demo", "echo"), ("plano", "gpt-4o"), ("openai", "")]
)
def test_an_unknown_model_has_no_price(provider: str, model: str) -> None:
    assert price_of(provider, model) is None


def test_its_names_of_providers_are_names_of_rows() -> None:
    theirs = {row.id for row in get_snapshot().providers}
    assert price_package._IDS.keys() <= CATALOGUE.keys()
    assert set(price_package._IDS.values()) <= theirs
    assert not price_package._IDS.keys() & theirs


def test_a_price_changes_by_date_and_hour_as_the_package_says() -> None:
    for provider in get_snapshot().providers:
        if provider.id not in CATALOGUE:
            continue
        for model in provider.models:
            if isinstance(model.prices, list) and provider.find_model(model.id) is model:
                times = [datetime(2025, 1 + month, 3, hour, tzinfo=UTC) for month in range(12) for hour in (2, 20)]
                for time in times:
                    price, said = price_of(provider.id, model.id, at=time.timestamp()), model.get_prices(time)
                    assert price == price_package._price(said), (provider.id, model.id, time)


def test_names_that_clients_make_up_are_forgotten() -> None:
    for number in range(20):
        price_of("demo", f"made-up-{number}")
    for cache in (price_package._price_in, price_package._model):
        assert cache.cache_info().maxsize == price_package._KEPT


async def test_a_gateway_counts_the_cost_of_a_model_without_a_price_of_its_own() -> None:
    provider = FakeProvider()
    provider.script(Reply("fine", usage=Usage(input_tokens=1000, output_tokens=100)))
    entry = {"model": "openai/gpt-4o", "access_key": "k"}
    app = Plano({"model_providers": [entry], "prices": {"package": True}}, transport=provider)
    body = {"model": "openai/gpt-4o", "messages": [{"role": "user", "content": "Hi"}]}
    assert (await ask(app, "POST", "/v1/chat/completions", body)).status == 200
    page = (await ask(app, "GET", "/metrics")).body.decode()
    (line,) = [line for line in page.splitlines() if line.startswith("plano_cost_dollars_total{")]
    assert float(line.rpartition(" ")[2]) == pytest.approx((1000 * 2.5 + 100 * 10) / 1e6)


@pytest.mark.parametrize(("asked", "imported"), [("true", True), ("false", False)])
def test_it_is_imported_only_if_it_is_asked_for_and_asks_no_network(asked: str, imported: bool) -> None:
    script = f"""
import socket, sys, threading
def no(*_): raise AssertionError("it asked the network")
socket.getaddrinfo = socket.create_connection = no
from plano import Plano
entry = {{"model": "openai/gpt-4o", "access_key": "k"}}
app = Plano({{"model_providers": [entry], "prices": {{"package": {asked.title()}}}}})
target = app.models.resolve("openai/gpt-4o")
assert (app._survivors.observing.prices.of(target) is not None) is {imported}
assert ("genai_prices" in sys.modules) is {imported}
assert threading.active_count() == 1
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
