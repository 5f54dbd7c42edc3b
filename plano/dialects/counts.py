"""The reply to a count of a request's tokens."""

from __future__ import annotations

from typing import Any

from plano.types import ClientDialect


def count_reply(tokens: int, dialect: ClientDialect) -> dict[str, Any]:
    """The reply in one dialect. OpenAI's names the kind of object (API reference, "Get input token counts")."""
    kind = {"object": "response.input_tokens"} if dialect == "responses" else {}
    return {**kind, "input_tokens": tokens}
