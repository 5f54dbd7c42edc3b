"""The dialects, one package for each wire API. `CODECS[dialect]` is the package; see `plano.dialects.codec`."""

from __future__ import annotations

from collections.abc import Mapping

from plano.dialects import chat, messages, responses
from plano.dialects.codec import Codec
from plano.types import Dialect

CODECS: Mapping[Dialect, Codec] = {"chat": chat, "messages": messages, "responses": responses}

__all__ = ["CODECS", "Codec"]
