"""Paths of OpenAI's that many other providers share."""

from __future__ import annotations

from collections.abc import Mapping

from plano.operations import EndpointPath
from plano.types import UpstreamDialect

EMBEDDINGS: Mapping[tuple[UpstreamDialect, str], str | EndpointPath] = {("chat", "embeddings"): "/embeddings"}
