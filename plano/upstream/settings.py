"""The settings of repeated tries: `resilience` of the configuration."""

from __future__ import annotations

from msgspec import Struct

MOST_ATTEMPTS = 3
"""The attempts of a request that has several ways to be answered, unless the configuration says another number."""


class MinimumRate(Struct, frozen=True, kw_only=True):
    """The least output tokens a stream must bring in any `over` seconds after its first output; a slower one is broken
    off."""

    tokens: int
    over: float


class Resilience(Struct, frozen=True, kw_only=True):
    """How often and how long a request is tried.

    Attributes:
        max_attempts: the most attempts of one request, the first one, other keys, other targets and hedges included.
            None: 1 + the listener's `max_retries`; without that, `MOST_ATTEMPTS` for a name with several keys,
            several targets or fallbacks, and 1 for any other.
        deadline: seconds from a request's arrival in which attempts may begin and streams must have begun.
        retry_budget: the share of a target's requests that may be repeated at it.
        first_output: seconds in which a stream must bring its first output.
        first_output_reasoning: the same for a request that asks the model to reason.
        keepalive: seconds after which a comment is sent to a client that waits for a stream; None for never.
        hedge: seconds after which a second target is asked too; None for never.
        minimum_rate: see `MinimumRate`; None for any rate.
    """

    max_attempts: int | None = None
    deadline: float = 120.0
    retry_budget: float = 0.2
    first_output: float = 30.0
    first_output_reasoning: float = 120.0
    keepalive: float | None = None
    hedge: float | None = None
    minimum_rate: MinimumRate | None = None
