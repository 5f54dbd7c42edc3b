"""The prices of models: from the configuration, from a local file that is read again when it changes, and from the data
of the `genai-prices` package. Nothing here asks the network."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from math import inf
from pathlib import Path
from typing import TypeAlias

import msgspec
import yaml
from msgspec import Struct
from msgspec.structs import replace

from plano.conversation import Usage
from plano.errors import ConfigError
from plano.provider import Target

MILLION = 1_000_000


class Tier(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Other prices of a model for requests with long prompts, in US dollars per million tokens.

    Attributes:
        above: the prompt's tokens above which the whole request has these prices.
        input, output, cached_input, cache_creation: as in `Price`; None for the price of shorter prompts.
    """

    above: int
    input: float | None = None
    output: float | None = None
    cached_input: float | None = None
    cache_creation: float | None = None

    def __post_init__(self) -> None:
        if self.above < 0:
            raise ValueError("`above` must be a number of tokens, at least 0")
        _check(self.input, self.output, self.cached_input, self.cache_creation)


class Price(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The price of a million tokens, in US dollars.

    Attributes:
        input: tokens of the prompt.
        output: tokens of the reply, reasoning included.
        cached_input: prompt tokens that were read from a cache; None for the same price as `input`.
        cache_creation: prompt tokens that were written to a cache; None for the same price as `input`.
        tiers: other prices of long prompts, in the order of their `above`.
    """

    input: float
    output: float = 0.0
    cached_input: float | None = None
    cache_creation: float | None = None
    tiers: tuple[Tier, ...] = ()

    def __post_init__(self) -> None:
        _check(self.input, self.output, self.cached_input, self.cache_creation)
        above = [tier.above for tier in self.tiers]
        if above != sorted(set(above)):
            raise ValueError("the `above` of `tiers` must grow from one to the next")

    def of(self, usage: Usage) -> float:
        """The cost of `usage` in dollars."""
        price = self.at(usage.input_tokens) if self.tiers else self
        cached, created = usage.cached_tokens, usage.cache_creation_tokens
        fresh = max(0, usage.input_tokens - cached - created)
        dollars = fresh * price.input + usage.output_tokens * price.output
        dollars += cached * (price.input if price.cached_input is None else price.cached_input)
        dollars += created * (price.input if price.cache_creation is None else price.cache_creation)
        return dollars / MILLION

    def at(self, input_tokens: int) -> Price:
        """The prices of a request with so many tokens in its prompt, cached ones included."""
        found = replace(self, tiers=())
        for tier in self.tiers:
            if input_tokens > tier.above:
                said = {field: getattr(tier, field) for field in _KINDS}
                found = replace(found, **{field: price for field, price in said.items() if price is not None})
        return found


_KINDS = ("input", "output", "cached_input", "cache_creation")


def _check(*prices: float | None) -> None:
    if not all(0.0 <= (price or 0.0) < inf for price in prices):
        raise ValueError("a price must be a finite number of dollars, at least 0")


PriceOf: TypeAlias = Callable[[str, str], Price | None]
"""Gives the price of a provider's model, by the names of both."""


class Prices:
    """Prices by `provider/model`, or by an entry's name.

    Args:
        said: the prices in the configuration, which take precedence over the file's.
        file: a YAML or JSON file of the same shape, or None.
        otherwise: gives the prices of models that have none there; None if nothing does.

    Attributes:
        known: all current prices of the configuration and the file, by name.

    Raises:
        ConfigError: the file cannot be read, or holds something else.
    """

    def __init__(self, said: Mapping[str, Price], file: str | None = None) -> None:
        self.replace(said, file)

    def replace(self, said: Mapping[str, Price], file: str | None, otherwise: PriceOf | None = None) -> None:
        """Takes other prices, as at the start. If `file` is not valid, it raises ConfigError and the old ones stay."""
        stamp = None if file is None else _stamp(file)
        known = dict(said) if file is None else read_prices(file) | dict(said)
        self._said, self._file, self._stamp, self.known = dict(said), file, stamp, known
        self._otherwise = otherwise

    def of(self, target: Target) -> Price | None:
        """The price of a target, or None."""
        found = self.known.get(target.name) or self.known.get(target.entry)
        if found is None and self._otherwise is not None:
            return self._otherwise(target.provider.name, target.model)
        return found

    def refresh(self) -> None:
        """Reads the file again if it has changed.

        Raises:
            ConfigError: the file is not valid any more. The old prices stay in force until it changes again.
        """
        if self._file is None:
            return
        stamp = _stamp(self._file)
        if stamp != self._stamp:
            self._stamp = stamp
            self.known = read_prices(self._file) | self._said


def read_prices(file: str) -> dict[str, Price]:
    """Reads the prices in a file, which maps names to prices.

    Raises:
        ConfigError: the file cannot be read, or has another shape.
    """
    try:
        found = yaml.safe_load(Path(file).read_text(encoding="utf-8-sig"))
        return msgspec.convert(found or {}, dict[str, Price])
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{file}: is not UTF-8 text") from None
    except yaml.YAMLError:
        raise ConfigError(f"{file}: is not YAML") from None
    except msgspec.ValidationError as error:
        raise ConfigError(f"{file}: is not a list of prices: {error}") from None


def _stamp(file: str) -> tuple[int, int] | None:
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
