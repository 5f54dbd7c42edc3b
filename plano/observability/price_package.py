"""The prices in the data of the `genai-prices` package. Importing this module reads all of that data, once.

The package can bring its data up to date from the network, in a thread of its own; that is never switched on here. So
its prices are as old as its version.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from time import time

from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelInfo, ModelPrice, TieredPrices

from plano.observability.prices import Price, Tier

_IDS: Mapping[str, str] = {
    "azure_openai": "azure",
    "gemini": "google",
    "together_ai": "together",
    "xai": "x-ai",
    "zhipu": "zhipuai",
}
"""The package's names of providers that have another one here."""

_FIELDS: Mapping[str, str] = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cached_input": "cache_read_mtok",
    "cache_creation": "cache_write_mtok",
}
"""The package's names of prices per million tokens. It also has some that no count of plano's belongs to, such as those
of audio or of web searches."""

_STEP = 900.0
"""Seconds for which a price holds. Some providers have other prices at night, from one quarter of an hour on."""

_KEPT = 1024
"""The most models that are remembered. Under a wildcard clients make names up, and a name takes a millisecond to find
that stands nowhere."""

_PROVIDERS = {provider.id: provider for provider in get_snapshot().providers}


def price_of(provider: str, model: str, *, at: float | None = None) -> Price | None:
    """The price of a provider's model, by plano's names; None if the package has none.

    Args:
        at: the time in Unix seconds, because some prices change by date or with the hour; None for now.
    """
    return _price_in(provider, model, int((time() if at is None else at) // _STEP))


@lru_cache(_KEPT)
def _price_in(provider: str, model: str, step: int) -> Price | None:
    found = _model(provider, model)
    return None if found is None else _price(found.get_prices(datetime.fromtimestamp(step * _STEP, UTC)))


@lru_cache(_KEPT)
def _model(provider: str, model: str) -> ModelInfo | None:
    row = _PROVIDERS.get(_IDS.get(provider, provider))
    return None if row is None else row.find_model(model, all_providers=[*_PROVIDERS.values()])


def _price(said: ModelPrice) -> Price | None:
    """The package's prices as one of plano's; None if neither the prompt nor the reply has one."""
    base, tiers = dict[str, float](), dict[int, dict[str, float]]()
    for field, name in _FIELDS.items():
        price: Decimal | TieredPrices | None = getattr(said, name)
        if isinstance(price, TieredPrices):
            base[field] = float(price.base)
            for tier in price.tiers:
                tiers.setdefault(tier.start, {})[field] = float(tier.price)
        elif price is not None:
            base[field] = float(price)
    if "input" not in base and "output" not in base:
        return None
    return Price(
        **({"input": 0.0} | base), tiers=tuple(Tier(above=above, **prices) for above, prices in sorted(tiers.items()))
    )
