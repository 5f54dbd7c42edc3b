"""The prices of models, from the configuration or from a local file that is read again when it changes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from math import inf
from pathlib import Path

import msgspec
import yaml
from msgspec import Struct

from plano.conversation import Usage
from plano.errors import ConfigError
from plano.provider import Target

MILLION = 1_000_000


class Price(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The price of a million tokens, in US dollars.

    Attributes:
        input: tokens of the prompt.
        output: tokens of the reply, reasoning included.
        cached_input: prompt tokens that were read from a cache; None for the same price as `input`.
        cache_creation: prompt tokens that were written to a cache; None for the same price as `input`.
    """

    input: float
    output: float = 0.0
    cached_input: float | None = None
    cache_creation: float | None = None

    def __post_init__(self) -> None:
        if not all(
            0.0 <= price < inf
            for price in (self.input, self.output, self.cached_input or 0.0, self.cache_creation or 0.0)
        ):
            raise ValueError("a price must be a finite number of dollars, at least 0")

    def of(self, usage: Usage) -> float:
        """The cost of `usage` in dollars."""
        cached, created = usage.cached_tokens, usage.cache_creation_tokens
        fresh = max(0, usage.input_tokens - cached - created)
        dollars = fresh * self.input + usage.output_tokens * self.output
        dollars += cached * (self.input if self.cached_input is None else self.cached_input)
        dollars += created * (self.input if self.cache_creation is None else self.cache_creation)
        return dollars / MILLION


class Prices:
    """Prices by `provider/model`, or by an entry's name.

    Args:
        said: the prices in the configuration, which take precedence over the file's.
        file: a YAML or JSON file of the same shape, or None.

    Attributes:
        known: all current prices, by name.

    Raises:
        ConfigError: the file cannot be read, or holds something else.
    """

    def __init__(self, said: Mapping[str, Price], file: str | None = None) -> None:
        self.replace(said, file)

    def replace(self, said: Mapping[str, Price], file: str | None) -> None:
        """Takes other prices, as at the start. If `file` is not valid, it raises ConfigError and the old ones stay."""
        stamp = None if file is None else _stamp(file)
        known = dict(said) if file is None else read_prices(file) | dict(said)
        self._said, self._file, self._stamp, self.known = dict(said), file, stamp, known

    def of(self, target: Target) -> Price | None:
        """The price of a target, or None."""
        return self.known.get(target.name) or self.known.get(target.entry)

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
