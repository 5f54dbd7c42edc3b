"""What a provider is sent of earlier turns, and what it is not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from plano import CallNext, Plano, Request, Response
from plano.testing import FakeProvider, thinking, tool_call
from tests.asgi import ask
from tests.filters.conftest import Storage
from tests.filters.talk import JSON, SSE, complete, error, frames, gateway, id_of, message, native, reply, respond
from tests.state.test_postgres import fill_original_table

REASONING = {"id": "rs_1", "type": "reasoning", "summary": [], "encrypted_content": "SEAL"}
BARE_REASONING = {"id": "rs_2", "type": "reasoning", "summary": []}
CALL = {
    "id": "fc_1",
    "type": "function_call",
    "call_id": "call_1",
    "name": "f",
    "arguments": '{"a": 1.50}',
    "status": "completed",
}
OUTPUT = [REASONING, BARE_REASONING, message("msg_1", "Hello"), CALL]
QUESTION = {"type": "message", "role": "user", "content": "Hi"}
RESULT = {"type": "function_call_output", "call_id": "call_1", "output": "2"}


def two_turns(provider: FakeProvider, **first: Any) -> None:
    """A server of the responses API that answers one thing, and then another."""
    provider.raw(200, JSON, json.dumps(native("resp_1", *OUTPUT, **first)).encode())
    provider.raw(200, JSON, json.dumps(native("resp_2", message("msg_2", "Done"))).encode())


@pytest.mark.parametrize("stream", [False, True])
async def test_the_server_that_keeps_a_turn_gets_its_own_items_back_byte_for_byte(stream: bool) -> None:
    provider = FakeProvider()
    odd = json.dumps(CALL, separators=(" , ", " :  "))
    whole = json.dumps(native("resp_1", *OUTPUT[:3])).replace('"output": [', f'"output": [{odd}, ', 1)
    if stream:
        last = b'event: response.completed\ndata: {"type":"response.completed","response":' + whole.encode() + b"}\n\n"
        provider.raw(200, SSE, [*frames(native("resp_1"))[:-1], last])
    else:
        provider.raw(200, JSON, whole.encode())
    provider.raw(200, JSON, json.dumps(native("resp_2")).encode())
    async with gateway(provider) as app:
        await respond(app, "Hi", server="responses", stream=stream)
        second = await respond(app, [RESULT], server="responses", previous_response_id="resp_1")
        assert provider.last.json["input"] == [QUESTION, CALL, *OUTPUT[:3], RESULT]
        assert odd.encode() in provider.last.body
        assert "previous_response_id" not in provider.last.json
        assert reply(second)["previous_response_id"] == "resp_1"


async def test_a_server_that_does_not_keep_its_turns_gets_no_reasoning_without_a_seal() -> None:
    provider = FakeProvider()
    two_turns(provider, store=False)  # as organisations with zero data retention are told
    async with gateway(provider) as app:
        await respond(app, "Hi", server="responses")
        answer = await respond(app, [RESULT], server="responses", previous_response_id="resp_1")
        assert provider.last.json["input"] == [QUESTION, REASONING, message("msg_1", "Hello"), CALL, RESULT]
        assert answer.headers["x-plano-dropped"] == "messages.thinking"


async def test_another_server_of_the_same_api_is_sent_no_ids_and_no_reasoning_of_the_first() -> None:
    provider = FakeProvider()
    two_turns(provider)
    async with gateway(provider) as app:
        await respond(app, "Hi", server="responses")
        answer = await respond(app, [RESULT], server="other", previous_response_id="resp_1")
        nameless = [{k: v for k, v in item.items() if k != "id"} for item in OUTPUT[2:]]
        assert provider.last.json["input"] == [QUESTION, *nameless, RESULT]
        assert answer.headers["x-plano-dropped"] == "messages.thinking"
        strict = {"x-plano-strict": "true"}
        body = {"model": "other_server/m", "input": "More", "previous_response_id": "resp_1"}
        refused = await ask(app, "POST", "/v1/responses", body, strict)
        assert error(refused)[:2] == (400, "unsupported_conversion")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("first", ["chat", "messages"])
async def test_items_that_the_gateway_made_reach_no_server_with_the_ids_it_made_up(first: str, stream: bool) -> None:
    provider = FakeProvider()
    provider.reply(thinking("Hm.", seal="sig"), "Hello", tool_call("f", {}, id="call_1"))
    provider.raw(200, JSON, json.dumps(native("resp_2", message("msg_2", "Done"))).encode())
    provider.raw(200, JSON, json.dumps(native("resp_3")).encode())
    async with gateway(provider) as app:
        one = await respond(app, "Hi", server=first, stream=stream)
        two = await respond(app, [RESULT], server="responses", previous_response_id=id_of(one))
        assert b"_plano_" not in provider.last.body
        assert b"sig" not in provider.last.body
        kinds = [(item["type"], item.get("role")) for item in provider.last.json["input"]]
        assert kinds == [
            ("message", "user"),
            ("message", "assistant"),
            ("function_call", None),
            ("function_call_output", None),
        ]
        await respond(app, "More", server="responses", previous_response_id=id_of(two))
        ids = [item.get("id") for item in provider.last.json["input"]]
        assert ids == [None, None, None, None, "msg_2", None]


async def test_reasoning_goes_back_to_the_api_that_sealed_it_and_to_no_other() -> None:
    provider = FakeProvider()
    provider.reply(thinking("Hm.", seal="sig+/="), "Hello")
    async with gateway(provider) as app:
        for ask_first, field in ((respond, "previous_response_id"), (complete, "response_id")):
            one = id_of(await ask_first(app, "Hi", server="messages"))
            more: Any = {field: one} if ask_first is respond else {"metadata": {field: one}}
            await ask_first(app, "More", server="messages", **more)
            blocks = provider.last.json["messages"][1]["content"]
            assert blocks[0] == {"type": "thinking", "thinking": "Hm.", "signature": "sig+/="}
            await ask_first(app, "More", server="chat", **more)
            assert b"sig" not in provider.last.body
            assert b"Hm." not in provider.last.body


async def test_instructions_are_not_inherited_and_input_messages_of_any_role_are() -> None:
    provider = FakeProvider()
    async with gateway(provider) as app:
        asked = [{"role": "developer", "content": "Stay."}, {"role": "user", "content": "Hi"}]
        one = id_of(await respond(app, asked, instructions="Only now."))
        await respond(app, "More", instructions="And now?", previous_response_id=one)
        assert [part.text for part in provider.last.conversation.system] == ["And now?", "Stay."]


async def test_a_system_message_that_is_sent_with_every_turn_is_said_once() -> None:
    provider = FakeProvider()
    provider.reply("Hello")
    system, question = {"role": "system", "content": "Be short."}, {"role": "user", "content": "Hi"}
    async with gateway(provider) as app:
        one = id_of(await complete(app, [system, question]))
        two = id_of(await complete(app, [system, question], metadata={"response_id": one}))
        answer = {"role": "assistant", "content": "Hello"}
        await complete(app, [system, question], metadata={"response_id": two})
        assert provider.last.json["messages"] == [system, question, answer, question, answer, question]
        other = {"role": "system", "content": "Be long."}
        await complete(app, [other, question], metadata={"response_id": one})
        assert provider.last.json["messages"] == [system, question, answer, other, question]


async def test_a_completions_messages_go_in_front_as_they_were_written() -> None:
    provider = FakeProvider()
    provider.reply("Hello")
    messages = b'[{"role":"user","name" : "ada","content":[{"type":"x_part","data":[1.50,  null]}]}]'
    body = b'{"model":"chat_server/m","messages":' + messages + b',"temperature":0.10}'
    async with gateway(provider) as app:
        one = (await ask(app, "POST", "/v1/chat/completions", body)).json()["id"]
        await complete(app, "More", metadata={"response_id": one})
        assert messages[1:-1] in provider.last.body
        assert "temperature" not in provider.last.json


@pytest.mark.parametrize("stream", [False, True])
async def test_a_tool_loop_of_chat_completions_goes_on(stream: bool) -> None:
    provider = FakeProvider()
    provider.reply("Looking.", tool_call("f", {"a": 1}, id="call_1"))
    provider.reply("Done.")
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    result = [{"role": "tool", "tool_call_id": "call_1", "content": "2"}]
    async with gateway(provider) as app:
        one = id_of(await complete(app, "Go", tools=tools, stream=stream))
        for server in ("chat", "messages", "responses"):
            await complete(app, result, server=server, tools=tools, metadata={"response_id": one}, stream=stream)
            call = provider.last.conversation.messages[1].parts[-1]
            assert (call.id, call.arguments) == ("call_1", '{"a":1}')  # type: ignore[union-attr]


# --- ids that are not the gateway's -----------------------------------------------------------------------


async def test_an_id_that_only_the_provider_knows_goes_on_untouched_where_there_is_but_one_tenant() -> None:
    provider = FakeProvider()
    provider.raw(200, JSON, json.dumps(native("resp_9", message("msg_9", "I remember"))).encode())
    async with gateway(provider) as app:
        for field in ({"previous_response_id": "resp_theirs"}, {"conversation": {"id": "conv_theirs"}}):
            answer = await respond(app, "More", server="responses", **field)
            assert answer.json()["id"] == "resp_9"
            assert provider.last.json == {"model": "m", "input": "More", **field}
        # Only the provider has the beginning of this chain, so it stays the one to continue it.
        await respond(app, "And more", server="responses", previous_response_id="resp_9")
        assert provider.last.json["previous_response_id"] == "resp_9"


TENANTS = {"keys": [{"name": name, "key": f"sk-{name}-0123456789abcdef"} for name in ("a", "b")]}


async def test_with_several_tenants_no_unknown_id_goes_on_with_the_gateways_own_key() -> None:
    provider = FakeProvider()
    async with gateway(provider, auth=TENANTS) as app:
        key = TENANTS["keys"][0]["key"]
        answer = await respond(app, key=key, server="responses", previous_response_id="resp_theirs")
        assert error(answer) == (400, "previous_response_not_found", "previous_response_id")
        answer = await respond(app, key=key, server="responses", conversation="conv_theirs")
        assert error(answer) == (404, None, "conversation")
        for item in ({"type": "item_reference", "id": "msg_theirs"}, {"id": "msg_theirs"}, {"id": "m", "type": None}):
            answer = await respond(app, [item], key=key, server="responses")
            assert error(answer) == (404, None, "input"), item
        assert provider.requests == []


FOREIGN_REFERENCES = [
    '{"type":"item_reference","id":"msg_theirs"}',
    '{"type":"item\\u005freference","id":"msg_theirs"}',
    '{"type":"item_reference","role":"user","id":"msg_theirs"}',
    '{"type":"item_reference","content":"Hi","id":"msg_theirs"}',
    '{"id":"msg_theirs"}',
    '{"\\u0069d":"msg_theirs"}',
    '{"id":"msg_theirs","type":null}',
    '{"id":"msg_theirs","role":"user"}',
    '{"id":"msg_theirs","type":"message","role":"assistant","content":[],"status":"completed"}',
    '{"id":"ig_theirs","type":"image_generation_call"}',
    '{"id":"ig_theirs","type":"image_generation_call","result":null,"status":"completed"}',
    '{"type":"mcp_approval_response","approval_request_id":"mcpr_theirs","approve":true}',
    '{"type":"code_interpreter_call","id":"ci_theirs","code":"1","container_id":"cntr_theirs","outputs":[]}',
    '{"type":"code_interpreter_call","code":"1","container_id":"cntr_theirs","outputs":[]}',
    '{"type":"shell_call","call_id":"c","environment":{"type":"container_reference","container_id":"cntr_theirs"}}',
    '{"type":"additional_tools","tools":[{"type":"code_interpreter","container":"cntr_theirs"}]}',
]
"""Items of which there is nothing but an id, in all the ways to write them."""

TWO_READINGS = [
    '{"type":"mcp_approval_response","Approval_Request_Id":"mcpr_theirs","approve":true}',
    '{"type":"message","role":"user","content":"Hi","type":"item_reference","id":"msg_theirs"}',
    '{"type":"item_reference","type":"message","role":"user","content":"Hi","id":"msg_theirs"}',
    '{"role":"user","content":"Hi","Type":"item_reference","ID":"msg_theirs"}',
    '{"role":"user","content":"Hi","id":null,"id":"msg_theirs"}',
    '{"type":"mcp_approval_response","approval_request_id":"a","approval_request_id":"mcpr_theirs"}',
    '{"id":7,"type":"item_reference"}',
    '{"id":["msg_theirs"],"type":"item_reference"}',
    '"msg_theirs"',
]


@pytest.mark.parametrize("stream", ["false", "true"])
@pytest.mark.parametrize(
    ("item", "status"), [*((item, 404) for item in FOREIGN_REFERENCES), *((item, 400) for item in TWO_READINGS)]
)
async def test_with_several_tenants_nothing_is_referred_to_that_may_be_anothers(
    item: str, status: int, stream: str
) -> None:
    provider = FakeProvider()
    two_turns(provider)
    async with gateway(provider, auth=TENANTS) as app:
        key = {"x-api-key": TENANTS["keys"][0]["key"]}
        await respond(app, "Hi", server="responses", key=key["x-api-key"])
        for more in ("", '"previous_response_id":"resp_1",'):
            body = f'{{"model":"responses_server/m","stream":{stream},{more}"input":[{item}]}}'.encode()
            answer = await ask(app, "POST", "/v1/responses", body, key)
            assert answer.status == status, answer.body
            assert answer.json()["error"]["param"].startswith("input")
            answer = await ask(app, "POST", "/v1/responses/input_tokens", body, key)
            assert answer.status == status, answer.body
        assert len(provider.requests) == 1


@pytest.mark.parametrize(
    "tool",
    [
        {"type": "code_interpreter", "container": "cntr_theirs"},
        {"type": "code_interpreter", "container": {"type": "reference", "container_id": "cntr_theirs"}},
        {"type": "shell", "environment": {"type": "container_reference", "container_id": "cntr_theirs"}},
    ],
)
async def test_with_several_tenants_no_tool_runs_in_a_container_that_may_be_anothers(tool: dict[str, Any]) -> None:
    provider = FakeProvider()
    async with gateway(provider, auth=TENANTS) as app:
        answer = await respond(app, key=TENANTS["keys"][0]["key"], server="responses", tools=[tool])
        assert error(answer) == (404, None, "tools")
        assert provider.requests == []


WHOLE_ITEMS: list[dict[str, Any]] = [
    {"type": "message", "role": "user", "content": "Hi"},
    REASONING,
    message("msg_1", "Hello"),
    CALL,
    {**RESULT, "id": "fco_1"},
    {"id": "ctc_1", "type": "custom_tool_call", "call_id": "c", "name": "n", "input": "x"},
    {"id": "ws_1", "type": "web_search_call", "status": "completed", "action": {"type": "search", "query": "q"}},
    {"id": "cmp_1", "type": "compaction", "encrypted_content": "SEAL"},
]


async def test_agents_may_send_back_whole_items_and_the_provider_gets_them_without_ids() -> None:
    provider = FakeProvider()
    provider.raw(200, JSON, json.dumps(native("resp_9")).encode())
    async with gateway(provider, auth=TENANTS) as app:
        key = TENANTS["keys"][0]["key"]
        answer = await respond(app, [*WHOLE_ITEMS, BARE_REASONING], key=key, server="responses", store=False)
        assert answer.headers["x-plano-dropped"] == "messages.thinking"
        nameless = [{name: value for name, value in item.items() if name != "id"} for item in WHOLE_ITEMS]
        assert provider.last.json["input"] == nameless
        body = {"model": "responses_server/m", "input": [BARE_REASONING], "store": False}
        strict = {"x-api-key": key, "x-plano-strict": "true"}
        assert error(await ask(app, "POST", "/v1/responses", body, strict))[0] == 400


async def test_input_without_foreign_ids_goes_on_byte_for_byte_with_several_tenants_too() -> None:
    provider = FakeProvider()
    provider.raw(200, JSON, json.dumps(native("resp_9")).encode())
    schema = '{"type":"object","properties":{"container_id":{"type":"string"},"id":{},"container":{"default":"x"}}}'
    body = (
        '{ "model": "m", "input": [ {"role":"user","content" : [{"type":"input_file","file_id":"file-1"}]},'
        ' {"type":"function_call_output", "call_id":"c","output":"{\\"id\\":1.50}", "id": null} ],'
        ' "tools": [{"type":"function","name":"f","parameters":' + schema + "},"
        ' {"type":"file_search","vector_store_ids":["vs_1"]},'
        ' {"type":"code_interpreter","container":{"type":"auto","file_ids":["file-1"]}}] }'
    ).encode()
    async with gateway(provider, auth=TENANTS) as app:
        body = body.replace(b'"m"', b'"responses_server/m"')
        headers = {"x-api-key": TENANTS["keys"][0]["key"]}
        assert (await ask(app, "POST", "/v1/responses", body, headers)).status == 200
        before, after = body.split(b'"responses_server/m"')[1], provider.last.body
        assert after.count(b'[ {"role":"user","content" : [{"type":"input_file","file_id":"file-1"}]}, {"type"') == 1
        assert provider.last.json == {**json.loads(body), "model": "m"}
        assert before


async def test_what_this_history_was_handed_out_may_be_referred_to() -> None:
    provider = FakeProvider()
    run = {"id": "ci_1", "type": "code_interpreter_call", "code": "1", "container_id": "cntr_1", "outputs": []}
    approval = {"id": "mcpr_1", "type": "mcp_approval_request", "arguments": "{}", "name": "n", "server_label": "s"}
    provider.raw(200, JSON, json.dumps(native("resp_1", message("msg_1", "Hello"), run, approval)).encode())
    provider.raw(200, JSON, json.dumps(native("resp_2")).encode())
    async with gateway(provider, auth=TENANTS) as app:
        key = TENANTS["keys"][0]["key"]
        await respond(app, "Hi", server="responses", key=key)
        mine = [
            {"type": "item_reference", "id": "msg_1"},
            message("msg_1", "Hello"),
            {"type": "mcp_approval_response", "approval_request_id": "mcpr_1", "approve": True},
        ]
        tools = [{"type": "code_interpreter", "container": "cntr_1"}]
        asked: dict[str, Any] = {"key": key, "previous_response_id": "resp_1", "tools": tools}
        assert (await respond(app, mine, server="responses", **asked)).status == 200
        assert provider.last.json["input"][-3:] == mine
        assert provider.last.json["input"][1:4] == [message("msg_1", "Hello"), run, approval]
        # Another provider under another key did not hand it out.
        assert (await respond(app, [mine[0]], server="other", **{**asked, "tools": []})).status == 404


@pytest.mark.parametrize("first", ["chat", "responses", "other"])
async def test_what_a_client_said_itself_was_not_handed_out(first: str) -> None:
    """Neither in an earlier turn's input, nor in a conversation that it filled."""
    provider = FakeProvider()
    provider.raw(200, JSON, json.dumps(native("resp_1", message("msg_1", "Hello"))).encode())
    if first == "chat":
        provider = FakeProvider()
    theirs = {"type": "message", "role": "user", "content": "Hi", "id": "msg_theirs"}
    reference = {"type": "item_reference", "id": "msg_theirs"}
    async with gateway(provider, auth=TENANTS) as app:
        key = TENANTS["keys"][0]["key"]
        one = id_of(await respond(app, [theirs], server=first, key=key))
        answer = await respond(app, [reference], server="responses", key=key, previous_response_id=one)
        assert error(answer) == (404, None, "input")
        headers = {"x-api-key": key}
        made = (await ask(app, "POST", "/v1/conversations", {"items": [theirs]}, headers)).json()["id"]
        answer = await respond(app, [reference], server="responses", key=key, conversation=made)
        assert error(answer) == (404, None, "input")
        await respond(app, "More", server="responses", key=key, previous_response_id=one)
        assert b"msg_theirs" not in provider.last.body
        await respond(app, "More", server="responses", key=key, conversation=made)
        assert b"msg_theirs" not in provider.last.body


async def test_a_reference_that_another_api_left_out_does_not_go_on_in_the_next_turn() -> None:
    provider = FakeProvider()
    provider.reply("Hello")
    async with gateway(provider, auth=TENANTS) as app:
        key = TENANTS["keys"][0]["key"]
        reference = {"type": "item_reference", "id": "msg_theirs"}
        one = id_of(await respond(app, [{"role": "user", "content": "Hi"}, reference], server="chat", key=key))
        asked = len(provider.requests)
        answer = await respond(app, "More", server="responses", key=key, previous_response_id=one)
        assert error(answer) == (404, None, "input")
        assert len(provider.requests) == asked


async def test_with_its_own_key_a_caller_may_name_what_the_provider_keeps() -> None:
    provider = FakeProvider()
    provider.raw(200, JSON, json.dumps(native("resp_9")).encode())
    own = {
        "model": "own/m",
        "provider_interface": "openai",
        "base_url": "https://own.example/v1",
        "apis": ["responses"],
        "passthrough_auth": True,
    }
    async with gateway(provider, auth=TENANTS, model_providers=[own]) as app:
        answer = await respond(
            app, key=TENANTS["keys"][0]["key"], server="own", model="own/m", previous_response_id="r"
        )
        assert answer.status == 200
        assert provider.last.json["previous_response_id"] == "r"


@pytest.mark.parametrize("kind", ["postgres"])
async def test_a_conversation_of_the_original_goes_on(storage: Storage, schema: str) -> None:
    fill_original_table(schema)
    provider = FakeProvider()
    provider.reply("Four.")
    async with gateway(provider, storage) as app:
        for server in ("chat", "messages", "responses"):
            one = await respond(app, "Well?", server=server, previous_response_id="resp_old")
            said = [part for turn in provider.last.conversation.messages for part in turn.parts]
            assert [part.text for part in said] == ["What is 2+2? \u00fc", "Well?"]  # type: ignore[union-attr]
            two = await complete(app, "Sure?", server=server, metadata={"response_id": id_of(one)})
            assert two.status == 200
            assert sum(len(turn.parts) for turn in provider.last.conversation.messages) == 4


# --- what the configuration says --------------------------------------------------------------------------


@pytest.mark.parametrize(("said", "sent"), [({}, False), ({"store": True}, False), ({"store": False}, False)])
async def test_providers_can_be_told_not_to_store(said: dict[str, Any], sent: bool) -> None:
    provider = FakeProvider()
    two_turns(provider, store=False)
    async with gateway(provider, {"type": "memory", "upstream_store": False}) as app:
        answer = await respond(app, "Hi", server="responses", **said)
        assert provider.last.json["store"] is sent
        assert reply(answer)["store"] is said.get("store", True)
        status = (await ask(app, "GET", "/v1/responses/resp_1")).status
        assert status == (404 if said.get("store") is False else 200)


async def test_providers_are_told_what_the_client_said_by_default() -> None:
    provider = FakeProvider()
    async with gateway(provider) as app:
        for said in ({}, {"store": True}, {"store": False}):
            await respond(app, "Hi", server="responses", **said)
            assert provider.last.json.get("store") is said.get("store")


async def test_chat_completions_can_be_left_alone() -> None:
    provider = FakeProvider()
    async with gateway(provider, {"type": "memory", "chat_completions": False}) as app:
        one = id_of(await complete(app, "Hi"))
        answer = await complete(app, "More", metadata={"response_id": one})
        assert answer.status == 200
        assert provider.last.json["metadata"] == {"response_id": one}
        assert (await respond(app, previous_response_id=one)).status == 400
        assert (await respond(app, previous_response_id=id_of(await respond(app)))).status == 200


async def test_without_a_store_everything_goes_on_as_it_is() -> None:
    provider = FakeProvider()
    async with gateway(provider, {"type": "none"}) as app:
        one = id_of(await respond(app, "Hi", server="responses"))
        await respond(app, "More", server="responses", previous_response_id=one)
        assert provider.last.json["previous_response_id"] == one
        answer = await ask(app, "GET", f"/v1/responses/{one}")
        assert answer.status == 404
        assert "state_storage" in answer.json()["error"]["message"]
        assert (await ask(app, "GET", "/healthz")).status == 200


@pytest.mark.parametrize("stream", [False, True])
async def test_above_the_filters_it_stores_what_they_let_through(stream: bool) -> None:
    seen: list[int] = []

    async def redacts(request: Request, call_next: CallNext) -> Response:
        if request.operation == "create":
            seen.append(len(request.conversation.messages))
        response = await call_next(request)
        return response.rewrite_text(lambda text: text.replace("secret", "******"), window=6)

    provider = FakeProvider()
    provider.reply("The secret is out.")
    order = ("metrics", "intake", "auth", "alias", "state", "filters", "translation")
    app = Plano(
        {"model_providers": [{"model": "demo/echo", "default": True}]},
        filters=[redacts],
        order=order,
        transport=provider,
    )
    one = id_of(await respond(app, "Hi", model="demo/echo", stream=stream))
    assert b"secret" not in (await ask(app, "GET", f"/v1/responses/{one}")).body
    await respond(app, "More", model="demo/echo", previous_response_id=one, stream=stream)
    assert b"secret" not in provider.last.body
    assert seen == [1, 3]
    await app.aclose()


async def test_reasoning_goes_back_to_the_chat_server_that_made_it() -> None:
    provider = FakeProvider()
    provider.reply(thinking("Hm."), "Hello")
    async with gateway(provider) as app:
        for stream in (False, True):
            one = id_of(await complete(app, "Hi", stream=stream))
            await complete(app, "More", metadata={"response_id": one})
            assert provider.last.json["messages"][1]["reasoning_content"] == "Hm."


# --- requests that cannot be right ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"previous_response_id": 7}, "previous_response_id"),
        ({"previous_response_id": "a", "conversation": "b"}, "previous_response_id"),
        ({"conversation": 7}, "conversation"),
        ({"conversation": {"name": "x"}}, "conversation"),
        ({"previous_response_id": "x" * 100_000}, "previous_response_id"),
        ({"previous_response_id": "a\0b"}, "previous_response_id"),
    ],
)
async def test_what_cannot_be_continued_is_a_400_that_names_the_field(fields: dict[str, Any], param: str) -> None:
    async with gateway(FakeProvider()) as app:
        answer = await respond(app, **fields)
        assert answer.status == 400
        assert answer.json()["error"]["param"] == param
        assert len(answer.body) < 1000


@pytest.mark.parametrize("metadata", [{"response_id": 7}, {"response_id": ["a"]}])
async def test_an_id_in_metadata_is_text(metadata: Any) -> None:
    async with gateway(FakeProvider()) as app:
        assert error(await complete(app, metadata=metadata)) == (400, None, "metadata.response_id")


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ('"metadata":{"response_id":"a","response_id":"b"}', "metadata.response_id"),
        ('"metadata":{"Response_ID":"a"}', "metadata.response_id"),
        ('"metadata":{"respon\u017fe_id":"a"}', "metadata.response_id"),
        ('"metadata":{},"metadata":{"response_id":"a"}', "metadata"),
        ('"store":false,"store":true', "store"),
        ('"Store":false', "store"),
        ('"conversation":{"id":"a","id":"b"}', "conversation.id"),
        ('"conversation":{"id":"a","ID":"b"}', "conversation.id"),
        ('"previous_response_id":"a","previous_response_id":"b"', "previous_response_id"),
        ('"previous_response_ID":"b"', "previous_response_id"),
        ('"input":"a","input":[]', "input"),
    ],
)
async def test_what_is_continued_is_said_in_one_way(asked: str, param: str) -> None:
    provider = FakeProvider()
    path, more = ("/v1/responses", "") if "metadata" not in asked else ("/v1/chat/completions", '"messages":[],')
    async with gateway(provider) as app:
        body = f'{{"model":"responses_server/m",{more}{asked}}}'.encode()
        assert error(await ask(app, "POST", path, body)) == (400, None, param)
        assert provider.requests == []


@pytest.mark.parametrize("metadata", [None, {}, {"response_id": None}, {"my_response_id": "x"}, []])
async def test_metadata_that_names_no_response_goes_on_as_it_came(metadata: Any) -> None:
    provider = FakeProvider()
    provider.raw(200, JSON, b'{"id":"chatcmpl-1","choices":[{"message":{"content":"Hi"}}]}')
    async with gateway(provider) as app:
        assert (await complete(app, metadata=metadata)).status == 200
        assert provider.last.json["metadata"] == metadata


async def test_a_key_spelled_with_escapes_is_the_same_key() -> None:
    provider = FakeProvider()
    async with gateway(provider) as app:
        body = b'{"model":"chat_server/m","messages":[{"role":"user","content":"Hi"}],"st\\u006fre":false}'
        one = (await ask(app, "POST", "/v1/chat/completions", body)).json()["id"]
        assert (await complete(app, metadata={"response_id": one})).status == 400


async def test_input_that_may_be_stored_must_fit() -> None:
    provider = FakeProvider()
    provider.reply("Hello")
    async with gateway(provider, {"type": "memory", "max_item_bytes": 2000}) as app:
        refused = await respond(app, "x" * 2001, store=True)
        assert error(refused) == (413, "item_too_large", "input")
        assert provider.requests == []
        answer = await respond(app, "x" * 2001)
        assert (answer.status, answer.headers["x-plano-stored"]) == (200, "false")
        answer = await complete(app, "x" * 2001)
        assert (answer.status, answer.headers["x-plano-stored"]) == (200, "false")
        answer = await complete(app, "x" * 2001, store=False)
        assert "x-plano-stored" not in answer.headers
