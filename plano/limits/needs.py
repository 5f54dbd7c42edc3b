"""The most that a request is expected to use, from its body and its target."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec
from msgspec import Struct

from plano.conversation import Usage
from plano.errors import PermissionDenied
from plano.limits.settings import Budget
from plano.observability.usage import estimate_input
from plano.operations import operation_of
from plano.provider import Target
from plano.request import Request

USUAL_OUTPUT = 1024
"""The output tokens that a rate reserves for a request without a `max_tokens`."""

_MOST_OUTPUT = 1_000_000
"""The most output tokens that are believed: more than any model gives. Far larger numbers could not be given back
exactly."""

_MOST_CHOICES = 128
"""The most replies to one request (OpenAI's API reference, Chat, `n`)."""


class Price(Protocol):
    """The price of a model; `plano.observability.prices.Price` is one."""

    def of(self, usage: Usage) -> float:
        """The cost in dollars."""
        ...


class Prices(Protocol):
    """Finds the prices of targets; `plano.observability.prices.Prices` is one."""

    def of(self, target: Target) -> Price | None:
        """The price of a target, None if it is not known."""
        ...


class Need:
    """The amounts that a request, or one attempt of it, asks of its limits. Each is determined only when a limit counts
    it.

    Args:
        target: the target of the attempt; None for the whole request.
        now: Unix seconds.
        new_holder: makes up an id for the places that it takes.

    Attributes:
        price: the price of its target, once a limit has asked for it.
    """

    __slots__ = ("_new_holder", "_prices", "_request", "now", "price", "target")

    def __init__(
        self, request: Request, target: Target | None, prices: Prices, now: float, new_holder: Callable[[], str]
    ) -> None:
        self._request = request
        self.target = target
        self._prices = prices
        self._new_holder = new_holder
        self.now = now
        self.price: Price | None = None

    def holder(self) -> str:
        """An id for a place."""
        return self._new_holder()

    def usage(self) -> Usage:
        """The usage that is reserved of rates."""
        size = size_of(self._request)
        return Usage(input_tokens=size.input, output_tokens=size.output(USUAL_OUTPUT, self._most))

    def usage_for(self, budget: Budget) -> Usage:
        """The usage that is reserved of a budget."""
        size, most = size_of(self._request), budget.reserve_output
        return Usage(input_tokens=size.input, output_tokens=min(size.output(most, self._most), most))

    def dollars(self, budget: Budget) -> float:
        """The dollars that are reserved of a budget. The input may have to be written to a cache, which some vendors
        charge more for.

        Raises:
            PermissionDenied: the target has no price.
        """
        price, usage = self._price(), self.usage_for(budget)
        written = Usage(
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cache_creation_tokens=usage.input_tokens,
        )
        return max(price.of(usage), price.of(written))

    @property
    def _most(self) -> int | None:
        return None if self.target is None else self.target.max_tokens

    def _price(self) -> Price:
        if self.price is not None:
            return self.price
        assert self.target is not None, "dollars are counted for the target that runs"
        price = self.price = self._prices.of(self.target)
        if price is None:
            raise PermissionDenied(
                f"The model `{self.target.name}` is paid from a budget and has no price.", code="price_unknown"
            )
        return price


class Size(Struct, frozen=True):
    """The size of a request.

    Attributes:
        input: input tokens, estimated.
        asked: the most output tokens that it asks for; None if it does not say.
        choices: the replies that it asks for; 0 where the operation gives none.
    """

    input: int
    asked: int | None
    choices: int

    def output(self, usual: int, most: int | None) -> int:
        """Output tokens.

        Args:
            usual: the number for a request that does not say.
            most: the model's own maximum, if that is known.
        """
        output = usual if self.asked is None else self.asked
        return self.choices * (output if most is None else min(output, most))


class _Asked(Struct):
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    max_output_tokens: int | None = None
    n: int | None = None


_ASKED = msgspec.json.Decoder(_Asked)


def size_of(request: Request) -> Size:
    """The size of a request. It is determined once for all attempts."""
    known = request.journal.size
    if known is not None and known[0] is request.raw:
        size: Size = known[1]
        return size
    asked = _asked(request.raw)
    limits = (asked.max_completion_tokens, asked.max_output_tokens, asked.max_tokens)
    wanted = next((each for each in limits if each), None)
    size = Size(
        estimate_input(request.raw),
        None if wanted is None else min(max(0, wanted), _MOST_OUTPUT),
        min(max(1, asked.n or 1), _MOST_CHOICES) if operation_of(request.operation).replies else 0,
    )
    request.journal.size = (request.raw, size)
    return size


def _asked(body: bytes) -> _Asked:
    try:
        return _ASKED.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _Asked()  # the upstream, or the translation, says what is wrong with it
