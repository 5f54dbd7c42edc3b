"""The paths that many providers share."""

from __future__ import annotations

from collections.abc import Mapping

from plano.operations import EndpointPath
from plano.types import UpstreamDialect

EMBEDDINGS: Mapping[tuple[UpstreamDialect, str], str | EndpointPath] = {("chat", "embeddings"): "/embeddings"}

CHAT: Mapping[UpstreamDialect, str] = {"chat": "/chat/completions"}
CHAT_RESPONSES: Mapping[UpstreamDialect, str] = {**CHAT, "responses": "/responses"}
CHAT_MESSAGES: Mapping[UpstreamDialect, str] = {**CHAT, "messages": "/messages"}
ALL: Mapping[UpstreamDialect, str] = {**CHAT_RESPONSES, "messages": "/messages"}
