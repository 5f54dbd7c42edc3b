"""The operations: the calls that clients can make to a model, and their paths.

To add a call that is passed through unchanged takes one row here, and a path in the row of each provider that has it.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from plano.types import ClientDialect


class Operation(Struct, frozen=True, kw_only=True):
    """A call that clients can make.

    Attributes:
        name: its name in `Request.operation`, metrics and logs.
        paths: the gateway's path for it, by the client's dialect.
        gen_ai: its name as OpenTelemetry's `gen_ai.operation.name`.
        replies: whether the answer is a reply of the model, which can be translated, streamed, stored and read by
            filters. Any other operation is passed unchanged to upstreams of the client's own dialect.
        reply_has: the top-level field that every answer to it has; None where the dialect says which.
        converses: whether the request holds a conversation.
        embeds: whether the request holds texts, in `input`.
        uses_tokens: whether it is paid for by the token.
        estimated: whether the gateway answers with an estimate if an upstream does not have it.
        fields: the top-level fields that it has beside its content, of those that an entry may add; None for all of a
            request for a reply.
        among_ids: whether its path could be that of a stored object, which is what all methods but POST mean there.
        often_missing: the dialects whose compatible servers mostly lack it, so that a 404 or 405 means just that.
    """

    name: str
    paths: Mapping[ClientDialect, str]
    gen_ai: str
    replies: bool = False
    reply_has: str | None = None
    converses: bool = False
    embeds: bool = False
    uses_tokens: bool = True
    estimated: bool = False
    fields: frozenset[str] | None = None
    among_ids: bool = False
    often_missing: frozenset[ClientDialect] = frozenset()


CREATE = "create"
COMPACT = "compact"

_ABOUT_INPUT = frozenset(
    {
        "cache_control",
        "context_management",
        "instructions",
        "mcp_servers",
        "output_config",
        "parallel_tool_calls",
        "reasoning",
        "system",
        "text",
        "thinking",
        "tool_choice",
        "tools",
        "truncation",
    }
)
"""The fields of a request that count as input (Anthropic, "Count tokens"; OpenAI, "Get input token counts")."""

_ABOUT_VECTORS = frozenset(
    {"dimensions", "encoding_format", "input_type", "output_dimension", "output_dtype", "task", "truncate", "user"}
)
"""OpenAI's fields of a request for embeddings, and those that Cohere, Voyage, Jina and NVIDIA add to them."""

OPERATIONS: Mapping[str, Operation] = {
    row.name: row
    for row in (
        Operation(
            name=CREATE,
            paths={"chat": "/v1/chat/completions", "messages": "/v1/messages", "responses": "/v1/responses"},
            gen_ai="chat",
            replies=True,
            converses=True,
        ),
        Operation(
            name="count_tokens",
            paths={"messages": "/v1/messages/count_tokens", "responses": "/v1/responses/input_tokens"},
            gen_ai="count_tokens",
            reply_has="input_tokens",
            converses=True,
            uses_tokens=False,
            estimated=True,
            fields=_ABOUT_INPUT,
            often_missing=frozenset({"responses"}),
        ),
        Operation(
            name=COMPACT,
            paths={"responses": "/v1/responses/compact"},
            gen_ai="compact",
            reply_has="output",
            converses=True,
            fields=_ABOUT_INPUT | {"prompt_cache_key", "service_tier"},
            among_ids=True,
            often_missing=frozenset({"responses"}),
        ),
        Operation(
            name="embeddings",
            paths={"chat": "/v1/embeddings"},
            gen_ai="embeddings",
            reply_has="data",
            embeds=True,
            fields=_ABOUT_VECTORS,
        ),
    )
}
"""Every operation by its name; each of their paths goes through the pipeline."""

OTHER = Operation(name="other", paths={}, gen_ai="other", uses_tokens=False)
"""The operation of a request that asks no model, such as one for the list of models, when user filters see it."""


def operation_of(name: str) -> Operation:
    """The row of `Request.operation`."""
    return OPERATIONS.get(name, OTHER)


class EndpointPath(Struct, frozen=True, kw_only=True):
    """An endpoint in a provider's row.

    Attributes:
        path: the path after the prefix, with its query if it has one. `{model}` in it is the upstream's model id,
            URL-encoded.
        streamed: the path for a streamed reply, if it differs.
        omits: the top-level fields (`model`, `stream`) that stand in the path, and not in the body.
        frames: the form of its streams; see `plano.frames`.
    """

    path: str
    streamed: str | None = None
    omits: tuple[str, ...] = ()
    frames: str = "sse"


class Endpoint(Struct, frozen=True):
    """An endpoint with full URLs; `streamed` equals `url` if one URL serves both."""

    url: str
    streamed: str
    omits: tuple[str, ...] = ()
    frames: str = "sse"
