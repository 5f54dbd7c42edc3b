"""Requests of clients of other APIs: vendors do not get values that they refuse, or would take to mean something
else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import openai
import pytest
from anthropic import transform_schema
from msgspec import Raw
from openai import OpenAI
from pydantic import BaseModel, Field

from plano import Plano
from plano.conversation import Citation, Text
from plano.dialects.messages.schema import enforceable
from plano.testing import FakeProvider, redacted_thinking, serve, thinking, tool_call
from plano.types import CLIENT_DIALECTS as DIALECTS
from plano.types import Dialect
from tests.asgi import ask
from tests.test_pairs import PATHS, config

HELLO = [{"role": "user", "content": "Hello"}]
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"x": {"type": "string"}}}
LONG = json.dumps({"device_id": "d" * 64, "account_uuid": "", "session_id": "s" * 36})


def asked_in(client: Dialect, **more: Any) -> dict[str, Any]:
    limit = {"max_tokens": 100} if client == "messages" else {}
    return {"input" if client == "responses" else "messages": HELLO, **limit, **more}


async def sent(client: Dialect, upstream: Dialect, **more: Any) -> tuple[dict[str, Any], str]:
    """The body that the upstream got, and the losses that were reported."""
    provider = FakeProvider()
    app = Plano(config("http://upstream.test"), transport=provider)
    body = asked_in(client, **more) | {"model": f"fake_{upstream}/m-1"}
    answer = await ask(app, "POST", PATHS[client], body)
    assert answer.status == 200, answer.body
    found: dict[str, Any] = provider.last.json
    reported = answer.headers.get("x-plano-dropped", "").split(", ")
    return found, ", ".join(name for name in reported if not name.startswith("reply."))


@pytest.mark.parametrize("client", ["chat", "messages"])
async def test_absent_means_the_same_towards_responses(client: Dialect) -> None:
    function = {"name": "f", "parameters": SCHEMA}
    tool = {"type": "function", "function": function} if client == "chat" else {"name": "f", "input_schema": SCHEMA}
    body, reported = await sent(client, "responses", tools=[tool])
    assert (body["store"], body["tools"][0]["strict"], reported) == (False, False, "")


async def test_what_is_said_of_storing_and_strictness_stays() -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": SCHEMA, "strict": True}}
    body, _ = await sent("chat", "responses", tools=[tool], store=True)
    assert (body["store"], body["tools"][0]["strict"]) == (True, True)
    body, _ = await sent("responses", "responses", tools=[{"type": "function", "name": "f", "parameters": SCHEMA}])
    assert "store" not in body
    assert "strict" not in body["tools"][0]


@pytest.mark.parametrize(("limit", "expected", "reported"), [(1, 16, "max_tokens"), (16, 16, ""), (17, 17, "")])
async def test_responses_takes_no_fewer_than_sixteen_tokens(limit: int, expected: int, reported: str) -> None:
    body, found = await sent("messages", "responses", max_tokens=limit)
    assert (body["max_output_tokens"], found) == (expected, reported)


@pytest.mark.parametrize("upstream", ["chat", "responses"])
@pytest.mark.parametrize(("user", "expected"), [("u" * 64, "u" * 64), (LONG, sha256(LONG.encode()).hexdigest())])
async def test_a_user_too_long_for_openai_becomes_a_digest(upstream: Dialect, user: str, expected: str) -> None:
    body, reported = await sent("messages", upstream, metadata={"user_id": user})
    assert (body["user"], reported) == (expected, "")


async def test_the_blocks_of_a_system_prompt_are_one_message_in_chat() -> None:
    blocks = [{"type": "text", "text": text} for text in ("You are an agent.", "Be brief.")]
    body, _ = await sent("messages", "chat", system=blocks)
    assert [message["role"] for message in body["messages"]] == ["system", "user"]
    assert body["messages"][0]["content"] == "You are an agent.\n\nBe brief."


async def test_blank_texts_do_not_go_to_claude() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    turns = [
        {"role": "system", "content": "\n"},
        *HELLO,
        {"role": "assistant", "content": "\n\n", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "done"},
    ]
    body, _ = await sent("chat", "messages", messages=turns)
    assert "system" not in body
    assert [block["type"] for block in body["messages"][1]["content"]] == ["tool_use"]


@pytest.mark.parametrize(
    ("said", "expected"),
    [("image/jpg", "image/jpeg"), ("image/PNG", "image/png"), ("image/webp", "image/webp"), ("image/svg+xml", None)],
)
async def test_images_go_to_claude_by_the_types_it_knows(said: str, expected: str | None) -> None:
    content = [{"type": "image_url", "image_url": {"url": f"data:{said};base64,AAAA"}}]
    provider = FakeProvider()
    app = Plano(config("http://upstream.test"), transport=provider)
    body = {"model": "fake_messages/m-1", "messages": [{"role": "user", "content": content}]}
    answer = await ask(app, "POST", PATHS["chat"], body)
    if expected is None:
        assert answer.status == 400
        assert json.loads(answer.body)["error"]["code"] == "unsupported_conversion"
    else:
        (block,) = provider.last.json["messages"][0]["content"]
        assert block["source"]["media_type"] == expected


async def test_a_file_without_a_type_goes_to_claude_as_what_its_name_says() -> None:
    file = {"type": "input_file", "filename": "a.txt", "file_data": "aGVsbG8="}
    body, _ = await sent("responses", "messages", input=[{"role": "user", "content": [file]}])
    assert body["messages"][0]["content"][0]["source"] == {"type": "text", "media_type": "text/plain", "data": "hello"}


@pytest.mark.parametrize("upstream", ["chat", "responses"])
async def test_a_result_that_cannot_be_said_makes_no_turn(upstream: Dialect) -> None:
    turns = [
        *HELLO,
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {}}]},
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "t",
                    "content": [{"type": "made_up", "name": "g"}],
                }
            ],
        },
    ]
    body, reported = await sent("messages", upstream, messages=turns)
    last = body["messages" if upstream == "chat" else "input"][-1]
    assert (last["content"] if upstream == "chat" else last["output"]) == ""
    assert reported == "messages.content"


async def test_log_probabilities_are_asked_for_in_the_way_of_chat() -> None:
    body, _ = await sent("responses", "chat", top_logprobs=3)
    assert (body["logprobs"], body["top_logprobs"]) == (True, 3)


async def test_the_tier_that_served_is_said_in_chat_too() -> None:
    provider = FakeProvider()
    app = Plano(config("http://upstream.test"), transport=provider)
    answer = await ask(app, "POST", PATHS["chat"], asked_in("chat", model="fake_responses/m-1", service_tier="flex"))
    assert json.loads(answer.body)["service_tier"] == "flex"
    assert "x-plano-dropped" not in answer.headers


BILLING = "x-anthropic-billing-header: cc_version=2.1.197.1c0; cc_entrypoint=cli; cch=36ee5;"


@pytest.mark.parametrize("upstream", ["chat", "responses"])
@pytest.mark.parametrize(
    ("system", "expected"),
    [
        ([{"type": "text", "text": BILLING}, {"type": "text", "text": "You are an agent."}], "You are an agent."),
        (f"{BILLING}\n\nYou are an agent.", "You are an agent."),
        (f"You are an agent.\n{BILLING}", f"You are an agent.\n{BILLING}"),
        (BILLING, None),
    ],
)
async def test_claude_codes_billing_header_goes_to_anthropic_alone(
    upstream: Dialect, system: Any, expected: str | None
) -> None:
    body, reported = await sent("messages", upstream, system=system)
    found = [message["content"] for message in body.get("messages", ()) if message["role"] == "system"]
    assert (body.get("instructions") if upstream == "responses" else next(iter(found), None)) == expected
    assert reported == ("" if expected and BILLING in expected else "system.x-anthropic-billing-header")
    same, _ = await sent("messages", "messages", system=system)
    assert same["system"] == system


NAME = "mcp__plugin_issue-tracker_issue-tracker__search_issues_by_label_and_milestone"
CUT = NAME[:55] + "_" + sha256(NAME.encode()).hexdigest()[:8]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("upstream", "longest"), [("chat", 40), ("responses", 64)])
async def test_names_and_ids_too_long_for_openai_are_cut_on_the_way_and_whole_again(
    upstream: Dialect, longest: int, stream: bool
) -> None:
    provider = FakeProvider()
    provider.reply(tool_call(CUT, {"label": "bug"}))
    app = Plano(config("http://upstream.test"), transport=provider)
    id_ = "toolu_" + "x" * 60
    turns = [
        *HELLO,
        {"role": "assistant", "content": [{"type": "tool_use", "id": id_, "name": NAME, "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": id_, "content": "done"}]},
    ]
    tools = [{"name": name, "input_schema": SCHEMA} for name in ("f", NAME)]
    choice = {"type": "tool", "name": NAME}
    asked = asked_in("messages", messages=turns, tools=tools, tool_choice=choice, stream=stream)
    answer = await ask(app, "POST", PATHS["messages"], asked | {"model": f"fake_{upstream}/m-1"})

    body = provider.last.json
    assert len(CUT) == 64
    if upstream == "chat":
        assert [tool["function"]["name"] for tool in body["tools"]] == ["f", CUT]
        assert body["tool_choice"]["function"]["name"] == CUT
        (call,) = body["messages"][1]["tool_calls"]
        assert (call["function"]["name"], call["id"]) == (CUT, body["messages"][2]["tool_call_id"])
        assert len(call["id"]) == longest
    else:
        assert [tool["name"] for tool in body["tools"]] == ["f", CUT]
        assert body["tool_choice"]["name"] == CUT
        call, result = body["input"][1:]
        assert (call["name"], call["call_id"]) == (CUT, result["call_id"])
        assert len(call["call_id"]) == longest
    assert answer.body.count(f'"name":"{NAME}"'.encode()) == 1
    assert CUT.encode() not in answer.body


OVERFLOWS = {
    "chat": ("This model's maximum context length is 8192 tokens.", "context_length_exceeded"),
    "responses": ("Your input exceeds the context window of this model.", "context_length_exceeded"),
    "messages": ("prompt is too long: 210000 tokens > 200000 maximum", None),
}


@pytest.mark.parametrize("upstream", DIALECTS)
@pytest.mark.parametrize("client", DIALECTS)
async def test_a_conversation_that_does_not_fit_is_told_in_the_words_that_clients_look_for(
    client: Dialect, upstream: Dialect
) -> None:
    message, code = OVERFLOWS[upstream]
    error: dict[str, Any] = {"type": "invalid_request_error", "message": message}
    said = {"type": "error", "error": error} if upstream == "messages" else {"error": error | {"code": code}}
    provider = FakeProvider()
    provider.raw(400, {"content-type": "application/json"}, json.dumps(said).encode())
    app = Plano(config("http://upstream.test"), transport=provider)
    answer = await ask(app, "POST", PATHS[client], asked_in(client, model=f"fake_{upstream}/m-1"))
    found = json.loads(answer.body)["error"]
    assert answer.status == 400
    assert found["message"].endswith(message)
    if client == "messages":
        assert found["message"].startswith("prompt is too long")
    else:
        assert found["code"] == "context_length_exceeded"


async def test_a_websocket_is_told_at_once_that_there_is_none() -> None:
    app = Plano(config("http://upstream.test"), transport=FakeProvider())
    headers = {"connection": "Upgrade", "upgrade": "websocket"}
    assert (await ask(app, "GET", PATHS["responses"], None, headers)).status == 426
    assert (await ask(app, "GET", PATHS["responses"])).status == 405


@pytest.mark.parametrize(
    ("client", "model", "asked", "expected"),
    [
        ("messages", "gpt-4o", 32_000, 16_384),
        ("messages", "gpt-4o-2024-05-13", 5_000, 4_096),
        ("messages", "gpt-4.1-mini", 32_000, 32_000),
        ("messages", "gpt-5.1", 200_000, 200_000),
        ("chat", "gpt-4o", 32_000, 32_000),
    ],
)
async def test_another_apis_client_asks_no_more_tokens_of_a_model_than_it_can_give(
    client: Dialect, model: str, asked: int, expected: int
) -> None:
    provider = FakeProvider()
    app = Plano({"model_providers": [{"model": f"openai/{model}", "access_key": "k"}]}, transport=provider)
    limit = {"max_tokens" if client == "messages" else "max_completion_tokens": asked}
    answer = await ask(app, "POST", PATHS[client], asked_in(client, model=f"openai/{model}") | limit)
    assert provider.last.json["max_completion_tokens"] == expected
    assert answer.headers.get("x-plano-dropped") == (None if expected == asked else "max_tokens")


WEATHER = {"type": "function", "name": "get_weather", "parameters": SCHEMA}
NAMESPACE = {"type": "namespace", "name": "mcp__weather", "description": "Weather.", "tools": [WEATHER]}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("upstream", ["chat", "messages"])
async def test_tools_in_a_namespace_are_tools_and_calls_of_them_come_back_in_it(
    upstream: Dialect, stream: bool
) -> None:
    flat = "mcp__weather__get_weather"
    provider = FakeProvider()
    provider.reply(tool_call(flat, {"x": "Paris"}))
    app = Plano(config("http://upstream.test"), transport=provider)
    called = {"type": "function_call", "call_id": "c", "namespace": "mcp__weather", "name": "get_weather"}
    turns = [*HELLO, called | {"arguments": "{}"}, {"type": "function_call_output", "call_id": "c", "output": "rain"}]
    asked = asked_in("responses", input=turns, tools=[NAMESPACE], stream=stream)
    answer = await ask(app, "POST", PATHS["responses"], asked | {"model": f"fake_{upstream}/m-1"})

    body = provider.last.json
    tool, turn = body["tools"][0], body["messages"][1]
    if upstream == "chat":
        assert (tool["function"]["name"], turn["tool_calls"][0]["function"]["name"]) == (flat, flat)
    else:
        assert (tool["name"], turn["content"][0]["name"]) == (flat, flat)
    assert "x-plano-dropped" not in answer.headers
    whole = answer.body
    if stream:
        (last,) = (line for line in answer.body.splitlines() if line.startswith(b'data: {"type":"response.completed"'))
        whole = last.removeprefix(b"data: ")
    reply = json.loads(whole)
    (item,) = (reply["response"] if stream else reply)["output"]
    assert (item["namespace"], item["name"]) == ("mcp__weather", "get_weather")
    assert flat.encode() not in answer.body


async def test_a_namespace_stays_one_towards_responses() -> None:
    body, reported = await sent("responses", "responses", tools=[NAMESPACE])
    assert (body["tools"], reported) == ([NAMESPACE], "")


@pytest.mark.parametrize("upstream", ["chat", "messages"])
async def test_tools_that_come_up_in_the_input_are_tools_and_no_turn(upstream: Dialect) -> None:
    more = {"type": "additional_tools", "role": "developer", "tools": [WEATHER]}
    turns = [more, {"role": "developer", "content": "You are Codex."}, *HELLO]
    body, reported = await sent("responses", upstream, input=turns)
    assert len(body["tools"]) == 1
    if upstream == "chat":
        assert [message["role"] for message in body["messages"]] == ["developer", "user"]
    else:
        assert [message["role"] for message in body["messages"]] == ["user"]
        assert "You are Codex." in str(body["system"])
    assert reported == ""


@pytest.mark.parametrize("upstream", ["chat", "messages"])
async def test_an_item_that_cannot_be_said_leaves_no_turn_behind(upstream: Dialect) -> None:
    turns = [*HELLO, {"type": "compaction", "id": "cmp_1", "encrypted_content": "x"}, *HELLO]
    body, reported = await sent("responses", upstream, input=turns)
    assert {message["role"] for message in body["messages"]} == {"user"}
    assert reported == "messages.content"


@pytest.mark.parametrize("dialect", ["chat", "responses"])
async def test_names_too_long_go_as_they_are_to_the_api_they_were_said_in(dialect: Dialect) -> None:
    function = {"name": NAME, "parameters": SCHEMA}
    tool = {"type": "function", "function": function} if dialect == "chat" else {"type": "function", **function}
    body, _ = await sent(dialect, dialect, tools=[tool])
    assert body["tools"] == [tool]


class Answer(BaseModel):
    score: int = Field(ge=1, le=10, description="How good.")
    tags: list[str] = Field(max_length=3)


@pytest.mark.parametrize("client", ["chat", "responses"])
async def test_claude_gets_schemas_that_it_enforces_and_the_rest_in_words(client: Dialect) -> None:
    schema = Answer.model_json_schema()
    wanted = {"type": "json_schema", "name": "answer", "schema": schema}
    form: dict[str, Any] = {"text": {"format": wanted}}
    if client == "chat":
        form = {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}}
    body, reported = await sent(client, "messages", **form)
    assert body["output_config"]["format"]["schema"] == {
        "title": "Answer",
        "type": "object",
        "properties": {
            "score": {"title": "Score", "type": "integer", "description": "How good.\n\n(maximum: 10, minimum: 1)"},
            "tags": {
                "title": "Tags",
                "type": "array",
                "items": {"type": "string"},
                "description": "(maxItems: 3)",
            },
        },
        "required": ["score", "tags"],
        "additionalProperties": False,
    }
    assert reported == "response_format"


async def test_what_an_object_may_have_besides_is_said_in_words_and_reported() -> None:
    schema = {
        "type": "object",
        "properties": {"counts": {"type": "object", "additionalProperties": {"type": "integer"}}},
    }
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    body, reported = await sent("chat", "messages", response_format=form)
    counts = body["output_config"]["format"]["schema"]["properties"]["counts"]
    assert counts["additionalProperties"] is False
    assert counts["description"] == '(additionalProperties: {"type":"integer"})'
    assert reported == "response_format"


async def test_only_strict_tools_have_their_schemas_fitted() -> None:
    parameters = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}}
    tools = [
        {"type": "function", "function": {"name": name, "parameters": parameters, "strict": strict}}
        for name, strict in (("exact", True), ("loose", False))
    ]
    body, reported = await sent("chat", "messages", tools=tools)
    exact, loose = (tool["input_schema"] for tool in body["tools"])
    assert exact["properties"]["n"] == {"type": "integer", "description": "(minimum: 1)"}
    assert loose == parameters
    assert reported == "tools.strict"


SCHEMAS: list[dict[str, Any]] = [
    {"type": "object", "properties": {"a": {"type": "string", "format": "email", "maxLength": 9}}, "required": ["a"]},
    {"type": "object", "properties": {"a": {"oneOf": [{"type": "integer", "multipleOf": 2}, {"type": "null"}]}}},
    {"type": "object", "properties": {"a": {"type": "array", "items": {"$ref": "#/$defs/B"}, "minItems": 2}}}
    | {"$defs": {"B": {"type": "object", "properties": {"b": {"type": "string", "format": "phone"}}}}},
    {"type": "object", "properties": {"a": {"anyOf": [{"type": "string", "minLength": 1}, {"type": "null"}]}}},
]


@pytest.mark.parametrize("schema", SCHEMAS, ids=str)
def test_schemas_become_what_anthropics_sdk_makes_of_them(schema: dict[str, Any]) -> None:
    fitted, _ = enforceable(Raw(json.dumps(schema).encode()))
    assert without_words(json.loads(bytes(fitted))) == without_words(transform_schema(schema))


def without_words(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {name: without_words(value) for name, value in schema.items() if name != "description"}
    return [without_words(each) for each in schema] if isinstance(schema, list) else schema


@pytest.mark.parametrize("raw", [b"true", b"null", b"[1]", b'{"type":["object","null"]}', b'{"items":7,"anyOf":3}'])
def test_a_schema_may_be_anything(raw: bytes) -> None:
    fitted, in_words = enforceable(Raw(raw))
    assert json.loads(bytes(fitted)) == json.loads(raw) or b"additionalProperties" in bytes(fitted)
    assert in_words == []


def test_a_schema_nested_without_end_is_left_as_it_is_further_down() -> None:
    levels = 300
    raw = b'{"items":' * levels + b'{"minimum":1}' + b"}" * levels
    fitted, in_words = enforceable(Raw(raw))
    assert (bytes(fitted), in_words) == (raw, [])


@pytest.fixture
def provider() -> FakeProvider:
    return FakeProvider()


@pytest.fixture
def client(provider: FakeProvider) -> Iterator[OpenAI]:
    with serve(provider) as upstream, serve(Plano(config(upstream))) as url:
        yield OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0)


@pytest.mark.parametrize("upstream", sorted(set(DIALECTS) - {"chat"}))
@pytest.mark.parametrize(
    "parts",
    [
        (thinking("One.", seal="c2E="), "Text", thinking("Two.", seal="c2I=")),
        (thinking("One.", seal="c2E="), redacted_thinking("cmVk"), "x"),
        tuple(Text(text=f"{n}.", citations=(Citation(url=f"https://{n}.test", title="t"),)) for n in "ab"),
    ],
    ids=["two seals", "a seal and redacted thinking", "two cited texts"],
)
def test_lists_that_several_chunks_add_to_are_put_together_by_the_sdk(
    client: openai.OpenAI, provider: FakeProvider, upstream: str, parts: tuple[Any, ...]
) -> None:
    provider.reply(*parts)
    with client.chat.completions.stream(model=f"fake_{upstream}/m-1", messages=HELLO) as stream:  # type: ignore[arg-type]
        for _ in stream:
            pass
        message = stream.get_final_completion().choices[0].message
    listed = message.to_dict().get("reasoning_details") or message.to_dict()["annotations"]
    assert [entry["index"] for entry in listed] == list(range(len(listed)))  # type: ignore[attr-defined,arg-type]
    assert len(listed) >= 2  # type: ignore[arg-type]
