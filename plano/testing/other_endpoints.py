"""The fake provider's other endpoints: token counts, embeddings, lists of models."""

from __future__ import annotations

import base64
import hashlib
import math
import struct
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec

from plano.dialects import reading
from plano.dialects.counts import count_reply
from plano.testing.record import Recorded
from plano.translation.estimate import BYTES_PER_TOKEN, estimate_tokens

DIMENSIONS = 16
"""The dimensions of an embedding, unless the request names a number."""

MAX_DIMENSIONS = 4096
"""The most dimensions that a request may ask for, because vectors take memory. No model of OpenAI's has more."""

CREATED = 1_735_689_600
"""Creation time of every model in the lists, in Unix seconds (2025-01-01)."""


class _Embeddings(msgspec.Struct, frozen=True):
    """A request for embeddings (OpenAI API reference, "Embeddings"); `input` may also be token numbers."""

    input: str | list[Any]
    model: str = ""
    dimensions: Annotated[int, msgspec.Meta(ge=1, le=MAX_DIMENSIONS)] | None = None
    encoding_format: str | None = None


_embeddings = msgspec.json.Decoder(_Embeddings)


def count(recorded: Recorded) -> dict[str, Any]:
    """An estimated token count, in Anthropic's or OpenAI's form."""
    assert recorded.dialect is not None, "a count is asked for in some dialect"
    return count_reply(estimate_tokens(recorded.conversation), recorded.dialect)


def embeddings(recorded: Recorded) -> dict[str, Any]:
    """Unit vectors that are equal for equal inputs and mean nothing.

    Raises:
        InvalidRequest: the body is not a request for embeddings, or asks for too many dimensions, or none.
    """
    asked = reading.request(_embeddings, recorded.body)
    inputs = asked.input if _is_batch(asked.input) else [asked.input]
    vectors = [_vector(msgspec.json.encode(said), asked.dimensions or DIMENSIONS) for said in inputs]
    tokens = max(1, len(msgspec.json.encode(inputs)) // BYTES_PER_TOKEN)
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": _encoded(vector, asked.encoding_format)}
            for index, vector in enumerate(vectors)
        ],
        "model": asked.model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def models(recorded: Recorded, names: Sequence[str]) -> dict[str, Any] | None:
    """The list of models, or one of them, in Anthropic's form for `anthropic-version`; None for an unknown model."""
    shape = _anthropic_model if "anthropic-version" in recorded.headers else _openai_model
    _, _, asked = recorded.path.rstrip("/").rpartition("/models")
    if asked:
        return shape(asked[1:]) if asked[1:] in names else None
    listed = [shape(name) for name in names]
    if shape is _openai_model:
        return {"object": "list", "data": listed}
    ends = {"first_id": names[0], "last_id": names[-1]} if names else {"first_id": None, "last_id": None}
    return {"data": listed, "has_more": False, **ends}


def _openai_model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": CREATED, "owned_by": "plano"}


def _anthropic_model(name: str) -> dict[str, Any]:
    return {"type": "model", "id": name, "display_name": name, "created_at": "2025-01-01T00:00:00Z"}


def _is_batch(given: str | list[Any]) -> bool:
    """Whether these are several inputs. A list of numbers is one input, given as tokens."""
    return isinstance(given, list) and not all(isinstance(item, int) for item in given)


def _vector(said: bytes, dimensions: int) -> list[float]:
    digest = hashlib.shake_128(said).digest(2 * dimensions)
    raw = [number / 32768 for number in struct.unpack(f"<{dimensions}h", digest)]
    length = math.sqrt(sum(number * number for number in raw)) or 1.0
    return [number / length for number in raw]


def _encoded(vector: list[float], encoding: str | None) -> list[float] | str:
    if encoding == "base64":  # 32-bit floats, little-endian, for which OpenAI's SDK asks by default
        return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
    return vector
