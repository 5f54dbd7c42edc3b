"""The cost of a request, and where its price comes from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from plano.conversation import Usage
from plano.errors import ConfigError
from plano.observability.prices import Price, Prices, Tier
from plano.provider import Target
from plano.providers import CATALOGUE

FLAT = Price(input=2.0, output=10.0)
CACHED = Price(input=2.0, output=10.0, cached_input=0.5, cache_creation=3.0)
TIERED = Price(
    input=3.0,
    output=15.0,
    cached_input=0.3,
    cache_creation=3.75,
    tiers=(Tier(above=200_000, input=6.0, output=22.5, cached_input=0.6, cache_creation=7.5),),
)
PARTLY = Price(input=1.0, output=4.0, tiers=(Tier(above=10, input=2.0), Tier(above=20, output=8.0, cached_input=0.5)))


def used(input: int, output: int, *, cached: int = 0, created: int = 0) -> Usage:
    return Usage(input_tokens=input, output_tokens=output, cached_tokens=cached, cache_creation_tokens=created)


@pytest.mark.parametrize(
    ("price", "usage", "millionths"),
    [
        (FLAT, used(0, 0), 0),
        (FLAT, used(100, 10), 300),
        (FLAT, used(100, 10, cached=40, created=30), 300),
        (CACHED, used(100, 10, cached=40, created=30), 30 * 2 + 40 * 0.5 + 30 * 3 + 100),
        (CACHED, used(10, 0, cached=40), 40 * 0.5),  # an upstream that counts cached tokens beside the others
        (TIERED, used(200_000, 1000), 200_000 * 3 + 1000 * 15),
        (TIERED, used(200_001, 1000), 200_001 * 6 + 1000 * 22.5),
        (TIERED, used(200_001, 0, cached=200_000, created=1), 200_000 * 0.6 + 7.5),
        (PARTLY, used(10, 1), 10 + 4),
        (PARTLY, used(11, 1), 22 + 4),
        (PARTLY, used(21, 1), 42 + 8),
        (PARTLY, used(20, 1, cached=20), 40 + 4),
        (PARTLY, used(21, 1, cached=20), 2 + 20 * 0.5 + 8),
    ],
)
def test_a_request_costs_what_its_tokens_cost(price: Price, usage: Usage, millionths: float) -> None:
    assert price.of(usage) * 1_000_000 == pytest.approx(millionths)


@pytest.mark.parametrize(
    "said",
    [
        {"input": -1},
        {"input": float("inf")},
        {"input": 1, "cached_input": -0.1},
        {"input": 1, "surprise": 1},
        {"output": 1},
        {"input": 1, "tiers": [{"input": 2}]},
        {"input": 1, "tiers": [{"above": -1, "input": 2}]},
        {"input": 1, "tiers": [{"above": 1, "input": -2}]},
        {"input": 1, "tiers": [{"above": 1, "input": float("nan")}]},
        {"input": 1, "tiers": [{"above": 2, "input": 2}, {"above": 1, "input": 3}]},
        {"input": 1, "tiers": [{"above": 2, "input": 2}, {"above": 2, "input": 3}]},
    ],
)
def test_a_price_that_cannot_be_is_refused(said: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(said, Price)


def target(name: str, entry: str | None = None) -> Target:
    provider, _, model = name.partition("/")
    row: dict[str, Any] = {"dialects": ("chat",), "endpoints": {}}
    return Target(provider=CATALOGUE[provider], model=model, name=name, entry=entry or name, **row)


ONE, TWO, THREE = (Price(input=float(dollars)) for dollars in (1, 2, 3))


@pytest.mark.parametrize(
    ("said", "file", "package", "found"),
    [
        ({}, {}, False, None),
        ({"openai/m": ONE}, {"openai/m": {"input": 2}}, True, ONE),
        ({"openai/*": ONE}, {"openai/m": {"input": 2}}, True, TWO),  # the model's own name beats the entry's
        ({"openai/*": ONE}, {}, True, ONE),
        ({}, {"openai/m": {"input": 2}}, True, TWO),
        ({}, {"openai/other": {"input": 2}}, True, THREE),
        ({"openai/other": ONE}, {}, False, None),
    ],
)
def test_the_configuration_comes_before_the_file_and_that_before_the_package(
    tmp_path: Path, said: dict[str, Price], file: dict[str, Any], package: bool, found: Price | None
) -> None:
    path = tmp_path / "prices.json"
    path.write_bytes(msgspec.json.encode(file))
    prices = Prices({})
    prices.replace(said, str(path), (lambda provider, model: THREE) if package else None)
    assert prices.of(target("openai/m", entry="openai/*")) == found


def test_the_package_is_asked_by_provider_and_model() -> None:
    asked = []

    def price_of(provider: str, model: str) -> None:
        asked.append((provider, model))

    prices = Prices({})
    prices.replace({}, None, price_of)
    assert prices.of(target("groq/some/model", entry="groq/*")) is None
    assert asked == [("groq", "some/model")]


def test_a_file_has_tiers_and_is_read_again_when_it_changes(tmp_path: Path) -> None:
    file = tmp_path / "prices.yaml"
    file.write_text("openai/m: {input: 1, tiers: [{above: 10, input: 2}]}")
    prices = Prices({}, str(file))
    price = prices.of(target("openai/m"))
    assert price is not None
    assert price.of(used(11, 0)) == pytest.approx(22e-6)

    file.write_text("openai/m: {input: 5}")
    os.utime(file, ns=(0, 0))
    prices.refresh()
    assert prices.of(target("openai/m")) == Price(input=5.0)

    file.write_text("openai/m: {input: 5, tiers: [{above: 10}, {above: 10}]}")
    os.utime(file, ns=(1, 1))
    with pytest.raises(ConfigError, match="must grow"):
        prices.refresh()
    assert prices.of(target("openai/m")) == Price(input=5.0)
