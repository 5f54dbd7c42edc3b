"""What can be asked of a model, and where."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

from plano.types import ClientDialect

Operation: TypeAlias = Literal["create", "count_tokens", "embeddings"]
"""What is asked of a dialect: the reply itself, or one of the calls beside it."""

ASKED_AT: Mapping[str, tuple[ClientDialect, Operation]] = {
    "/v1/chat/completions": ("chat", "create"),
    "/v1/messages": ("messages", "create"),
    "/v1/responses": ("responses", "create"),
    "/v1/messages/count_tokens": ("messages", "count_tokens"),
    "/v1/responses/input_tokens": ("responses", "count_tokens"),
    "/v1/embeddings": ("chat", "embeddings"),
}
"""What each path that goes through the pipeline asks."""
