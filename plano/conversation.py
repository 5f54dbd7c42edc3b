"""The neutral model: requests, replies, and the events of a streamed reply, in no API's own words.

Every dialect has one codec to and from this model (`plano.dialects`). Three rules hold everywhere:

- A field that only one dialect has is kept verbatim in `extras[dialect][field]` (or as an `Opaque` part). It is written
  back into that dialect alone; towards another dialect it is a loss.
- JSON that plano does not interpret (schemas, extras) stays `msgspec.Raw`: the bytes as written, key
  order and number spelling included.
- An absent value is `None` or empty, and is never written out as a default.

All structs are frozen: change one with `msgspec.structs.replace(conversation, temperature=0.0)`. They can be written to
JSON and read back (`plano.conversation_json`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

from msgspec import Raw, Struct

from plano.errors import PlanoError
from plano.types import ClientDialect, Dialect, UpstreamDialect

Extras: TypeAlias = Mapping[Dialect, Mapping[str, Raw]]
NO_EXTRAS: Extras = {}


class Model(Struct, frozen=True, omit_defaults=True):
    """The base of all these structs. JSON of them leaves absent fields out; `type` names the kind of part or event."""


# --- parts ---------------------------------------------------------------------------------------


class _Part(Model, frozen=True, kw_only=True):
    """The base of all parts.

    Attributes:
        cache: the part's `cache_control` as JSON (`{"type":"ephemeral","ttl":"1h"}`), or None.
        extras: the fields of this part that only one dialect has.
    """

    cache: Raw | None = None
    extras: Extras = NO_EXTRAS


class Citation(Model, frozen=True, kw_only=True):
    """A source that a text refers to.

    All dialects have citations of a URL (chat and responses: `url_citation` annotations; messages:
    `web_search_result_location`). `start` and `end` count characters of the text, and are None where the dialect
    does not say them. A citation of any other kind is kept as `raw` for its own `dialect`, and its `url` is None.
    """

    url: str | None = None
    title: str | None = None
    start: int | None = None
    end: int | None = None
    quote: str | None = None
    dialect: Dialect | None = None
    raw: Raw | None = None


class Text(_Part, frozen=True, kw_only=True, tag="text"):
    """A text; `item_id` is the id of the message item that it stands in (responses dialect, `msg_…`)."""

    text: str
    citations: tuple[Citation, ...] = ()
    item_id: str | None = None


class Image(_Part, frozen=True, kw_only=True, tag="image"):
    """An image: a `url`, base64 `data` with its `media_type`, or a provider's `file_id`."""

    url: str | None = None
    data: str | None = None
    media_type: str | None = None
    file_id: str | None = None
    detail: str | None = None


class Document(_Part, frozen=True, kw_only=True, tag="document"):
    """A file: a `url`, base64 `data` (`media_type`, mostly application/pdf), plain `text`, or a `file_id`."""

    url: str | None = None
    data: str | None = None
    media_type: str | None = None
    text: str | None = None
    file_id: str | None = None
    name: str | None = None


class Audio(_Part, frozen=True, kw_only=True, tag="audio"):
    """Audio as base64 `data` in `format` (`wav`, `mp3`, ...); in a reply also its `transcript`."""

    data: str | None = None
    format: str | None = None
    transcript: str | None = None
    id: str | None = None


CallKind: TypeAlias = Literal["function", "custom", "search"]


class ToolCall(_Part, frozen=True, kw_only=True, tag="tool_call"):
    """A tool call that the model made.

    Attributes:
        id: the id that the call's result refers to (`call_…`, `toolu_…`).
        arguments: JSON text as the model wrote it (`kind="function"`), or free text (`kind="custom"`).
        kind: `search` is a client's own search for tools (responses `tool_search_call`); its arguments are JSON too.
        item_id: the id of the item (responses dialect, `fc_…`), which is not the call's id.
    """

    id: str
    name: str
    arguments: str
    kind: CallKind = "function"
    item_id: str | None = None


class ToolResult(_Part, frozen=True, kw_only=True, tag="tool_result"):
    """The result of a tool call. `is_error` is None if the dialect did not say."""

    call_id: str
    parts: tuple[Part, ...]
    is_error: bool | None = None
    kind: CallKind = "function"


class Thinking(_Part, frozen=True, kw_only=True, tag="thinking"):
    """Reasoning that the model showed, with the seal that its vendor wants back byte for byte.

    Attributes:
        text: the reasoning, or its summary; may be empty.
        summary: whether `text` is a vendor's summary of hidden reasoning (responses `summary`), not the
            reasoning itself.
        seal: the signature (messages), encrypted content (responses) or vendor's data (chat
            `reasoning_details`); None if there is none.
        origin: the dialect whose upstream made the seal. A seal is sent to no other dialect.
        item_id: the id of the item (responses dialect, `rs_…`).
    """

    text: str
    summary: bool = False
    seal: str | None = None
    origin: UpstreamDialect | None = None
    item_id: str | None = None


class RedactedThinking(_Part, frozen=True, kw_only=True, tag="redacted_thinking"):
    """Reasoning that the vendor hides (messages dialect, `redacted_thinking`); `data` goes back unchanged."""

    data: str


class Refusal(_Part, frozen=True, kw_only=True, tag="refusal"):
    """The text in which the model refuses to answer; `item_id` as in Text."""

    text: str
    item_id: str | None = None


class Opaque(_Part, frozen=True, kw_only=True, tag="opaque", rename={"type": "kind"}):
    """A part or item that only `dialect` has (`server_tool_use`, `web_search_call`, `mcp_call`, ...)."""

    dialect: Dialect
    type: str
    raw: Raw


Part: TypeAlias = (
    Text | Image | Document | Audio | ToolCall | ToolResult | Thinking | RedactedThinking | Refusal | Opaque
)

# --- requests ------------------------------------------------------------------------------------

Role: TypeAlias = Literal["system", "developer", "user", "assistant"]


class Message(Model, frozen=True, kw_only=True):
    """One turn.

    Tool results are parts of a user message. `system` and `developer` messages are here only if another message
    stands before them; those in front of all others are the conversation's `system`.
    """

    role: Role
    parts: tuple[Part, ...]
    name: str | None = None
    extras: Extras = NO_EXTRAS


class System(Model, frozen=True, kw_only=True):
    """One leading instruction: a chat `system` or `developer` message, a messages `system` block, or
    the responses `instructions`. `role` is None if the dialect does not say it."""

    text: str
    role: Literal["system", "developer"] | None = None
    cache: Raw | None = None
    extras: Extras = NO_EXTRAS


class Tool(Model, frozen=True, kw_only=True):
    """A tool that the model may call.

    Attributes:
        kind: `function` (JSON arguments; `parameters` is their JSON schema, untouched), `custom` (free text;
            `format` is its grammar), `search` (a function by which the client finds further tools), or `native` (only
            `dialect` has it; `raw` is the whole tool).
        found_by: the id of the call of a search whose result added the tool; None for one that the request offers.
    """

    name: str
    kind: Literal["function", "custom", "search", "native"] = "function"
    description: str | None = None
    parameters: Raw | None = None
    strict: bool | None = None
    format: Raw | None = None
    cache: Raw | None = None
    dialect: Dialect | None = None
    raw: Raw | None = None
    found_by: str | None = None
    extras: Extras = NO_EXTRAS


class ToolChoice(Model, frozen=True, kw_only=True):
    """The choice among the tools.

    Attributes:
        mode: `auto`, `none`, `required` (some tool), `named` (the tool `name`), `allowed` (only `names`, and at least
            one of them if `required`), or `native` (only `dialect` has this choice; `raw` is the whole of it).
    """

    mode: Literal["auto", "none", "required", "named", "allowed", "native"]
    name: str | None = None
    kind: Literal["function", "custom"] = "function"
    names: tuple[str, ...] = ()
    required: bool = False
    dialect: Dialect | None = None
    raw: Raw | None = None


class Reasoning(Model, frozen=True, kw_only=True):
    """The settings for reasoning.

    Attributes:
        effort: none, minimal, low, medium, high, xhigh or max.
        budget: thinking tokens (messages `thinking.budget_tokens`).
        mode: `enabled`, `adaptive` or `disabled` (messages `thinking.type`), or None if it was not said.
        summary: auto, concise or detailed (responses).
    """

    effort: str | None = None
    budget: int | None = None
    mode: Literal["enabled", "adaptive", "disabled"] | None = None
    summary: str | None = None
    extras: Extras = NO_EXTRAS


class ResponseFormat(Model, frozen=True, kw_only=True):
    """The format of the reply: `text`, `json_object`, or `json_schema` with its schema untouched."""

    type: Literal["text", "json_object", "json_schema"]
    name: str | None = None
    description: str | None = None
    schema: Raw | None = None
    strict: bool | None = None


class Conversation(Model, frozen=True, kw_only=True, tag="conversation"):
    """A request to a model, in no particular dialect.

    Attributes:
        model: the name as asked, or None.
        dialect: the dialect that it was asked in, or None. A writer needs it because an absent field may mean something
            else in another dialect; then the writer has to say it.
        max_tokens: upper bound of output tokens, thinking included.
        user: the end user's id (chat and responses `user`, messages `metadata.user_id`).
        safety_identifier: OpenAI's successor of `user`; it becomes messages' `user_id` if `user` is None.
        metadata: OpenAI's string map, as JSON.
        include_usage: chat `stream_options.include_usage`; the other dialects always send usage.
        include_seals: responses `include` of `reasoning.encrypted_content`; the other dialects always send seals.
        store: whether the vendor may keep the reply (chat and responses), None if it was not said.
    """

    model: str | None = None
    dialect: ClientDialect | None = None
    system: tuple[System, ...] = ()
    messages: tuple[Message, ...] = ()
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop: tuple[str, ...] = ()
    n: int | None = None
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    reasoning: Reasoning | None = None
    response_format: ResponseFormat | None = None
    verbosity: str | None = None
    service_tier: str | None = None
    user: str | None = None
    safety_identifier: str | None = None
    metadata: Raw | None = None
    store: bool | None = None
    prompt_cache_key: str | None = None
    stream: bool = False
    include_usage: bool = False
    include_seals: bool = False
    extras: Extras = NO_EXTRAS

    def is_foreign_to(self, dialect: Dialect) -> bool:
        """Whether this was asked in another dialect than `dialect`."""
        return self.dialect not in (None, dialect)


# --- replies -------------------------------------------------------------------------------------

Finish: TypeAlias = Literal[
    "stop", "stop_sequence", "length", "context_window", "tool_calls", "content_filter", "refusal", "pause"
]
"""The reason why a reply ended. docs/translation.md has the table of each dialect's words for it."""


FILTERED: frozenset[Finish | None] = frozenset({"content_filter", "refusal"})
"""The reasons of replies that a filter ended. Anthropic's `refusal` is that of its classifiers."""


class Usage(Model, frozen=True, kw_only=True):
    """Counts of tokens.

    `input_tokens` includes cached tokens, as OpenAI counts; the messages dialect's own `input_tokens` leaves cache
    reads and writes out.

    Attributes:
        estimated: the counts (`input`, `output`) that the upstream did not report and plano estimated.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cache_creation_tokens: int = 0
    reasoning_tokens: int = 0
    extras: Extras = NO_EXTRAS
    estimated: tuple[Literal["input", "output"], ...] = ()


class Reply(Model, frozen=True, kw_only=True, tag="reply"):
    """A complete reply.

    Attributes:
        id: as the upstream gave it, "" if it gave none.
        model: the model's name as the upstream gave it.
        created: Unix seconds, None if the upstream does not say.
        usage: None if the upstream does not say.
        logprobs: chat's `choices[0].logprobs` as JSON, or None.
    """

    id: str = ""
    model: str = ""
    created: int | None = None
    parts: tuple[Part, ...] = ()
    finish: Finish = "stop"
    stop_sequence: str | None = None
    usage: Usage | None = None
    logprobs: Raw | None = None
    extras: Extras = NO_EXTRAS


# --- a reply, step by step -----------------------------------------------------------------------
#
# A stream is: Start, then for each part PartStart, its deltas, PartStop, then Finished. Parts have
# indexes 0, 1, 2 ... in the order they start. Parts of one stream may overlap (chat upstreams may
# write two tool calls in turns); a writer that needs one after the other has to buffer. `Usage` numbers in
# Finished are totals. A stream that breaks ends in Failed instead of Finished.


class Start(Model, frozen=True, kw_only=True, tag="start"):
    """The start of a reply; `usage` is None, or holds the counts that are known already (messages `message_start`)."""

    id: str = ""
    model: str = ""
    created: int | None = None
    usage: Usage | None = None
    extras: Extras = NO_EXTRAS


class PartStart(Model, frozen=True, tag="part_start"):
    """The start of a part. `part` is a Text, Thinking, Refusal, ToolCall or Audio without its contents, or a
    RedactedThinking or Opaque, which come whole."""

    index: int
    part: Part


class TextDelta(Model, frozen=True, tag="text_delta"):
    """More of a Text, Thinking or Refusal part, of a ToolCall's arguments, or of an Audio's transcript."""

    index: int
    text: str
    logprobs: Raw | None = None


class SealDelta(Model, frozen=True, tag="seal_delta"):
    """The seal of a Thinking part, or more of it."""

    index: int
    seal: str


class CitationDelta(Model, frozen=True, tag="citation_delta"):
    """One more citation of a Text part."""

    index: int
    citation: Citation


class AudioDelta(Model, frozen=True, tag="audio_delta"):
    """More base64 of an Audio part."""

    index: int
    data: str


class PartStop(Model, frozen=True, tag="part_stop"):
    """The end of a part. `part` is the whole part if the upstream repeated it (responses `…done`), else None."""

    index: int
    part: Part | None = None


class Finished(Model, frozen=True, kw_only=True, tag="finished"):
    """The end of a reply that is complete; `usage` is None if the upstream did not say it."""

    finish: Finish
    stop_sequence: str | None = None
    usage: Usage | None = None
    extras: Extras = NO_EXTRAS


class Failed(Model, frozen=True, tag="failed"):
    """The upstream reported an error in the stream, or the stream broke."""

    error: PlanoError


class Ping(Model, frozen=True, tag="ping"):
    """A sign of life without content."""


class Unknown(Model, frozen=True, tag="unknown"):
    """An event that only `dialect` has, verbatim."""

    dialect: UpstreamDialect
    name: str | None
    data: bytes


Event: TypeAlias = (
    Start
    | PartStart
    | TextDelta
    | SealDelta
    | CitationDelta
    | AudioDelta
    | PartStop
    | Finished
    | Failed
    | Ping
    | Unknown
)
