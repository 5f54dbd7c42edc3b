"""The reply to a count of a request's tokens."""

from __future__ import annotations

from typing import Any

from plano.types import ClientDialect


def count_reply(tokens: int, dialect: ClientDialect) -> dict[str, Any]:
    """OpenAI's says what kind of object it is (API reference, "Get input token counts"); Anthropic's does not."""
    kind = {"object": "response.input_tokens"} if dialect == "responses" else {}
    return {**kind, "input_tokens": tokens}
