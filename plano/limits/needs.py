"""The tokens that a request is expected to use, from its body alone."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from plano.observability.usage import estimate_input
from plano.operations import operation_of
from plano.request import Request

USUAL_OUTPUT = 1024
"""The output tokens that are reserved of rates for a request which does not say how many it wants at most."""


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

    def output(self, most: int | None) -> int:
        """Output tokens for rates; `most` is the model's own maximum, if that is known."""
        return self._limited(USUAL_OUTPUT if self.asked is None else self.asked, most)

    def most_output(self, most: int | None) -> int | None:
        """Output tokens for budgets; None for as many as a budget reserves."""
        known = most if self.asked is None else self.asked
        return None if known is None and self.choices else self._limited(known or 0, most)

    def _limited(self, output: int, most: int | None) -> int:
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
        None if wanted is None else max(0, wanted),
        max(1, asked.n or 1) if operation_of(request.operation).replies else 0,
    )
    request.journal.size = (request.raw, size)
    return size


def _asked(body: bytes) -> _Asked:
    try:
        return _ASKED.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _Asked()  # the upstream, or the translation, says what is wrong with it
