"""The link that translates between the dialects of client and upstream, and the compaction that it does by the way."""

from plano.filters.translation.link import Translation

__all__ = ["Translation"]
