"""Requests as coding agents send them (Claude Code, Codex), against every kind of upstream: nothing comes to harm.

What went up is read off the upstream's record; what came down is put together by the SDKs that the agents use.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import Message

from plano import Plano
from plano.dialects.custom_tools import SCHEMA
from plano.testing import FakeProvider, Reply, Usage, custom_tool_call, redacted_thinking, thinking, tool_call
from plano.testing.record import Recorded
from plano.types import CLIENT_DIALECTS as DIALECTS
from plano.types import Dialect
from tests import oracles
from tests.asgi import Answer, ask

SEAL = "EqoBCkYIBRgCKkD" + "x+/=" * 60
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ"
USAGE = Usage(input_tokens=41_000, output_tokens=900, cached_tokens=40_000, reasoning_tokens=300)


def entry(dialect: Dialect) -> dict[str, Any]:
    return {
        "model": f"{dialect}_server/m",
        "provider_interface": "anthropic" if dialect == "messages" else "openai",
        "base_url": "https://llm.example/v1",
        "apis": [dialect],
        "access_key": "sk-upstream",
    }


def thought(upstream: Dialect, text: str, seal: str) -> Any:
    """Thinking, sealed the way that this kind of upstream does."""
    details = [{"type": "reasoning.encrypted", "data": seal, "format": "google-gemini-v1", "index": 0}]
    return thinking(text, seal=json.dumps(details) if upstream == "chat" else seal)


def gateway(provider: FakeProvider) -> Plano:
    return Plano({"model_providers": [entry(dialect) for dialect in DIALECTS]}, transport=provider)


def schema(number: int) -> str:
    """A large schema as its author wrote it: keys in no order, numbers in odd spellings, text of all kinds."""
    properties = ",".join(
        f'"{name}_{number}":{{"type":"string","description":"{"Lorem ipsum – «dolor» sit amet. " * 4}"}}'
        for name in ("zeta", "alpha", "mid")
    )
    return (
        f'{{"type":"object","properties":{{{properties},"limit":{{"maximum":1e3,"type":"number","minimum":1.0}}}},'
        f'"required":["zeta_{number}"],"additionalProperties":false,"$schema":"http://json-schema.org/draft-07/schema#"}}'
    )


SCHEMAS = [schema(number) for number in range(40)]
NAMES = [f"tool_{(number * 17) % 40}" for number in range(40)]
"""In no order, which must stay."""


def offered(body: Any) -> list[tuple[str, Any]]:
    """Names and schemas of the function tools in a request, in order."""
    tools = [tool.get("function", tool) for tool in body["tools"]]
    return [(tool["name"], tool.get("input_schema", tool.get("parameters"))) for tool in tools if "name" in tool]


def hold_schemas(recorded: Recorded) -> None:
    """Every tool, in order, its schema byte for byte."""
    assert [name for name, _ in offered(recorded.json)][: len(NAMES)] == NAMES
    body, at = recorded.body.decode(), 0
    for written in SCHEMAS:
        at = body.find(written, at)
        assert at > 0, "a schema was rewritten, or moved"


# --- Claude Code ------------------------------------------------------------------------------------

BETAS = "claude-code-20250219,interleaved-thinking-2025-05-14,fine-grained-tool-streaming-2025-05-14"
CLAUDE_CODE = {
    "anthropic-beta": BETAS,
    "anthropic-version": "2023-06-01",
    "x-app": "cli",
    "user-agent": "claude-cli/2.0.0 (external, cli)",
    "authorization": "Bearer sk-ant-client",
    "x-stainless-lang": "js",
}
PROMPT = "You are an interactive tool that helps with software engineering. " * 400
CACHED = {"type": "ephemeral"}


class ClaudeCode:
    """A session: every turn sends all that was said before."""

    def __init__(self, upstream: Dialect) -> None:
        self.upstream = upstream
        self.provider = FakeProvider()
        self.app = gateway(self.provider)
        self.history: list[Any] = [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "<system-reminder>Today is Monday.</system-reminder>"},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
                    {"type": "text", "text": "Mend the bug.", "cache_control": CACHED},
                ],
            }
        ]

    def body(self, **more: Any) -> bytes:
        fields = {
            "model": f"{self.upstream}_server/m",
            "max_tokens": 32000,
            "messages": self.history,
            "system": [
                {"type": "text", "text": "You are Claude Code.", "cache_control": CACHED},
                {"type": "text", "text": PROMPT, "cache_control": CACHED | {"ttl": "1h"}},
            ],
            "metadata": {"user_id": "user_ab12_account__session_cd34"},
            "thinking": {"type": "enabled", "budget_tokens": 10000},
            "stream": True,
        }
        tools = ",".join(
            f'{{"name":"{name}","description":"Does {name}.","input_schema":{written}'
            + (',"cache_control":{"type":"ephemeral"}}' if name == NAMES[-1] else "}")
            for name, written in zip(NAMES, SCHEMAS, strict=True)
        )
        return json.dumps(fields | more).encode()[:-1] + b',"tools":[' + tools.encode() + b"]}"

    async def turn(self, *parts: Any) -> Any:
        self.provider.reply(*parts, usage=USAGE)
        answer = await ask(self.app, "POST", "/v1/messages?beta=true", self.body(), CLAUDE_CODE)
        message = final_message(answer)
        self.history.append(
            {"role": "assistant", "content": [block.model_dump(exclude_none=True) for block in message.content]}
        )
        self.answer = answer
        return message

    def result(self, **results: Any) -> None:
        blocks = [
            {"type": "tool_result", "tool_use_id": id, **(said if isinstance(said, dict) else {"content": said})}
            for id, said in results.items()
        ]
        self.history.append({"role": "user", "content": blocks})


def final_message(answer: Answer) -> Message:
    """As Anthropic's SDK puts it together."""
    assert answer.status == 200, answer.body
    assert answer.headers["content-type"].startswith("text/event-stream")
    found = oracles.stream("messages", answer.body)
    assert found.clean
    message: Any = None
    buffers: dict[int, bytes] = {}
    for event in found.events:
        message = accumulate_event(event=event, current_snapshot=message, json_bufs=buffers)
    return Message.model_validate(message.model_dump())


def text_of(content: Any) -> str:
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


async def played(upstream: Dialect) -> ClaudeCode:
    """Three turns: two calls at once, one of which fails and one of which shows an image; one call; the end."""
    agent = ClaudeCode(upstream)
    message = await agent.turn(
        thought(upstream, "Let me look.", SEAL),
        "I'll read both files.",
        tool_call("tool_0", '{"zeta_0": "a.py", "limit": 1.50}', id="toolu_01"),
        tool_call("tool_17", {"zeta_17": 'Ünï "quoted"\n'}, id="toolu_02"),
    )
    assert [block.type for block in message.content] == ["thinking", "text", "tool_use", "tool_use"]
    assert message.content[0].thinking == "Let me look."
    assert message.content[1].text == "I'll read both files."
    assert (message.content[2].id, message.content[2].input) == ("toolu_01", {"zeta_0": "a.py", "limit": 1.5})
    assert message.content[3].input == {"zeta_17": 'Ünï "quoted"\n'}
    assert message.stop_reason == "tool_use"
    assert message.usage.cache_read_input_tokens == 40_000
    assert (message.usage.input_tokens, message.usage.output_tokens) == (1_000, 900)
    agent.result(
        toolu_01=[
            {"type": "text", "text": "A screenshot:"},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
        ],
        toolu_02={"content": "No such file.", "is_error": True},
    )
    message = await agent.turn(
        thought(upstream, "Now the fix.", SEAL[::-1]), tool_call("tool_34", {"zeta_34": "x"}, id="toolu_03")
    )
    assert [block.type for block in message.content] == ["thinking", "tool_use"]
    agent.result(toolu_03="Done.")
    message = await agent.turn("All mended.")
    assert (message.content[0].text, message.stop_reason) == ("All mended.", "end_turn")
    return agent


async def test_claude_code_with_its_own_api_is_forwarded_as_it_was() -> None:
    agent = await played("messages")
    recorded = agent.provider.last
    sent = json.loads(agent.body())
    sent["messages"] = agent.history[:-1]
    assert recorded.json == sent | {"model": "m"}
    assert list(recorded.json) == list(sent)
    hold_schemas(recorded)
    assert recorded.headers["anthropic-beta"] == BETAS
    assert recorded.headers["anthropic-version"] == "2023-06-01"
    assert recorded.headers["x-api-key"] == "sk-upstream"
    assert "sk-ant-client" not in json.dumps(dict(recorded.headers))
    assert "x-plano-dropped" not in agent.answer.headers


async def test_claude_code_goes_to_a_chat_model_and_back() -> None:
    agent = await played("chat")
    recorded = agent.provider.last
    body = recorded.json
    hold_schemas(recorded)
    assert [message["role"] for message in body["messages"]] == [
        *("system", "user"),
        *("assistant", "tool", "tool", "user"),
        *("assistant", "tool"),
    ]
    assert body["messages"][0]["content"] == f"You are Claude Code.\n\n{PROMPT}"
    first, second = body["messages"][2], body["messages"][6]
    assert first["content"] == "I'll read both files."
    assert [call["id"] for call in first["tool_calls"]] == ["toolu_01", "toolu_02"]
    assert json.loads(first["tool_calls"][0]["function"]["arguments"]) == {"zeta_0": "a.py", "limit": 1.5}
    assert [first["reasoning_content"], second["reasoning_content"]] == ["Let me look.", "Now the fix."]
    assert SEAL in json.dumps(first["reasoning_details"])
    assert SEAL[::-1] in json.dumps(second["reasoning_details"])
    assert [message["tool_call_id"] for message in body["messages"] if message["role"] == "tool"] == [
        *("toolu_01", "toolu_02", "toolu_03"),
    ]
    images = [part for part in body["messages"][5]["content"] if part["type"] == "image_url"]
    assert images == [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}]
    assert body["user"] == "user_ab12_account__session_cd34"
    assert body["reasoning_effort"] == "high"
    assert (body["max_completion_tokens"], body["stream_options"]) == (32000, {"include_usage": True})
    assert "anthropic-beta" not in recorded.headers
    dropped = agent.answer.headers["x-plano-dropped"].split(", ")
    assert set(dropped) == {
        *("system.cache_control", "messages.cache_control", "tools.cache_control", "tool_result.is_error"),
    }


async def test_claude_code_goes_to_a_responses_model_and_back() -> None:
    agent = await played("responses")
    recorded = agent.provider.last
    body = recorded.json
    hold_schemas(recorded)
    assert body["instructions"] == f"You are Claude Code.\n\n{PROMPT}"
    kinds = [item["type"] for item in body["input"]]
    assert kinds == [
        *("message", "reasoning", "message", "function_call", "function_call"),
        *("function_call_output", "function_call_output", "reasoning", "function_call", "function_call_output"),
    ]
    assert [item["encrypted_content"] for item in body["input"] if item["type"] == "reasoning"] == [SEAL, SEAL[::-1]]
    calls = [item["call_id"] for item in body["input"] if item["type"] == "function_call"]
    assert calls == [item["call_id"] for item in body["input"] if item["type"] == "function_call_output"]
    assert {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"}.items() <= body["input"][5]["output"][
        1
    ].items()
    assert body["include"] == ["reasoning.encrypted_content"]
    assert body["reasoning"]["effort"] == "high"
    assert body["max_output_tokens"] == 32000
    assert body["user"] == "user_ab12_account__session_cd34"


@pytest.mark.parametrize("upstream", DIALECTS)
async def test_seals_reach_the_vendor_that_made_them_and_no_other(upstream: Dialect) -> None:
    """A session that goes on with another vendor's model: its thinking is left out, never sent as text."""
    agent = await played("messages")
    agent.upstream = upstream
    agent.history.append({"role": "user", "content": "And now?"})
    await agent.turn("Fine.")
    sent = agent.provider.last.body.decode()
    if upstream == "messages":
        assert SEAL in sent
    else:
        assert SEAL not in sent
        assert "Let me look." not in sent
        assert "messages.thinking" in agent.answer.headers["x-plano-dropped"]


async def test_redacted_thinking_is_replayed() -> None:
    agent = ClaudeCode("messages")
    message = await agent.turn(redacted_thinking("cmVk+/="), tool_call("tool_0", {}, id="toolu_01"))
    assert message.content[0].data == "cmVk+/="
    agent.result(toolu_01="ok")
    await agent.turn("Done.")
    assert agent.provider.last.json["messages"][1]["content"][0] == {"type": "redacted_thinking", "data": "cmVk+/="}


@pytest.mark.parametrize("upstream", DIALECTS)
async def test_claude_codes_little_requests_are_answered(upstream: Dialect) -> None:
    """Is there quota left; what is this session about."""
    app = gateway(FakeProvider())
    quota = {"max_tokens": 1, "messages": [{"role": "user", "content": "quota"}], "metadata": {"user_id": "u"}}
    topic = {
        "max_tokens": 512,
        "temperature": 0,
        "system": [{"type": "text", "text": "Say what this is about."}],
        "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "{"}],
        "stream": False,
    }
    for body in quota, topic:
        answer = await ask(
            app, "POST", "/v1/messages?beta=true", {"model": f"{upstream}_server/m", **body}, CLAUDE_CODE
        )
        assert answer.status == 200, answer.body
        assert oracles.reply("messages", answer.body).role == "assistant"


@pytest.mark.parametrize("upstream", DIALECTS)
async def test_tokens_of_a_large_request_are_counted(upstream: Dialect) -> None:
    agent = ClaudeCode(upstream)
    fields = json.loads(agent.body())
    for field in ("max_tokens", "stream", "metadata"):
        del fields[field]
    answer = await ask(agent.app, "POST", "/v1/messages/count_tokens?beta=true", fields, CLAUDE_CODE)
    assert answer.status == 200
    assert 5_000 < answer.json()["input_tokens"] < 60_000
    assert ("x-plano-estimated" in answer.headers) is (upstream != "messages")
    if upstream == "messages":
        assert agent.provider.last.headers["anthropic-beta"] == BETAS
        assert agent.provider.last.json == fields | {"model": "m"}


async def test_signs_of_life_and_lists_of_models_are_as_agents_expect() -> None:
    app = gateway(FakeProvider())
    head = await ask(app, "HEAD", "/", headers=CLAUDE_CODE)
    assert (head.status, head.body) == (200, b"")
    listed = await ask(app, "GET", "/v1/models?limit=1000", headers=CLAUDE_CODE)
    assert (listed.status, listed.json()["has_more"]) == (200, False)
    assert [model["type"] for model in listed.json()["data"]] == ["model"] * 4
    openais = await ask(app, "GET", "/v1/models", headers={"authorization": "Bearer any"})
    assert [model["object"] for model in openais.json()["data"]] == ["model"] * 4


# --- Codex ------------------------------------------------------------------------------------------

GRAMMAR = 'start: begin_patch hunk+ end_patch\nbegin_patch: "*** Begin Patch" LF\n%import common.LF\n'
PATCH = '*** Begin Patch\n*** Update File: a.py\n-x = "1"\n+x = "ünï\\t"\n*** End Patch\n'
INSTRUCTIONS = "You are Codex, a coding agent. " * 500
CODEX = {
    "authorization": "Bearer sk-client",
    "originator": "codex_cli_rs",
    "session_id": "0199-session",
    "openai-beta": "responses=experimental",
    "accept": "text/event-stream",
    "user-agent": "codex_cli_rs/0.50.0",
}
APPLY_PATCH = {
    "type": "custom",
    "name": "apply_patch",
    "description": "Use the `apply_patch` tool to edit files.",
    "format": {"type": "grammar", "syntax": "lark", "definition": GRAMMAR},
}


class Codex:
    """A session without state at the provider: reasoning is handed back sealed."""

    def __init__(self, upstream: Dialect) -> None:
        self.upstream = upstream
        self.provider = FakeProvider()
        self.app = gateway(self.provider)
        self.history: list[Any] = [
            {
                "type": "message",
                "role": "developer",
                "content": [{"type": "input_text", "text": "<permissions>read-only</permissions>"}],
            },
            {
                "type": "message",
                "role": "user",
                "content": [{"type": "input_text", "text": "<environment_context>bash</environment_context>"}],
            },
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Mend the bug."}]},
        ]

    def body(self) -> bytes:
        fields = {
            "model": f"{self.upstream}_server/m",
            "instructions": INSTRUCTIONS,
            "input": self.history,
            "tool_choice": "auto",
            "parallel_tool_calls": False,
            "reasoning": {"effort": "medium", "summary": "auto"},
            "store": False,
            "stream": True,
            "include": ["reasoning.encrypted_content"],
            "prompt_cache_key": "0199-session",
            "text": {"verbosity": "low"},
        }
        functions = ",".join(
            f'{{"type":"function","name":"{name}","description":"Does {name}.","strict":false,"parameters":{written}}}'
            for name, written in zip(NAMES, SCHEMAS, strict=True)
        )
        tools = f"{functions},{json.dumps(APPLY_PATCH)},{json.dumps({'type': 'web_search'})}"
        return json.dumps(fields).encode()[:-1] + b',"tools":[' + tools.encode() + b"]}"

    async def turn(self, *parts: Any) -> Any:
        self.provider.reply(*parts, usage=USAGE)
        self.answer = await ask(self.app, "POST", "/v1/responses", self.body(), CODEX)
        assert self.answer.status == 200, self.answer.body
        found = oracles.stream("responses", self.answer.body)
        assert found.clean
        hold_events(found.events)
        response = found.last.response
        for item in response.output:
            kept = item.model_dump(exclude_none=True)
            kept.pop("id")  # Codex keeps no ids of what nobody stored
            kept.pop("status", None)
            self.history.append(kept)
        return response

    def patched(self) -> Any:
        """A call of `apply_patch`, as a model of the upstream's kind makes it."""
        if self.upstream == "responses":
            return custom_tool_call("apply_patch", PATCH, id="call_2")
        return tool_call("apply_patch", {"input": PATCH}, id="call_2")


def hold_events(events: list[Any]) -> None:
    """What is told in pieces is what the whole repeats; one id from beginning to end."""
    pieces: dict[tuple[str, int], str] = {}
    for event in events:
        if event.type.endswith(".delta"):
            key = (event.type.removesuffix(".delta"), event.output_index)
            pieces[key] = pieces.get(key, "") + event.delta
    output = events[-1].response.output
    for (kind, index), said in pieces.items():
        item = output[index]
        whole = {
            "response.output_text": lambda item=item: "".join(part.text for part in item.content),
            "response.function_call_arguments": lambda item=item: item.arguments,
            "response.custom_tool_call_input": lambda item=item: item.input,
            "response.reasoning_summary_text": lambda item=item: "".join(part.text for part in item.summary),
            "response.reasoning_text": lambda item=item: "".join(part.text for part in item.content),
        }[kind]
        assert whole() == said
    assert {event.response.id for event in events if hasattr(event, "response")} == {events[0].response.id}


async def coded(upstream: Dialect) -> Codex:
    """Three turns: a command, a patch, the end."""
    agent = Codex(upstream)
    response = await agent.turn(
        thought(upstream, "Let me look.", SEAL), tool_call("tool_17", {"zeta_17": "ls"}, id="call_1")
    )
    assert [item.type for item in response.output] == ["reasoning", "function_call"]
    assert response.output[0].encrypted_content
    assert (response.output[1].call_id, response.output[1].name) == ("call_1", "tool_17")
    assert (response.usage.input_tokens, response.usage.input_tokens_details.cached_tokens) == (41_000, 40_000)
    assert response.usage.output_tokens_details.reasoning_tokens == 300
    assert response.store is False
    agent.history.append({"type": "function_call_output", "call_id": "call_1", "output": "a.py"})
    response = await agent.turn(thought(upstream, "Now the patch.", SEAL[::-1]), "Patching.", agent.patched())
    assert [item.type for item in response.output] == ["reasoning", "message", "custom_tool_call"]
    assert (response.output[2].call_id, response.output[2].input) == ("call_2", PATCH)
    agent.history.append({"type": "custom_tool_call_output", "call_id": "call_2", "output": "Done!"})
    response = await agent.turn("All mended.")
    assert response.output_text == "All mended."
    assert response.status == "completed"
    return agent


async def test_codex_with_its_own_api_is_forwarded_as_it_was() -> None:
    agent = await coded("responses")
    recorded = agent.provider.last
    sent = json.loads(agent.body())
    sent["input"] = agent.history[:-1]
    assert recorded.json == sent | {"model": "m"}
    assert list(recorded.json) == list(sent)
    hold_schemas(recorded)
    assert [item["encrypted_content"] for item in recorded.json["input"] if item["type"] == "reasoning"] == [
        *(SEAL, SEAL[::-1]),
    ]
    assert recorded.headers["openai-beta"] == "responses=experimental"
    assert recorded.headers["authorization"] == "Bearer sk-upstream"
    assert "originator" not in recorded.headers
    assert "x-plano-dropped" not in agent.answer.headers


async def test_codex_goes_to_a_claude_and_back() -> None:
    agent = await coded("messages")
    recorded = agent.provider.last
    body = recorded.json
    hold_schemas(recorded)
    assert [block["text"] for block in body["system"]] == [INSTRUCTIONS, "<permissions>read-only</permissions>"]
    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "user", "assistant", "user"]
    first, second = body["messages"][1]["content"], body["messages"][3]["content"]
    assert first[0] == {"type": "thinking", "thinking": "Let me look.", "signature": SEAL}
    assert second[0] == {"type": "thinking", "thinking": "Now the patch.", "signature": SEAL[::-1]}
    assert first[1] == {"type": "tool_use", "id": "call_1", "name": "tool_17", "input": {"zeta_17": "ls"}}
    assert second[2] == {"type": "tool_use", "id": "call_2", "name": "apply_patch", "input": {"input": PATCH}}
    assert body["messages"][4]["content"] == [{"type": "tool_result", "tool_use_id": "call_2", "content": "Done!"}]
    patch = next(tool for tool in body["tools"] if tool["name"] == "apply_patch")
    assert patch["description"] == APPLY_PATCH["description"]
    assert patch["input_schema"] == json.loads(bytes(SCHEMA))
    assert body["thinking"] == {"type": "enabled", "budget_tokens": 8192, "display": "summarized"}
    assert body["max_tokens"] > 8192
    assert body["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}
    dropped = set(agent.answer.headers["x-plano-dropped"].split(", "))
    assert dropped == {"verbosity", "prompt_cache_key", "tools.format"}
    assert body["tools"][-1]["type"] == "web_search_20250305", "the web search is carried"


async def test_codex_goes_to_a_chat_model_and_back() -> None:
    agent = await coded("chat")
    recorded = agent.provider.last
    body = recorded.json
    hold_schemas(recorded)
    assert [message["role"] for message in body["messages"]] == [
        *("system", "developer", "user", "user"),
        *("assistant", "tool", "assistant", "tool"),
    ]
    first, second = body["messages"][4], body["messages"][6]
    assert (first["reasoning_content"], second["reasoning_content"]) == ("Let me look.", "Now the patch.")
    assert SEAL in json.dumps(first["reasoning_details"])
    assert second["content"] == "Patching."
    assert json.loads(second["tool_calls"][0]["function"]["arguments"]) == {"input": PATCH}
    assert (body["messages"][7]["tool_call_id"], body["messages"][7]["content"]) == ("call_2", "Done!")
    assert body["tools"][-1]["function"]["parameters"] == json.loads(bytes(SCHEMA))
    assert (body["reasoning_effort"], body["verbosity"]) == ("medium", "low")
    assert (body["store"], body["parallel_tool_calls"], body["prompt_cache_key"]) == (False, False, "0199-session")
    assert set(agent.answer.headers["x-plano-dropped"].split(", ")) == {"tools.format", "tools.type"}


@pytest.mark.parametrize("upstream", DIALECTS)
async def test_codex_sessions_that_change_models_leave_foreign_seals_behind(upstream: Dialect) -> None:
    agent = await coded("messages")
    agent.upstream = upstream
    agent.history.append({"type": "message", "role": "user", "content": [{"type": "input_text", "text": "And now?"}]})
    await agent.turn("Fine.")
    sent = agent.provider.last.body.decode()
    assert "plano-seal" not in sent
    assert (SEAL in sent) is (upstream == "messages")
    assert ("Let me look." in sent) is (upstream == "messages")


@pytest.mark.parametrize("upstream", DIALECTS)
@pytest.mark.parametrize("cut", [1, 50])
async def test_streams_that_are_cut_anywhere_are_put_together(upstream: Dialect, cut: int) -> None:
    agent = Codex(upstream)
    agent.provider.script(Reply(thought(upstream, "Hm.", SEAL), "So.", agent.patched(), usage=USAGE, cut=cut))
    answer = await ask(agent.app, "POST", "/v1/responses", agent.body(), CODEX)
    found = oracles.stream("responses", answer.body)
    hold_events(found.events)
    assert [item.type for item in found.last.response.output] == ["reasoning", "message", "custom_tool_call"]
    assert found.last.response.output[2].input == PATCH
