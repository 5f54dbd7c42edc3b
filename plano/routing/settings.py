"""The settings of aliases: `model_aliases` of the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from msgspec import Struct

from plano.candidates import Algorithm
from plano.errors import UPSTREAM_FAILURES, UpstreamFailure

ALGORITHMS: tuple[Algorithm, ...] = get_args(Algorithm)

NEVER: frozenset[UpstreamFailure] = frozenset({"invalid", "broken_stream"})
"""The failures after which nothing else is tried."""

ANY: frozenset[UpstreamFailure] = frozenset(UPSTREAM_FAILURES) - NEVER - {"context_window", "content_filter"}
"""The failures after which a fallback is tried, unless it says others."""

CONDITIONS: Mapping[str, frozenset[UpstreamFailure]] = {
    **{failure: frozenset({failure}) for failure in UPSTREAM_FAILURES if failure != "broken_stream"},
    "timeout": frozenset({"timeout", "connect"}),
    "any": ANY,
    "quota_exceeded": frozenset({"rate_limit", "quota"}),
    "primary_and_first_fallback_failed": frozenset(),
}
"""The words of `conditions`, with the failures that each stands for. The last two are those of katanemo's Plano
(documentation, "Model aliases"). The very last one adds nothing to its fallback's place in the list."""


class AliasTarget(Struct, frozen=True, kw_only=True):
    """One of an alias's targets.

    Attributes:
        model: the name of a model; if it is the only target, it may be another alias.
        weight: its share of the requests, relative to the others'.
        endpoint: a base URL that replaces the entry's.
    """

    model: str
    weight: float = 1.0
    endpoint: str | None = None


class AliasFallback(Struct, frozen=True, kw_only=True):
    """One of an alias's fallbacks.

    Attributes:
        target: the name of a model or of another alias.
        conditions: the failures after which it is tried.
    """

    target: str
    conditions: frozenset[UpstreamFailure]


class AliasEntry(Struct, frozen=True, kw_only=True):
    """One of `model_aliases`."""

    targets: tuple[AliasTarget, ...]
    algorithm: Algorithm = "weighted"
    fallbacks: tuple[AliasFallback, ...] = ()
