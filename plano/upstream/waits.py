"""The wait before a request is repeated at the same target: full jitter, which spreads repeats the best (AWS
Architecture Blog, "Exponential Backoff And Jitter"), unless the upstream itself says how long to wait."""

from __future__ import annotations

from random import Random

FIRST, LONGEST = 0.25, 8.0
"""The most seconds of the first wait, and the most to which they double."""

LONGEST_ASKED = 10.0
"""The most seconds that a request waits because its upstream said so."""


def wait_before(repeat: int, *, retry_after: float | None, random: Random) -> float | None:
    """Seconds to wait before the repeat of this number, from 0; None if the upstream asks for too long a wait.

    Args:
        repeat: the number of waits that the request has behind it.
        retry_after: the seconds that the upstream asked for, None or 0 if it did not.
        random: the source of the jitter.
    """
    if retry_after is None or retry_after <= 0:
        return random.uniform(0.0, min(LONGEST, FIRST * 2.0 ** min(repeat, 16)))
    return retry_after if retry_after <= LONGEST_ASKED else None
