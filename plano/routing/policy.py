"""The table of failures: where a request may go after each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple, TypeAlias

from plano.errors import UpstreamFailure

Again: TypeAlias = Literal["never", "backoff", "after_wait", "once"]
"""Whether the same target is asked again: after a growing wait, after the wait that it asked for, or once."""


class Policy(NamedTuple):
    """The steps that may follow a failure.

    Attributes:
        next_key: another key of the same target.
        again: the same target with the same key.
        next_target: another target.
    """

    next_key: bool = False
    again: Again = "never"
    next_target: bool = True


POLICIES: Mapping[UpstreamFailure, Policy] = {
    "connect": Policy(again="backoff"),
    "timeout": Policy(),
    "server": Policy(again="backoff"),
    "overloaded": Policy(again="backoff"),
    "rate_limit": Policy(next_key=True, again="after_wait"),
    "quota": Policy(next_key=True),
    "credential": Policy(next_key=True),
    "no_model": Policy(),
    "context_window": Policy(),
    "content_filter": Policy(),
    "protocol": Policy(again="once"),
    "invalid": Policy(next_target=False),
    "broken_stream": Policy(next_target=False),
}

CALLERS = frozenset[UpstreamFailure]({"invalid", "context_window", "content_filter"})
"""The failures that the client's own request causes."""


def usefulness(failure: UpstreamFailure | None) -> int:
    """The rank of a failure among those of one request: the client is told the one with the least. None is that of a
    target which cannot say the request."""
    if failure in CALLERS:
        return 0
    return {"rate_limit": 1, "quota": 2, "overloaded": 3, None: 5}.get(failure, 4)
