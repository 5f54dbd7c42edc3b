"""`POST /v1/responses/compact`: passed through where the target has it, else written by the target's model."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace
from openai.types.responses import ResponseCompactionItem, ResponseUsage

from plano import Plano
from plano.dialects.responses.compaction import PROMPT
from plano.dialects.responses.summaries import NOTE, opened, seal
from plano.operations import Endpoint
from plano.pipeline import CallNext
from plano.request import Request
from plano.response import Response
from plano.testing import Failure, FakeProvider, Usage, Verbatim, tool_call
from plano.types import CLIENT_DIALECTS as DIALECTS
from plano.types import Dialect
from tests.asgi import Answer, ask
from tests.filters.talk import gateway, respond

COMPACT = "/v1/responses/compact"
TOOL = {"type": "function", "name": "f", "parameters": {"type": "object"}}
HISTORY: list[Any] = [
    {"type": "message", "role": "user", "content": "Read the file."},
    {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "c1", "output": "contents"},
    {"type": "message", "role": "assistant", "content": "Done."},
    {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Now the other."}]},
]


async def compact(app: Plano, upstream: str, **fields: Any) -> Answer:
    return await ask(app, "POST", COMPACT, {"model": f"{upstream}_server/m", **fields})


# --- written by a model -----------------------------------------------------------------------------


@pytest.mark.parametrize("upstream", DIALECTS)
async def test_a_model_writes_the_summary_that_stands_in_for_the_conversation(upstream: Dialect) -> None:
    provider = FakeProvider()
    provider.reply("Both files matter.", usage=Usage(input_tokens=50, output_tokens=7))
    provider.reply("Here I am.")
    async with gateway(provider) as app:
        codex = {"tools": [TOOL], "parallel_tool_calls": True, "reasoning": {"effort": "low"}, "stream": True}
        answer = await compact(app, upstream, input=HISTORY, instructions="Be brief.", **codex)
        asked = provider.last.json
        output = answer.json()["output"]
        again = await respond(app, [*output, {"role": "user", "content": "Go on."}], server=upstream)
    assert (answer.status, again.status) == (200, 200), again.body
    found = answer.json()
    assert (found["object"], found["id"][:5], bool(found["created_at"])) == ("response.compaction", "resp_", True)
    assert ResponseUsage.model_validate(found["usage"]).total_tokens == 57
    *said, last = output
    assert [(item["type"], item["role"], item["content"][0]["text"]) for item in said] == [
        ("message", "user", "Read the file."),
        ("message", "user", "Now the other."),
    ]
    assert opened(ResponseCompactionItem.model_validate(last).encrypted_content) == "Both files matter."
    assert asked["model"] == "m"
    assert not asked.get("stream")
    assert PROMPT in json.dumps(asked.get("messages") or asked["input"], ensure_ascii=False).replace('\\"', '"')
    assert "contents" in json.dumps(asked)
    assert len(asked["tools"]) == 1
    body = json.dumps(provider.last.json)
    assert json.dumps(NOTE + "Both files matter.") in body
    assert "plano-seal" not in body
    assert "contents" not in body


async def test_a_second_compaction_does_not_repeat_the_first_as_the_user_s_words() -> None:
    provider = FakeProvider()
    provider.reply("More.")
    async with gateway(provider) as app:
        items = [HISTORY[0], {"type": "compaction", "id": "cmp_1", "encrypted_content": seal("Before.")}, HISTORY[-1]]
        output = (await compact(app, "chat", input=items)).json()["output"]
    assert [item["type"] for item in output] == ["message", "message", "compaction"]
    assert NOTE + "Before." in [message["content"] for message in provider.last.json["messages"]]


async def test_a_stored_response_is_compacted_with_what_came_before_it() -> None:
    provider = FakeProvider()
    provider.reply("An answer.")
    provider.reply("A summary.")
    async with gateway(provider, {"type": "memory"}) as app:
        first = (await respond(app, "A question", server="chat")).json()
        answer = await compact(app, "messages", previous_response_id=first["id"])
        stored = await ask(app, "GET", f"/v1/responses/{answer.json()['id']}")
    assert [item["type"] for item in answer.json()["output"]] == ["message", "compaction"]
    assert "previous_response_id" not in answer.json()
    assert {"A question", "An answer."} <= {
        text for message in provider.last.json["messages"] for text in texts_of(message)
    }
    assert stored.status == 404


def texts_of(message: dict[str, Any]) -> list[str]:
    content = message["content"]
    return [content] if isinstance(content, str) else [block["text"] for block in content if "text" in block]


@pytest.mark.parametrize("upstream", DIALECTS)
async def test_a_model_that_writes_no_summary_is_an_error(upstream: Dialect) -> None:
    provider = FakeProvider()
    provider.reply(tool_call("f", {}))
    async with gateway(provider) as app:
        answer = await compact(app, upstream, input=HISTORY, tools=[TOOL])
    assert (answer.status, answer.json()["error"]["message"]) == (
        502,
        "The upstream's model wrote no summary of the conversation.",
    )


@pytest.mark.parametrize("upstream", DIALECTS)
async def test_the_upstream_s_error_is_the_client_s(upstream: Dialect) -> None:
    provider = FakeProvider()
    provider.fail(429, "Slow down.")
    async with gateway(provider) as app:
        answer = await compact(app, upstream, input="Hi")
    assert (answer.status, answer.json()["error"]["message"]) == (429, "Slow down.")


# --- passed through ---------------------------------------------------------------------------------

THEIRS = b'{ "id":"resp_1", "object":"response.compaction","created_at":1,"output":[],"usage":{"input_tokens":1} }'


ORDER = ("metrics", "intake", "auth", "alias", "filters", "state", "translation")


async def native(request: Request, call_next: CallNext) -> Response:
    """A filter that gives every target an endpoint for compactions."""
    target = request.require_target()
    url = f"{target.endpoints['responses', 'create'].url}/compact"
    endpoints = {**target.endpoints, ("responses", "compact"): Endpoint(url, url)}
    return await call_next(request.replace(target=replace(target, endpoints=endpoints)))


async def passed(provider: FakeProvider, **fields: Any) -> Answer:
    entry = {
        "model": "responses_server/m",
        "provider_interface": "openai",
        "base_url": "https://responses.example/v1",
        "apis": ["responses"],
        "access_key": "sk-upstream",
    }
    storage = {"state_storage": {"type": "memory"}}
    app = Plano({"model_providers": [entry], **storage}, transport=provider, filters=[native], order=ORDER)
    try:
        stored = fields.pop("stored", None)
        if stored is not None:
            fields["previous_response_id"] = (await respond(app, stored, server="responses")).json()["id"]
        return await compact(app, "responses", **fields)
    finally:
        await app.aclose()


def has_compact(provider: FakeProvider) -> None:
    headers = {"content-type": "application/json"}
    provider.script(Verbatim(200, headers, THEIRS, on="/responses/compact"))


async def test_a_target_that_compacts_by_itself_is_asked_and_its_answer_passed_on() -> None:
    provider = FakeProvider()
    has_compact(provider)
    more = {"store": False, "stream": True, "include": ["reasoning.encrypted_content"], "unknown": {"a": 1.50}}
    answer = await passed(provider, input=HISTORY, **more)
    assert (answer.status, answer.body) == (200, THEIRS)
    assert provider.last.path == "/v1/responses/compact"
    assert provider.last.json == {"model": "m", "input": HISTORY, "unknown": {"a": 1.50}}


async def test_a_stored_response_is_put_in_front_for_such_a_target() -> None:
    provider = FakeProvider()
    has_compact(provider)
    answer = await passed(provider, stored="A question")
    assert answer.body == THEIRS
    assert provider.last.path == "/v1/responses/compact"
    assert [item["role"] for item in provider.last.json["input"]] == ["user", "assistant"]
    assert "previous_response_id" not in provider.last.json


async def test_such_a_target_sees_nothing_that_the_gateway_sealed() -> None:
    provider = FakeProvider()
    has_compact(provider)
    ours = {"type": "compaction", "id": "cmp_1", "encrypted_content": seal("Before.")}
    theirs = {"type": "compaction", "id": "cmp_2", "encrypted_content": "gAAA"}
    answer = await passed(provider, input=[ours, theirs, HISTORY[0]])
    assert answer.body == THEIRS
    note, kept, _ = provider.last.json["input"]
    assert (note["role"], kept) == ("user", theirs)
    assert "plano-seal" not in json.dumps(provider.last.json)


@pytest.mark.parametrize("status", [404, 405])
async def test_a_compatible_server_without_it_is_asked_for_a_summary(status: int) -> None:
    provider = FakeProvider()
    provider.script(Failure(status, on="/responses/compact"))
    provider.reply("A summary.")
    answer = await passed(provider, input="Hi")
    assert opened(answer.json()["output"][-1]["encrypted_content"]) == "A summary."


async def test_an_error_of_such_a_target_is_passed_on() -> None:
    provider = FakeProvider()
    provider.script(Failure(400, "Too long.", on="/responses/compact"))
    answer = await passed(provider, input="Hi")
    assert (answer.status, answer.json()["error"]["message"]) == (400, "Too long.")


# --- what comes back, and what is no compaction -----------------------------------------------------


@pytest.mark.parametrize("damaged", [seal("a")[:-1], seal("a") + "A", seal("a").replace("summary.", "summary.0")])
@pytest.mark.parametrize("upstream", DIALECTS)
async def test_a_damaged_compaction_is_refused(upstream: Dialect, damaged: str) -> None:
    provider = FakeProvider()
    async with gateway(provider) as app:
        items = [{"type": "compaction", "id": "cmp_1", "encrypted_content": damaged}, HISTORY[0]]
        answer = await respond(app, items, server=upstream)
    assert (answer.status, answer.json()["error"]["param"]) == (400, "input[0].encrypted_content")
    assert not provider.requests


@pytest.mark.parametrize("method", ["GET", "DELETE", "HEAD"])
async def test_other_methods_find_nothing_there(method: str) -> None:
    async with gateway(FakeProvider()) as app:
        answer = await ask(app, method, COMPACT)
    assert answer.status == 404


@pytest.mark.parametrize("fields", [{}, {"input": 5}, {"input": [{"type": "message"}]}, {"input": "x", "tools": 1}])
async def test_odd_requests_are_the_client_s_fault_or_are_answered(fields: dict[str, Any]) -> None:
    async with gateway(FakeProvider()) as app:
        answer = await compact(app, "chat", **fields)
    assert answer.status in (200, 400), answer.body
