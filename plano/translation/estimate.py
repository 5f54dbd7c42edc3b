"""A rough count of a conversation's tokens, for upstreams whose API does not count them."""

from __future__ import annotations

from plano.conversation import (
    Audio,
    Conversation,
    Document,
    Image,
    Part,
    RedactedThinking,
    Refusal,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)

BYTES_PER_TOKEN = 4
"""English prose and code have about four bytes per token with the usual vocabularies."""

IMAGE_TOKENS = 1600
"""The tokens of an image: about 1 600 at the largest size that is kept (Anthropic's documentation, "Vision")."""

BASE64_BYTES_PER_TOKEN = 32
"""Bytes of a document's base64 that cost one token: a PDF page of some 60 KB costs 1 500 to 3 000 tokens."""

PER_MESSAGE = 4
"""Tokens of the role and separators of one message."""


def estimate_tokens(conversation: Conversation) -> int:
    """Input tokens, estimated from the sizes of texts, tool definitions, images and files.

    The estimate is within about a quarter of the truth for prose and code, and never less than 1.
    """
    size = sum(len(part.text.encode()) for part in conversation.system)
    size += sum(_size(part) for message in conversation.messages for part in message.parts)
    for tool in conversation.tools:
        size += len(tool.name) + len(tool.description or "")
        size += sum(len(bytes(raw)) for raw in (tool.parameters, tool.format, tool.raw) if raw is not None)
    return max(1, size // BYTES_PER_TOKEN + PER_MESSAGE * len(conversation.messages))


def _size(part: Part) -> int:
    """The number of bytes of text that would cost as much as this part."""
    match part:
        case Text() | Thinking() | Refusal():
            return len(part.text.encode())
        case ToolCall():
            return len(part.name) + len(part.arguments.encode())
        case ToolResult():
            return sum(_size(inner) for inner in part.parts)
        case Image():
            return IMAGE_TOKENS * BYTES_PER_TOKEN
        case Document() | Audio():
            text = part.text if isinstance(part, Document) else None
            return len((text or "").encode()) + len(part.data or "") * BYTES_PER_TOKEN // BASE64_BYTES_PER_TOKEN
        case RedactedThinking():
            return len(part.data)
        case _:
            return len(bytes(part.raw))
