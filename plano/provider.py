"""A provider is a row of data; a target is what a request's model name resolved to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, TypeAlias

from msgspec import Raw, Struct

from plano.conversation import Losses
from plano.types import Dialect, Secret

Fields: TypeAlias = dict[str, Raw]
"""A request body's top-level fields, in order, each as the bytes it came as."""

Operation: TypeAlias = Literal["create", "count_tokens", "embeddings"]
"""What is asked of a dialect: the reply itself, or one of the calls beside it."""

Prepare: TypeAlias = Callable[[Dialect, str, Fields, Losses], None]
"""A provider's quirks: changes the fields of an outgoing body in place. Arguments: the dialect it is
written in, the upstream's model id, the fields, and where to report what was taken out."""


class Provider(Struct, frozen=True, kw_only=True):
    """Everything that sets one provider apart from the next.

    Attributes:
        name: the prefix of its models (`openai` in `openai/gpt-4o`).
        base_url: scheme, host and path prefix (`https://api.groq.com/openai/v1`), or None if an entry must say it.
        prefix: the path prefix an entry's `base_url` gets when it has no path of its own.
        paths: for each dialect it speaks, the path after the prefix; the first is the one used for clients of
            a dialect that it does not speak. `{model}` in a path is the upstream's model id, URL-encoded.
        count_tokens: path after the prefix of the messages dialect's token count, or None.
        embeddings: path after the prefix of OpenAI's embeddings, or None.
        auth: how the key travels: `bearer` (Authorization), `x-api-key`, `api-key`, or `none`. The
            messages dialect has an answer of its own in `messages_auth`, where a provider speaks several.
        key_variable: the environment variable that usually holds the key.
        headers: sent with every request.
        query: appended to every URL (`api-version=...`), or "".
        prepare: quirks of its request bodies, or None.
        max_tokens: model id prefix to the most output tokens it can give, for APIs that insist on a number.
        models: ids that are found by their bare name under a wildcard entry.
    """

    name: str
    base_url: str | None = None
    prefix: str = "/v1"
    paths: Mapping[Dialect, str]
    count_tokens: str | None = None
    embeddings: str | None = None
    auth: Literal["bearer", "x-api-key", "api-key", "none"] = "bearer"
    messages_auth: Literal["bearer", "x-api-key"] = "x-api-key"
    key_variable: str | None = None
    headers: Mapping[str, str] = {}
    query: str = ""
    prepare: Prepare | None = None
    max_tokens: Mapping[str, int] = {}
    models: tuple[str, ...] = ()


class Target(Struct, frozen=True, kw_only=True):
    """Where a request goes: an entry of the configuration with its model filled in.

    Attributes:
        provider: the row.
        model: the upstream's own model id.
        name: `provider/model`, what logs and metrics call it.
        entry: the configured entry's name (its `model` for wildcards `openai/*`): a bounded set.
        dialects: what this entry speaks, the preferred one first.
        urls: the full URL of each dialect's endpoint; of `count_tokens` and `embeddings` where there is one.
        key: the entry's credential, or None.
        passthrough_auth: forward the caller's credential instead.
        headers: the entry's own extra headers, after the provider's.
        max_tokens: the most this model can give, None if not known.
        proxy: URL of an HTTP proxy for this entry, or None.
    """

    provider: Provider
    model: str
    name: str
    entry: str
    dialects: tuple[Dialect, ...]
    urls: Mapping[tuple[Dialect, Operation], str]
    key: Secret | None = None
    passthrough_auth: bool = False
    headers: tuple[tuple[str, str], ...] = ()
    host_header: str | None = None
    max_tokens: int | None = None
    proxy: str | None = None

    def dialect_for(self, client: Dialect) -> Dialect:
        """The client's own dialect where this entry speaks it, else the entry's first."""
        return client if client in self.dialects else self.dialects[0]
