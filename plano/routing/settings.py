"""The settings of aliases: `model_aliases` of the configuration."""

from __future__ import annotations

from msgspec import Struct

from plano.candidates import Algorithm
from plano.errors import UpstreamFailure


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
