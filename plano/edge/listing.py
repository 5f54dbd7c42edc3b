"""`/v1/models` and `/v1/models/{id}`, in OpenAI's shape, in Anthropic's, and in one that Codex can read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from plano.errors import InvalidRequest, ModelNotFound
from plano.routing.models import ModelInfo

CREATED = 1_704_067_200
"""Creation time of every model in the lists, in Unix seconds (2024-01-01). The gateway knows no provider's dates, and a
changing one would make the list look new each time."""

_PAGE = 20
_LARGEST_PAGE = 1000


def openai_model(info: ModelInfo) -> dict[str, Any]:
    """A model in OpenAI's form (API reference, "The model object")."""
    return {"id": info.id, "object": "model", "created": CREATED, "owned_by": info.owner}


def anthropic_model(info: ModelInfo) -> dict[str, Any]:
    """A model in Anthropic's form (API reference, "Get a Model")."""
    created = datetime.fromtimestamp(CREATED, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"type": "model", "id": info.id, "display_name": info.id, "created_at": created}


def openai_list(models: Sequence[ModelInfo], query: Mapping[str, str]) -> dict[str, Any]:
    """Models in OpenAI's form.

    Codex with an account's credentials names its version and wants `models` too, in which an entry holds the whole
    prompt that it would send (openai/codex, `ModelsResponse`). With an empty one it goes on with those that it knows.
    """
    listed: dict[str, Any] = {"object": "list", "data": [openai_model(info) for info in models]}
    return listed | {"models": []} if "client_version" in query else listed


def anthropic_list(models: Sequence[ModelInfo], query: Mapping[str, str]) -> dict[str, Any]:
    """A page of models in Anthropic's form, by `limit` (1 to 1000, 20 by default), `after_id` and `before_id`.

    Raises:
        InvalidRequest: `limit` is not a number in that range.
    """
    limit = _limit(query.get("limit"))
    found = list(models)
    ids = [info.id for info in found]
    if (after := query.get("after_id")) in ids:
        found = found[ids.index(after) + 1 :]
        page = found[:limit]
    elif (before := query.get("before_id")) in ids:
        found = found[: ids.index(before)]
        page = found[-limit:]
    else:
        page = found[:limit]
    return {
        "data": [anthropic_model(info) for info in page],
        "has_more": len(page) < len(found),
        "first_id": page[0].id if page else None,
        "last_id": page[-1].id if page else None,
    }


def find(models: Sequence[ModelInfo], name: str) -> ModelInfo:
    """The model of that name.

    Raises:
        ModelNotFound: there is none.
    """
    for info in models:
        if info.id == name:
            return info
    raise ModelNotFound(name)


def _limit(given: str | None) -> int:
    if given is None:
        return _PAGE
    if not given.isdigit() or not 1 <= int(given) <= _LARGEST_PAGE:
        raise InvalidRequest(f"limit: must be a number from 1 to {_LARGEST_PAGE}.", param="limit")
    return int(given)
