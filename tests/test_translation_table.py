"""docs/translation.md against the code: each cell of its tables is tried, and nothing may be missing from them."""

from __future__ import annotations

import copy
import importlib
import json
import re
import typing
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import pytest
from msgspec import Raw

from plano import errors
from plano.capabilities.efforts import BUDGETS
from plano.conversation import (
    Audio,
    Citation,
    CitationDelta,
    Conversation,
    Document,
    Event,
    Failed,
    Finish,
    Finished,
    Image,
    Message,
    Opaque,
    Part,
    PartStart,
    PartStop,
    Ping,
    RedactedThinking,
    Refusal,
    Reply,
    SealDelta,
    Start,
    Text,
    TextDelta,
    Thinking,
    ToolCall,
    ToolResult,
    Usage,
)
from plano.dialects import CODECS
from plano.dialects.finish import FAILURES, REASONS, failure, read_finish
from plano.dialects.messages.thinking import DEFAULT_MAX_TOKENS
from plano.dialects.openai import kind_of_status
from plano.errors import UnsupportedConversion
from plano.frames import sse
from plano.losses import Losses
from plano.types import CLIENT_DIALECTS as DIALECTS
from plano.types import Dialect
from tests.documents import ROOT

DOCUMENT = (ROOT / "docs" / "translation.md").read_text()


# --- reading the document ---------------------------------------------------------------------------


def table(heading: str, number: int = 0) -> list[list[str]]:
    """The rows of a table under a heading, without its head."""
    _, found, rest = DOCUMENT.partition(f"\n{heading}\n")
    assert found, f"there is no heading `{heading}`"
    rest = re.split(r"\n#+ ", rest)[0]
    tables = re.findall(r"(?:^\|.*\|\n?)+", rest, re.MULTILINE)
    return [[cell.strip() for cell in line.strip("|").split(" |")] for line in tables[number].splitlines()[2:]]


def spans(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


class Row(NamedTuple):
    client: Dialect
    field: str
    example: Any
    cells: dict[Dialect, str]


def requests() -> Iterator[Row]:
    for client in DIALECTS:
        others = [dialect for dialect in DIALECTS if dialect != client]
        for field, example, *cells in table(f"### From {client}"):
            yield Row(client, spans(field)[0], json.loads(spans(example)[0]), dict(zip(others, cells, strict=True)))


ROWS = list(requests())


# --- requests ---------------------------------------------------------------------------------------

BASE: dict[Dialect, dict[str, Any]] = {
    "chat": {"messages": [{"role": "user", "content": "Hi"}]},
    "messages": {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 8000},
    "responses": {"input": "Hi"},
}
AROUND: dict[Dialect, dict[str, Any]] = {
    "chat": {
        "tools": [{"type": "function", "function": {"name": "f"}}],
        "functions": [{"name": "f"}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "s"}},
    },
    "messages": {
        "tools": [{"name": "f", "input_schema": {"type": "object"}}],
        "system": [{"type": "text", "text": "s"}],
        "tool_choice": {"type": "auto"},
        "thinking": {"type": "enabled", "budget_tokens": 2048},
        "output_config.format": {"type": "json_schema"},
    },
    "responses": {
        "tools": [{"type": "function", "name": "f"}],
        "text.format": {"type": "json_schema", "name": "s", "schema": {}},
    },
}
"""What must stand around a field for a request that has it to be one."""

NEEDS = {"tool_choice": "tools", "parallel_tool_calls": "tools", "function_call": "functions"}
LOGPROBS: dict[str, dict[str, Any]] = {
    "chat": {"logprobs": True},
    "responses": {"include": ["message.output_text.logprobs"]},
}


def base(client: Dialect, field: str) -> dict[str, Any]:
    """A request without the field, but with all that must stand around it."""
    body = copy.deepcopy(BASE[client])
    for prefix, value in AROUND[client].items():
        if prefix == NEEDS.get(re.split(r"[.\[]", field)[0]) or (field != prefix and field.startswith(prefix)):
            if field == "tools[]":
                continue
            put(body, prefix, copy.deepcopy(value))
    if field.startswith("tools[].custom"):
        body["tools"] = [{"type": "custom", "custom": {"name": "f"}}]
    if field == "top_logprobs":
        body |= LOGPROBS[client]
    return body


def put(body: Any, field: str, value: Any) -> None:
    steps = re.findall(r"[^.\[\]]+|\[\]", field)
    for step, after in zip(steps, [*steps[1:], None], strict=True):
        if step == "[]":
            if after is None:
                body[:] = [value]
            else:
                body = body[0]
        elif after is None:
            body[step] = value
        else:
            body = body.setdefault(step, [] if after == "[]" else {})


def at(body: Any, path: str) -> Any:
    for step in re.findall(r"[^.\[\]]+|\[\]", path):
        body = body[0] if step == "[]" else body[step]
    return body


def added(found: Any, unset: Any, path: str) -> Any:
    """The entries of a list that the field adds to those which are there without it."""
    before = unset.get(path) if "." not in path else None
    return [entry for entry in found if entry not in before] if isinstance(found, list) and before else found


def write(client: Dialect, target: Dialect, body: dict[str, Any]) -> tuple[Any, set[str]]:
    losses = Losses()
    written = CODECS[target].write_request(CODECS[client].read_request(json.dumps(body).encode()), losses)
    return json.loads(written), {loss.field for loss in losses}


@pytest.mark.parametrize(
    ("row", "target"),
    [(row, target) for row in ROWS for target in row.cells],
    ids=lambda value: f"{value.client}:{value.field}={value.example}" if isinstance(value, Row) else value,
)
def test_a_field_fares_as_the_table_says(row: Row, target: Dialect) -> None:
    before = base(row.client, row.field)
    body = copy.deepcopy(before)
    put(body, row.field, row.example)
    cell = row.cells[target]
    if cell == "refused":
        with pytest.raises(UnsupportedConversion) as caught:
            write(row.client, target, body)
        assert caught.value.param == row.field
        return
    found, losses = write(row.client, target, body)
    unset, others = write(row.client, target, before)
    assert losses - others == set(reported(cell, row.field))
    carried = list(carries(cell, row.example))
    for path, value in carried:
        assert value in (at(found, path), added(at(found, path), unset, path))
        assert type(at(found, path)) is type(value)
    if cell == "not needed" or not carried:
        assert found == unset
        assert json.dumps(found) == json.dumps(unset)


def reported(cell: str, field: str) -> Iterator[str]:
    for said in re.finditer(r"reported(?: as `([^`]+)`)?", cell):
        yield said.group(1) or field.replace("[]", "")


def carries(cell: str, example: Any) -> Iterator[tuple[str, Any]]:
    """Paths, and what must stand there: the example, or what follows the colon."""
    cell = re.sub(r"reported(?: as `[^`]+`)?", "", cell)
    for path, said in re.findall(r"`([^`]+)`(?:: `([^`]+)`)?", cell):
        yield path, json.loads(said) if said else example


def test_cells_say_nothing_that_is_not_tried() -> None:
    for row in ROWS:
        for cell in row.cells.values():
            left = re.sub(r"reported as `[^`]+`|reported|refused|not needed|`[^`]+`: `[^`]+`|`[^`]+`|,", "", cell)
            assert not left.strip(), (row.field, cell)
            assert cell


@pytest.mark.parametrize("client", DIALECTS)
@pytest.mark.parametrize("target", DIALECTS)
def test_an_unknown_field_is_reported(client: Dialect, target: Dialect) -> None:
    """The rule for everything that is in no table: kept for its own API, reported towards the others."""
    found, losses = write(client, target, BASE[client] | {"brand_new": {"a": [1]}})
    if client == target:
        assert found["brand_new"] == {"a": [1]}
        assert not losses
    else:
        assert "brand_new" not in found
        assert losses == {"brand_new"}


# --- nothing is missing -----------------------------------------------------------------------------

PARAMS: list[tuple[Dialect, str, str, str]] = [
    ("chat", "openai.types.chat.completion_create_params", "CompletionCreateParamsStreaming", ""),
    (
        "chat",
        "openai.types.chat.chat_completion_stream_options_param",
        "ChatCompletionStreamOptionsParam",
        "stream_options.",
    ),
    ("chat", "openai.types.shared_params.function_definition", "FunctionDefinition", "tools[].function."),
    ("chat", "openai.types.chat.chat_completion_custom_tool_param", "Custom", "tools[].custom."),
    ("chat", "openai.types.chat.completion_create_params", "Function", "functions[]."),
    ("chat", "openai.types.shared_params.response_format_json_schema", "JSONSchema", "response_format.json_schema."),
    ("messages", "anthropic.types.message_create_params", "MessageCreateParamsStreaming", ""),
    ("messages", "anthropic.types.text_block_param", "TextBlockParam", "system[]."),
    ("messages", "anthropic.types.tool_param", "ToolParam", "tools[]."),
    ("messages", "anthropic.types.tool_choice_tool_param", "ToolChoiceToolParam", "tool_choice."),
    ("messages", "anthropic.types.thinking_config_enabled_param", "ThinkingConfigEnabledParam", "thinking."),
    ("messages", "anthropic.types.thinking_config_adaptive_param", "ThinkingConfigAdaptiveParam", "thinking."),
    ("messages", "anthropic.types.output_config_param", "OutputConfigParam", "output_config."),
    ("messages", "anthropic.types.metadata_param", "MetadataParam", "metadata."),
    ("responses", "openai.types.responses.response_create_params", "ResponseCreateParamsStreaming", ""),
    ("responses", "openai.types.responses.response_create_params", "StreamOptions", "stream_options."),
    ("responses", "openai.types.responses.function_tool_param", "FunctionToolParam", "tools[]."),
    ("responses", "openai.types.shared_params.reasoning", "Reasoning", "reasoning."),
    ("responses", "openai.types.responses.response_text_config_param", "ResponseTextConfigParam", "text."),
    (
        "responses",
        "openai.types.responses.response_format_text_json_schema_config_param",
        "ResponseFormatTextJSONSchemaConfigParam",
        "text.format.",
    ),
]
"""The SDKs' types of a request and of the objects in it, each with the path at which the object stands."""

ELSEWHERE = {
    "messages": "content has tables of its own",
    "input": "content has tables of its own",
    "tools[].type": "tells apart kinds of tools, which have rows of their own",
    "tool_choice.type": "the row `tool_choice` has each of them",
    "tool_choice.name": "the row `tool_choice` has it",
    "thinking.type": "the row `thinking` has each of them",
    "thinking.budget_tokens": "the row `thinking` has it",
    "text.format.type": "the row `text.format` has each of them",
    "system[].type": "there is but one",
    "system[].citations": "of the content table's `text.citations`: instructions cite nothing",
}


def keys(module: str, name: str) -> set[str]:
    """What a request type of an SDK holds. The SDKs keep fields that new models refuse out of theirs."""
    return set(typing.get_type_hints(getattr(importlib.import_module(module), name)))


@pytest.mark.parametrize(("client", "module", "name", "prefix"), PARAMS, ids=lambda value: value or "top")
def test_every_field_that_the_sdks_know_is_in_a_table(client: Dialect, module: str, name: str, prefix: str) -> None:
    known = {row.field for row in ROWS if row.client == client}
    for key in keys(module, name):
        path = prefix + key
        covered = any(field == path or field.startswith((path + ".", path + "[")) for field in known)
        assert covered or path in ELSEWHERE, f"{path} of the {client} API is in no row"


def test_every_row_is_of_a_field_that_exists() -> None:
    servers = {("chat", "top_k"), ("messages", "temperature"), ("messages", "top_p"), ("messages", "top_k")}
    for row in ROWS:
        known = {prefix + key for client, *where, prefix in PARAMS if client == row.client for key in keys(*where)}
        top = re.split(r"[.\[]", row.field)[0]
        assert row.field in known or top in known or (row.client, top) in servers, row.field
    assert len({(row.client, row.field, json.dumps(row.example)) for row in ROWS}) == len(ROWS), "a row is there twice"


# --- content ----------------------------------------------------------------------------------------

ANTHROPICS: Any = {"messages": {}}
CALL = ToolCall(id="c1", name="f", arguments='{"a":1}')
CUSTOM = ToolCall(id="c1", name="f", arguments="free", kind="custom")
SEALED = {
    "chat": Thinking(text="Hm.", origin="chat", seal='[{"type":"reasoning.encrypted","data":"x"}]'),
    "messages": Thinking(text="Hm.", origin="messages", seal="c2ln"),
    "responses": Thinking(text="Hm.", origin="responses", seal="gAAA", summary=True, item_id="rs_1"),
}
CITED = Text(text="Hi", citations=(Citation(url="https://w.test", title="W", start=0, end=2),))
HOSTED = {
    "messages": Opaque(
        dialect="messages",
        type="server_tool_use",
        raw=Raw(b'{"type":"server_tool_use","id":"s","name":"code_execution","input":{}}'),
    ),
    "responses": Opaque(
        dialect="responses", type="file_search_call", raw=Raw(b'{"type":"file_search_call","id":"fs_1"}')
    ),
}
URL = "https://i.test/a"

ASKED: dict[str, tuple[str, Part]] = {
    "text": ("user", Text(text="Hi")),
    "a cache mark": ("user", Text(text="Hi", cache=Raw(b'{"type":"ephemeral"}'))),
    "an image by URL": ("user", Image(url=URL)),
    "an image as base64": ("user", Image(data="aW1n", media_type="image/png")),
    "an image's `detail`": ("user", Image(url=URL, detail="low")),
    "an image by Anthropic's file id": ("user", Image(file_id="file_011", extras=ANTHROPICS)),
    "an image by OpenAI's file id": ("user", Image(file_id="file-1")),
    "a PDF as base64": ("user", Document(data="JVBE", media_type="application/pdf", name="a.pdf")),
    "a document by URL": ("user", Document(url=URL)),
    "a document of plain text": ("user", Document(text="Hi")),
    "a document by Anthropic's file id": ("user", Document(file_id="file_011", extras=ANTHROPICS)),
    "a document by OpenAI's file id": ("user", Document(file_id="file-1")),
    "audio": ("user", Audio(data="YXVk", format="wav")),
    "a refusal of the model's": ("assistant", Refusal(text="No.")),
    "a citation of a URL": ("assistant", CITED),
    "a tool call": ("assistant", CALL),
    "a tool call with broken arguments": ("assistant", ToolCall(id="c1", name="f", arguments='{"a":')),
    "a custom tool's call": ("assistant", CUSTOM),
    "a tool's result": ("user", ToolResult(call_id="c1", parts=(Text(text="ok"),))),
    "an image in a tool's result": ("user", ToolResult(call_id="c1", parts=(Image(url=URL),))),
    "a result's `is_error`": ("user", ToolResult(call_id="c1", parts=(Text(text="ok"),), is_error=True)),
    "a custom tool's result": ("user", ToolResult(call_id="c1", parts=(Text(text="ok"),), kind="custom")),
    "thinking without a seal": ("assistant", Thinking(text="Hm.")),
    "thinking sealed in chat": ("assistant", SEALED["chat"]),
    "thinking sealed in messages": ("assistant", SEALED["messages"]),
    "thinking sealed in responses": ("assistant", SEALED["responses"]),
    "redacted thinking": ("assistant", RedactedThinking(data="ZGF0YQ==")),
    "a hosted tool's call of messages": ("assistant", HOSTED["messages"]),
    "a hosted tool's call of responses": ("assistant", HOSTED["responses"]),
}
ANSWERED: dict[str, Part] = {
    "text": Text(text="Hi"),
    "log probabilities": Text(text="Hi"),
    "a citation of a URL": CITED,
    "a refusal": Refusal(text="No."),
    "a tool call": CALL,
    "a tool call with broken arguments": ToolCall(id="c1", name="f", arguments='{"a":'),
    "a custom tool's call": CUSTOM,
    "thinking without a seal": Thinking(text="Hm."),
    "thinking sealed in chat": SEALED["chat"],
    "thinking sealed in messages": SEALED["messages"],
    "thinking sealed in responses": SEALED["responses"],
    "redacted thinking": RedactedThinking(data="ZGF0YQ=="),
    "audio": Audio(id="audio_1", data="YXVk", transcript="Hi"),
    "a hosted tool's call of messages": HOSTED["messages"],
    "a hosted tool's call of responses": HOSTED["responses"],
}


def names(value: Any) -> set[str]:
    """All keys whose value says something, all types and all roles."""
    if isinstance(value, dict):
        found = {key for key, inner in value.items() if inner not in (None, [], "")}
        found |= {value[key] for key in ("type", "role") if isinstance(value.get(key), str)}
        return found.union(*map(names, value.values()))
    return set().union(*map(names, value)) if isinstance(value, list) else set()


def cells(heading: str) -> list[tuple[str, Dialect, str]]:
    return [(row[0], dialect, cell) for row in table(heading) for dialect, cell in zip(DIALECTS, row[1:], strict=True)]


@pytest.mark.parametrize(("content", "target", "cell"), cells("### In requests"))
def test_content_of_requests_fares_as_the_table_says(content: str, target: Dialect, cell: str) -> None:
    role, part = ASKED[content]
    losses = Losses()
    first: tuple[Part, ...] = () if isinstance(part, ToolResult) else (Text(text="First"),)
    conversation = Conversation(
        model="m",
        max_tokens=100,
        messages=(Message(role="assistant" if role == "assistant" else "user", parts=(*first, part)),),
    )
    if cell == "refused":
        with pytest.raises(UnsupportedConversion):
            CODECS[target].write_request(conversation, losses)
        return
    body = json.loads(CODECS[target].write_request(conversation, losses))
    found = names(body.get("messages") or body.get("input"))
    assert found >= set(spans(cell))
    assert bool(len(losses)) is ("reported" in cell)


@pytest.mark.parametrize(("content", "target", "cell"), cells("### In replies"))
def test_content_of_replies_fares_as_the_table_says(content: str, target: Dialect, cell: str) -> None:
    logprobs = None
    if content == "log probabilities":
        logprobs = Raw(b'{"content":[{"token":"Hi","logprob":-0.5,"bytes":null,"top_logprobs":[]}]}')
    reply = Reply(id="r", model="m", created=1, parts=(ANSWERED[content],), logprobs=logprobs)
    losses = Losses()
    body = json.loads(CODECS[target].write_reply(reply, Conversation(model="m"), losses))
    assert names(body.get("choices") or body.get("content") or body.get("output")) >= set(spans(cell))
    assert bool(len(losses)) is ("reported" in cell)


def test_the_content_tables_have_all_there_is() -> None:
    assert {row[0] for row in table("### In requests")} == set(ASKED)
    assert {row[0] for row in table("### In replies")} == set(ANSWERED)
    kinds = set(typing.get_args(Part))
    assert {type(part) for _, part in ASKED.values()} == kinds
    assert {type(part) for part in ANSWERED.values()} == kinds - {Image, Document, ToolResult}


CHOSEN: dict[str, dict[str, Any]] = {
    "text": {"type": "text", "text": "Hi"},
    "image": {"type": "image", "source": {"type": "url", "url": URL}},
    "document": {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "Hi"}},
    "search_result": {
        "type": "search_result",
        "title": "T",
        "source": URL,
        "content": [{"type": "text", "text": "Hi"}],
    },
    "tool_use": {"type": "tool_use", "id": "t1", "name": "f", "input": {}},
    "tool_result": {"type": "tool_result", "tool_use_id": "t1", "content": "ok"},
    "message": {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hi"}]},
    "function_call": {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
    "custom_tool_call": {"type": "custom_tool_call", "call_id": "c1", "name": "f", "input": "x"},
    "function_call_output": {"type": "function_call_output", "call_id": "c1", "output": "ok"},
    "input_file": {"type": "input_file", "file_data": "data:application/pdf;base64,JVBE", "filename": "a.pdf"},
}
VALUES: dict[str, Any] = {
    "text.citations": [
        {
            "type": "char_location",
            "cited_text": "H",
            "document_index": 0,
            "document_title": "D",
            "start_char_index": 0,
            "end_char_index": 1,
        }
    ],
    "citations": {"enabled": True},
    "async": True,
    "caller": {"type": "direct"},
    "transformations": {"oversized_image": "downsize"},
    "source": URL,
    "detail": "high",
}
ALONE = [
    (dialect, path)
    for dialect, listed in table("### Fields of content that only one API has")
    for path in spans(listed)
]


@pytest.mark.parametrize(("client", "path"), ALONE)
def test_a_field_that_one_api_has_alone_comes_back_into_it_and_is_reported_elsewhere(
    client: Dialect, path: str
) -> None:
    kind, _, field = path.partition(".")
    value = VALUES.get(path, VALUES.get(field, "x"))
    block = CHOSEN[kind] | {field: value}
    role = "assistant" if kind in ("tool_use", "text") else "user"
    if client == "messages":
        body = BASE["messages"] | {"messages": [{"role": "user", "content": "Hi"}, {"role": role, "content": [block]}]}
    else:
        item = {"type": "message", "role": "user", "content": [block]} if kind == "input_file" else block
        body = {"input": [item]}
    for target in DIALECTS:
        written, losses = write(client, target, body)
        if target == client:
            assert list(blocks(written, kind, field)) == [value]
            assert not losses
        else:
            assert any(loss.rpartition(".")[2] == field for loss in losses), losses
            assert field not in names(written) or field in ("name", "source", "detail")


def blocks(value: Any, kind: str, field: str) -> Iterator[Any]:
    """The field in every object of this type."""
    if isinstance(value, dict):
        if value.get("type") == kind and field in value:
            yield value[field]
        for inner in value.values():
            yield from blocks(inner, kind, field)
    elif isinstance(value, list):
        for inner in value:
            yield from blocks(inner, kind, field)


BLOCKS: list[tuple[str, str, str, str]] = [
    ("messages", "anthropic.types.text_block_param", "TextBlockParam", "text"),
    ("messages", "anthropic.types.image_block_param", "ImageBlockParam", "image"),
    ("messages", "anthropic.types.document_block_param", "DocumentBlockParam", "document"),
    ("messages", "anthropic.types.search_result_block_param", "SearchResultBlockParam", "search_result"),
    ("messages", "anthropic.types.tool_use_block_param", "ToolUseBlockParam", "tool_use"),
    ("messages", "anthropic.types.tool_result_block_param", "ToolResultBlockParam", "tool_result"),
    ("responses", "openai.types.responses.response_output_message_param", "ResponseOutputMessageParam", "message"),
    (
        "responses",
        "openai.types.responses.response_function_tool_call_param",
        "ResponseFunctionToolCallParam",
        "function_call",
    ),
    (
        "responses",
        "openai.types.responses.response_custom_tool_call_param",
        "ResponseCustomToolCallParam",
        "custom_tool_call",
    ),
    ("responses", "openai.types.responses.response_input_item_param", "FunctionCallOutput", "function_call_output"),
    ("responses", "openai.types.responses.response_input_file_param", "ResponseInputFileParam", "input_file"),
]
EVERYBODYS = {
    *("type", "id", "call_id", "role", "content", "text", "input", "name", "arguments", "output", "source", "title"),
    *("data", "cache_control", "is_error", "tool_use_id", "status", "file_data", "file_id", "file_url", "filename"),
    "prompt_cache_breakpoint",
}
"""What the neutral model knows of content."""


@pytest.mark.parametrize(("client", "module", "name", "kind"), BLOCKS)
def test_every_field_of_content_that_the_sdks_know_is_everybodys_or_listed(
    client: Dialect, module: str, name: str, kind: str
) -> None:
    listed = {path for dialect, path in ALONE if dialect == client}
    for key in keys(module, name):
        assert f"{kind}.{key}" in listed or key in EVERYBODYS, f"{kind}.{key}"


# --- replies ----------------------------------------------------------------------------------------


def test_the_table_has_every_reason_to_stop() -> None:
    assert [spans(row[0])[0] for row in table("## Why a reply ended")] == list(typing.get_args(Finish))


@pytest.mark.parametrize("row", table("## Why a reply ended"), ids=lambda row: row[0])
def test_a_reply_ends_as_the_table_says(row: list[str]) -> None:
    finish: Any = spans(row[0])[0]
    reply = Reply(id="r", model="m", created=1, parts=(Text(text="Hi"),), finish=finish)
    steps = [Start(id="r", model="m", created=1), Finished(finish=finish)]
    for dialect, cell in zip(DIALECTS, row[1:], strict=True):
        codec, asked = CODECS[dialect], Conversation(model="m")
        body = json.loads(codec.write_reply(reply, asked, Losses()))
        assert spans(cell) == reasons(dialect, body)
        writer = codec.stream_writer(asked)
        frames = sse.frames(b"".join(frame for step in steps for frame in writer.feed(step)))
        ends = [json.loads(frame.data) for frame in frames]
        streamed = {
            "chat": ends[-1],
            "messages": ends[-2].get("delta"),
            "responses": ends[-1].get("response"),
        }[dialect]
        assert spans(cell) == reasons(dialect, streamed)
        # and back, as far as the words reach
        again = codec.read_reply(codec.write_reply(reply, asked, Losses())).finish
        assert spans(cell) == reasons(dialect, json.loads(codec.write_reply(Reply(finish=again), asked, Losses())))


def reasons(dialect: Dialect, body: Any) -> list[str]:
    if dialect == "chat":
        return [body["choices"][0]["finish_reason"]]
    if dialect == "messages":
        return [body["stop_reason"]]
    details = body["incomplete_details"]
    return [body["status"], *([details["reason"]] if details else [])]


def test_upstreams_words_for_an_end_are_read_as_the_table_says() -> None:
    said = {word: meaning for meaning, words in table("### Upstreams' words") for word in spans(words)}
    assert set(said) == {*REASONS, *FAILURES}
    for word, meaning in said.items():
        failed = failure(word)
        found = f"a failure, {failed.status}" if failed else f"`{read_finish(word, called=False)}`"
        assert found == meaning, word


USED = {
    "read, cached ones included": 1000,
    "of these, read from a cache": 300,
    "of these, written to a cache": 50,
    "written, thinking included": 200,
    "of these, thinking": 70,
    "read and written": 1200,
}


def test_usage_is_counted_as_the_table_says() -> None:
    usage = Usage(
        input_tokens=1000, output_tokens=200, cached_tokens=300, cache_creation_tokens=50, reasoning_tokens=70
    )
    assert {row[0] for row in table("## Usage")} == set(USED)
    for row in table("## Usage"):
        for dialect, cell in zip(DIALECTS, row[1:], strict=True):
            reply = Reply(id="r", model="m", created=1, usage=usage)
            written = CODECS[dialect].write_reply(reply, Conversation(model="m"), Losses())
            found = json.loads(written)["usage"]
            if spans(cell):
                assert sum(at(found, path) for path in spans(cell)) == USED[row[0]]
            assert CODECS[dialect].read_reply(written).usage == usage


# --- streams ----------------------------------------------------------------------------------------

BEGUN = Start(id="r", model="m", created=1)
THOUGHT = Thinking(text="", origin="messages")
FUNCTION = ToolCall(id="c", name="f", arguments="")
TEXT = PartStart(0, Text(text=""))
CITE = CitationDelta(0, Citation(url="https://w.test", title="W", start=0, end=1))

STEPS: dict[str, tuple[list[Event], list[Event]]] = {
    "the reply starts": ([], [BEGUN]),
    "a text starts": ([BEGUN], [TEXT]),
    "text": ([BEGUN, TEXT], [TextDelta(0, "Hi")]),
    "a citation": ([BEGUN, TEXT, TextDelta(0, "Hi")], [CITE]),
    "a text ends": ([BEGUN, TEXT, TextDelta(0, "Hi"), CITE], [PartStop(0)]),
    "a refusal": ([BEGUN, PartStart(0, Refusal(text=""))], [TextDelta(0, "No.")]),
    "thinking starts": ([BEGUN], [PartStart(0, THOUGHT)]),
    "thinking, at first": ([BEGUN, PartStart(0, THOUGHT)], [TextDelta(0, "Hm.")]),
    "thinking ends, sealed": (
        [BEGUN, PartStart(0, THOUGHT), TextDelta(0, "Hm.")],
        [SealDelta(0, "c2ln"), PartStop(0)],
    ),
    "a tool call starts": ([BEGUN], [PartStart(0, FUNCTION)]),
    "its arguments": ([BEGUN, PartStart(0, FUNCTION)], [TextDelta(0, '{"a":1}')]),
    "a tool call ends": ([BEGUN, PartStart(0, FUNCTION), TextDelta(0, '{"a":1}')], [PartStop(0)]),
    "a custom tool's input": (
        [BEGUN, PartStart(0, ToolCall(id="c", name="f", arguments="", kind="custom"))],
        [TextDelta(0, "x")],
    ),
    "the reply ends": ([BEGUN, TEXT, TextDelta(0, "Hi"), PartStop(0)], [Finished(finish="stop")]),
    "the reply breaks off": ([BEGUN], [Failed(errors.UpstreamUnavailable("It went away."))]),
    "a sign of life": ([BEGUN], [Ping()]),
}


@pytest.mark.parametrize(("step", "target", "cell"), cells("## Streams"))
def test_a_step_is_written_as_the_table_says(step: str, target: Dialect, cell: str) -> None:
    before, then = STEPS[step]
    writer = CODECS[target].stream_writer(Conversation(model="m"))
    for event in before:
        writer.feed(event)
    written = b"".join(frame for event in then for frame in writer.feed(event))
    if not cell:
        assert not written
        return
    assert said(target, written) >= set(spans(cell))
    if target == "responses" and b"data:" in written:
        assert [frame.event for frame in sse.frames(written)] == spans(cell)


def said(dialect: Dialect, written: bytes) -> set[str]:
    found = {block.decode() for block in sse.blocks(written) if block.startswith(b":")}
    for frame in sse.frames(written):
        event = json.loads(frame.data)
        found |= {str(frame.event), *(event if "error" in event else ())}
        found |= {str(event["delta"].get("type"))} if isinstance(event.get("delta"), dict) else set()
        for choice in event.get("choices", ()):
            found |= set(choice["delta"]) | ({"finish_reason"} if choice["finish_reason"] else set())
    return found


def test_the_stream_table_has_every_step() -> None:
    assert {row[0] for row in table("## Streams")} == set(STEPS)


# --- errors -----------------------------------------------------------------------------------------


def test_kinds_of_errors_have_the_types_that_the_table_says() -> None:
    rows = table("## Errors")
    assert [spans(row[0])[0] for row in rows] == list(typing.get_args(errors.Kind))
    for kind, openais, anthropics in ([spans(cell)[0] for cell in row] for row in rows):
        error = errors.PlanoError("It went wrong.", kind=kind)  # type: ignore[arg-type]
        for dialect in DIALECTS:
            body = json.loads(CODECS[dialect].write_error(error))
            assert body["error"]["type"] == (anthropics if dialect == "messages" else openais)


def test_statuses_are_of_the_kinds_that_the_table_says() -> None:
    said: dict[int, str] = {}
    for statuses, kind in table("## Errors", 1):
        others = re.search(r"other (\d)xx", statuses)
        for status in range(int(others.group(1)) * 100, int(others.group(1)) * 100 + 100) if others else ():
            said.setdefault(status, spans(kind)[0])
        for status in re.findall(r"\b\d{3}\b", statuses):
            said[int(status)] = spans(kind)[0]
    assert {status: kind_of_status(status) for status in range(400, 600)} == said


def test_the_gateways_own_errors_are_in_the_table() -> None:
    abstract = (errors.ConfigError, errors.CallerError, errors.UpstreamError)
    classes = {found.__name__: found for found in every(errors.PlanoError) if found not in abstract}
    rows = {spans(row[0])[0]: row[1:] for row in table("## Errors", 2)}
    assert set(rows) == set(classes)
    for name, (status, kind, code) in rows.items():
        found = classes[name]
        if found is errors.UpstreamStatus:
            continue
        instance = errors.FilterError("f") if found is errors.FilterError else None
        assert int(status) == found.default_status
        assert spans(kind) == [found.default_kind]
        assert spans(code) == ([instance.code] if instance else [found.default_code] if found.default_code else [])


def every(base_: type[errors.PlanoError]) -> Iterable[type[errors.PlanoError]]:
    for found in base_.__subclasses__():
        yield found
        yield from every(found)


# --- notes ------------------------------------------------------------------------------------------


def test_the_numbers_in_the_notes_are_the_codes() -> None:
    effort = re.search(r"\*\*Effort and budget\.\*\*(.*?)\n\n", DOCUMENT, re.DOTALL)
    assert effort is not None
    said_ = {word: int(tokens) for word, tokens in re.findall(r"`(\w+)`\s+(?:is\s+)?(\d+)", effort.group(1))}
    assert {word: said_[word] for word in BUDGETS} == BUDGETS
    assert f"else {DEFAULT_MAX_TOKENS}," in DOCUMENT
