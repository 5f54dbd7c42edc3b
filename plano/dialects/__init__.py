"""The dialects, one package for each wire API. `CODECS[dialect]` is the package; see `plano.dialects.codec`."""

from __future__ import annotations

from collections.abc import Mapping

from plano.dialects import chat, messages, responses
from plano.dialects.codec import ClientCodec, Codec, UpstreamCodec
from plano.types import CLIENT_DIALECTS, ClientDialect, Dialect, UpstreamDialect

CLIENT_CODECS: Mapping[ClientDialect, Codec] = {"chat": chat, "messages": messages, "responses": responses}
"""The dialects that clients speak; upstreams speak them too."""

CODECS: Mapping[UpstreamDialect, UpstreamCodec] = {"chat": chat, "messages": messages, "responses": responses}
"""The dialects that upstreams speak."""

COMMON: UpstreamDialect = "chat"
"""The dialect that every server with a compatible API has, also one that lacks the newer ones."""


def client_codec(dialect: Dialect) -> Codec:
    """The codec of a client dialect; every request above the translation is in one."""
    assert dialect in CLIENT_DIALECTS, f"no client speaks {dialect}"
    return CLIENT_CODECS[dialect]


__all__ = ["CLIENT_CODECS", "CODECS", "COMMON", "ClientCodec", "Codec", "UpstreamCodec", "client_codec"]
