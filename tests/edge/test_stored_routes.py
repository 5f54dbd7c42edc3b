"""The routes to what is stored, with the real SDK, and its types as the oracle."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from openai import AsyncOpenAI, NotFoundError
from openai.types.chat import ChatCompletion
from openai.types.conversations import Conversation, ConversationDeletedResource
from openai.types.conversations.conversation_item_list import ConversationItemList
from openai.types.responses import InputTokenCountResponse, Response
from openai.types.responses.response_item_list import ResponseItemList

from plano import Plano
from plano.testing import FakeProvider, serve, thinking, tool_call
from plano.types import Caller
from tests.asgi import ask
from tests.filters.talk import JSON, complete, error, gateway, id_of, message, native, respond


@asynccontextmanager
async def client(provider: FakeProvider) -> AsyncIterator[tuple[AsyncOpenAI, Plano]]:
    async with gateway(provider) as app:
        with serve(app) as url:
            async with AsyncOpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0) as sdk:
                yield sdk, app


IMAGE = {"type": "input_image", "image_url": "https://example.com/a.png"}
QUESTION: Any = [{"role": "user", "content": [{"type": "input_text", "text": "What is it?"}, IMAGE]}]


def talkative() -> FakeProvider:
    provider = FakeProvider()
    provider.reply(thinking("Hm.", seal="s"), "A cat.", tool_call("feed", {"what": "fish"}, id="call_1"))
    return provider


# --- responses -------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("server", ["chat", "messages", "responses"])
async def test_a_response_is_retrieved_as_the_client_got_it(server: str, stream: bool) -> None:
    async with gateway(talkative()) as app:
        one = await respond(app, QUESTION, server=server, stream=stream)
        two = await respond(app, "More", server=server, previous_response_id=id_of(one), stream=stream)
        for answer in (one, two):
            stored = await ask(app, "GET", f"/v1/responses/{id_of(answer)}")
            assert stored.status == 200
            assert stored.headers["content-type"] == "application/json"
            if not stream:
                assert stored.body == answer.body
            Response.model_validate(stored.json())
        assert stored.json()["previous_response_id"] == id_of(one)


async def test_input_items_are_everything_the_response_was_made_of() -> None:
    async with client(talkative()) as (sdk, app):
        one = await sdk.responses.create(model="messages_server/m", input=QUESTION)
        output: Any = {"type": "function_call_output", "call_id": "call_1", "output": "eaten"}
        two = await sdk.responses.create(model="chat_server/m", input=[output], previous_response_id=one.id)
        listed = [item async for item in sdk.responses.input_items.list(two.id, order="asc")]
        types = ["message", "reasoning", "message", "function_call", "function_call_output"]
        assert [item.type for item in listed] == types
        assert [item.id for item in listed[1:4]] == [item.id for item in one.output]
        assert len({item.id for item in listed}) == 5
        latest_first = [item.id async for item in sdk.responses.input_items.list(two.id)]
        assert latest_first == [item.id for item in reversed(listed)]
        by_two = [item.id async for item in sdk.responses.input_items.list(two.id, limit=2)]
        assert by_two == latest_first
        page = await ask(app, "GET", f"/v1/responses/{two.id}/input_items?limit=2&after={by_two[0]}")
        found = ResponseItemList.model_validate(page.json())
        assert ([item.id for item in found.data], found.has_more) == (by_two[1:3], True)
        assert (found.first_id, found.last_id) == (by_two[1], by_two[2])
        whole = await ask(app, "GET", f"/v1/responses/{two.id}/input_items?limit=100")
        ResponseItemList.model_validate(whole.json())


async def test_input_that_was_text_is_listed_as_a_message() -> None:
    provider = FakeProvider()
    provider.reply("Hello")
    async with gateway(provider) as app:
        one = id_of(await complete(app, [{"role": "system", "content": "S"}, {"role": "user", "content": "Hi"}]))
        two = id_of(await respond(app, "More", previous_response_id=one))
        page = await ask(app, "GET", f"/v1/responses/{two}/input_items?order=asc")
        found = ResponseItemList.model_validate(page.json())
        said = [(item.role, item.content[0].text) for item in found.data]  # type: ignore[union-attr]
        assert said == [("system", "S"), ("user", "Hi"), ("assistant", "Hello"), ("user", "More")]


async def test_deleting_a_response_with_the_sdk() -> None:
    async with client(FakeProvider()) as (sdk, _):
        one = await sdk.responses.create(model="chat_server/m", input="Hi")
        await sdk.responses.delete(one.id)
        with pytest.raises(NotFoundError):
            await sdk.responses.retrieve(one.id)
        with pytest.raises(NotFoundError):
            await sdk.responses.delete(one.id)


@pytest.mark.parametrize(
    ("method", "path", "status", "param"),
    [
        ("GET", "?stream=true", 400, "stream"),
        ("GET", "/input_items?limit=0", 400, "limit"),
        ("GET", "/input_items?limit=101", 400, "limit"),
        ("GET", "/input_items?limit=" + "9" * 5000, 400, "limit"),
        ("GET", "/input_items?limit=²", 400, "limit"),
        ("GET", "/input_items?order=up", 400, "order"),
        ("GET", "/input_items?after=msg_none", 400, "after"),
        ("POST", "/cancel", 400, None),
        ("PATCH", "", 405, None),
        ("GET", "/", 200, None),
    ],
)
async def test_what_a_stored_response_cannot_do(method: str, path: str, status: int, param: str | None) -> None:
    async with gateway(FakeProvider()) as app:
        answer = await ask(app, method, f"/v1/responses/{id_of(await respond(app))}{path}")
        assert answer.status == status
        if status != 200:
            assert answer.json()["error"]["param"] == param


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/responses/none"),
        ("DELETE", "/v1/responses/none"),
        ("GET", "/v1/responses/none/input_items"),
        ("POST", "/v1/responses/none/cancel"),
        ("GET", "/v1/chat/completions/none"),
        ("DELETE", "/v1/chat/completions/none"),
        ("GET", "/v1/conversations/none"),
        ("DELETE", "/v1/conversations/none"),
        ("GET", "/v1/conversations/none/items"),
        ("GET", "/v1/conversations/none/items/none"),
        ("DELETE", "/v1/conversations/none/items/none"),
        ("GET", "/v1/responses/%00"),
    ],
)
async def test_an_unknown_id_in_a_path_is_a_404_in_openais_form(method: str, path: str) -> None:
    async with gateway(FakeProvider()) as app:
        answer = await ask(app, method, path)
        assert answer.status == 404
        assert answer.json()["error"]["type"] == "invalid_request_error"
        assert "not found" in answer.json()["error"]["message"]


async def test_responses_and_completions_are_found_at_their_own_paths_only() -> None:
    async with gateway(FakeProvider()) as app:
        chat, response = id_of(await complete(app)), id_of(await respond(app))
        assert (await ask(app, "GET", f"/v1/responses/{chat}")).status == 404
        assert (await ask(app, "DELETE", f"/v1/responses/{chat}")).status == 404
        assert (await ask(app, "GET", f"/v1/chat/completions/{response}")).status == 404


# --- chat completions ------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
async def test_a_completion_is_retrieved_and_deleted(stream: bool) -> None:
    provider = FakeProvider()
    provider.reply("A cat.", tool_call("feed", {}, id="call_1"))
    async with gateway(provider) as app:
        one = await complete(app, stream=stream)
        path = f"/v1/chat/completions/{id_of(one)}"
        stored = await ask(app, "GET", path)
        if not stream:
            assert stored.body == one.body
        found = ChatCompletion.model_validate(stored.json())
        assert found.id == id_of(one)
        assert found.choices[0].message.content == "A cat."
        assert [call.id for call in found.choices[0].message.tool_calls or []] == ["call_1"]
        deleted = await ask(app, "DELETE", path)
        assert deleted.json() == {"id": id_of(one), "object": "chat.completion.deleted", "deleted": True}
        assert (await ask(app, "GET", path)).status == 404
        assert (await complete(app, metadata={"response_id": id_of(one)})).status == 400


# --- token counts ----------------------------------------------------------------------------------


@pytest.mark.parametrize("server", ["chat", "messages", "responses"])
async def test_input_tokens_count_what_is_continued_too(server: str) -> None:
    provider = FakeProvider()
    async with gateway(provider) as app:
        one = id_of(await respond(app, "word " * 1000))
        counts = []
        for fields in ({}, {"previous_response_id": one}):
            body = {"model": f"{server}_server/m", "input": "Hi", **fields}
            answer = await ask(app, "POST", "/v1/responses/input_tokens", body)
            assert answer.status == 200
            counts.append(InputTokenCountResponse.model_validate(answer.json()).input_tokens)
        assert counts[0] < 20
        assert counts[1] > 1250
        native = server == "responses"
        assert (provider.last.path == "/v1/responses/input_tokens") == native
        assert ("x-plano-estimated" in answer.headers) != native


async def test_a_server_that_does_not_count_leaves_an_estimate() -> None:
    provider = FakeProvider()
    provider.fail(404, on="/input_tokens")
    async with gateway(provider) as app:
        answer = await ask(app, "POST", "/v1/responses/input_tokens", {"model": "responses_server/m", "input": "Hi"})
        assert (answer.status, answer.headers["x-plano-estimated"]) == (200, "true")


# --- conversations ---------------------------------------------------------------------------------


async def test_a_conversation_lives_with_the_sdk() -> None:
    async with client(FakeProvider()) as (sdk, _):
        made = await sdk.conversations.create(items=[{"role": "user", "content": "Hi"}], metadata={"topic": "a"})
        assert made.id.startswith("conv_")
        assert (await sdk.conversations.retrieve(made.id)) == made
        changed = await sdk.conversations.update(made.id, metadata={"topic": "b"})
        assert changed.metadata == {"topic": "b"}
        assert (await sdk.conversations.retrieve(made.id)).metadata == {"topic": "b"}
        added = await sdk.conversations.items.create(
            made.id,
            items=[{"role": "assistant", "content": "Hello"}, {"role": "user", "content": [IMAGE]}],  # type: ignore[list-item]
        )
        listed = [item async for item in sdk.conversations.items.list(made.id, order="asc", limit=2)]
        assert [item.id for item in listed[1:]] == [item.id for item in added.data]
        assert [item.role for item in listed] == ["user", "assistant", "user"]  # type: ignore[union-attr]
        one = await sdk.conversations.items.retrieve(listed[1].id or "", conversation_id=made.id)
        assert one == listed[1]
        assert (await sdk.conversations.items.delete(listed[0].id or "", conversation_id=made.id)) == changed
        with pytest.raises(NotFoundError):
            await sdk.conversations.items.retrieve(listed[0].id or "", conversation_id=made.id)
        assert (await sdk.conversations.delete(made.id)).deleted
        with pytest.raises(NotFoundError):
            await sdk.conversations.retrieve(made.id)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_conversation_grows_with_every_response(stream: bool) -> None:
    provider = FakeProvider()
    provider.reply("Ahoy.", tool_call("f", {}, id="call_1"))
    provider.reply("Bye.")
    async with gateway(provider) as app:
        start = {"items": [{"role": "developer", "content": "Be a pirate."}]}
        made = Conversation.model_validate((await ask(app, "POST", "/v1/conversations", start)).json())
        one = await respond(app, "Hi", server="messages", conversation=made.id, stream=stream)
        stored = (await ask(app, "GET", f"/v1/responses/{id_of(one)}")).json()
        assert stored["conversation"] == {"id": made.id}
        output = [{"type": "function_call_output", "call_id": "call_1", "output": "ok"}]
        await respond(app, output, server="chat", conversation={"id": made.id}, stream=stream)
        assert "conversation" not in provider.last.json
        roles = [said["role"] for said in provider.last.json["messages"]]
        assert roles == ["developer", "user", "assistant", "tool"]
        page = await ask(app, "GET", f"/v1/conversations/{made.id}/items?order=asc")
        found = ConversationItemList.model_validate(page.json())
        types = ["message", "message", "message", "function_call", "function_call_output", "message"]
        assert [item.type for item in found.data] == types
        assert error(await respond(app, previous_response_id=id_of(one)))[0] == 400
        await respond(app, "Unsaid", conversation=made.id, store=False, stream=stream)
        again = await ask(app, "GET", f"/v1/conversations/{made.id}/items?order=asc")
        assert again.body == page.body


async def test_a_servers_own_items_in_a_conversation_go_back_to_it_with_their_ids() -> None:
    provider = FakeProvider()
    reasoning = {"id": "rs_1", "type": "reasoning", "summary": []}
    provider.raw(200, JSON, json.dumps(native("resp_1", reasoning, message("msg_1", "Hello"))).encode())
    async with gateway(provider) as app:
        made = (await ask(app, "POST", "/v1/conversations")).json()["id"]
        await respond(app, "Hi", server="responses", conversation=made)
        await respond(app, "More", server="responses", conversation=made)
        assert [item.get("id") for item in provider.last.json["input"]] == [None, "rs_1", "msg_1", None]
        await respond(app, "More", server="other", conversation=made)
        assert all("id" not in item for item in provider.last.json["input"])
        assert b"reasoning" not in provider.last.body


async def test_a_conversation_may_get_no_longer_than_the_limit() -> None:
    async with gateway(FakeProvider(), {"type": "memory", "max_chain_bytes": 5000}) as app:
        made = (await ask(app, "POST", "/v1/conversations")).json()["id"]
        items = {"items": [{"role": "user", "content": "x" * 4000}]}
        assert (await ask(app, "POST", f"/v1/conversations/{made}/items", items)).status == 200
        assert (await ask(app, "POST", f"/v1/conversations/{made}/items", items)).status == 413
        assert error(await respond(app, "y" * 2000, conversation=made)) == (413, "item_too_large", "conversation")


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("", {"metadata": {"a": 1}}, "metadata[...]"),
        ("", {"metadata": {str(n): "v" for n in range(17)}}, "metadata"),
        ("", {"metadata": {"k" * 65: "v"}}, "metadata"),
        ("", {"metadata": {"k": "v" * 513}}, "metadata"),
        ("", {"items": [{"role": "user", "content": "x"}] * 21}, "items"),
        ("", {"items": [{"role": "user"}]}, "items[0].content"),
        ("", {"items": ["x"]}, "items[0]"),
        ("", {"items": [{"type": "function_call", "call_id": "c", "name": 1}]}, "items[0].name"),
        ("", b"[", None),
        ("/items", {}, None),
        ("/items", {"items": [{"role": "user", "content": 7}]}, "items[0].content"),
        ("/items", b"", None),
    ],
)
async def test_a_conversation_is_made_of_what_the_api_takes(path: str, body: Any, param: str | None) -> None:
    async with gateway(FakeProvider()) as app:
        if path:
            path = f"/{(await ask(app, 'POST', '/v1/conversations')).json()['id']}{path}"
        answer = await ask(app, "POST", f"/v1/conversations{path}", body)
        assert answer.status == 400
        assert answer.json()["error"]["param"] == param


async def test_a_deleted_conversation_says_so_in_the_apis_form() -> None:
    async with gateway(FakeProvider()) as app:
        made = (await ask(app, "POST", "/v1/conversations")).json()["id"]
        ConversationDeletedResource.model_validate((await ask(app, "DELETE", f"/v1/conversations/{made}")).json())
        answer = await respond(app, conversation=made)
        assert (answer.status, answer.json()["error"]["param"]) == (404, "conversation")


# --- who may ---------------------------------------------------------------------------------------

KEYS = {"keys": [{"name": name, "key": f"sk-{name}-0123456789abcdef"} for name in ("a", "b")]}
ROUTES = [
    ("GET", "/v1/responses/x"),
    ("DELETE", "/v1/responses/x"),
    ("GET", "/v1/responses/x/input_items"),
    ("POST", "/v1/responses/x/cancel"),
    ("POST", "/v1/responses/input_tokens"),
    ("GET", "/v1/chat/completions/x"),
    ("DELETE", "/v1/chat/completions/x"),
    ("POST", "/v1/conversations"),
    ("GET", "/v1/conversations/x"),
    ("POST", "/v1/conversations/x"),
    ("DELETE", "/v1/conversations/x"),
    ("GET", "/v1/conversations/x/items"),
    ("POST", "/v1/conversations/x/items"),
    ("GET", "/v1/conversations/x/items/y"),
    ("DELETE", "/v1/conversations/x/items/y"),
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_nobody_gets_at_what_is_stored_without_a_key(method: str, path: str) -> None:
    async with gateway(FakeProvider(), auth=KEYS) as app:
        assert (await ask(app, method, path, b"{}")).status == 401
        assert (await ask(app, method, path, b"{}", {"x-api-key": "sk-wrong"})).status == 401


async def test_a_conversation_of_another_tenant_is_not_found_by_any_route() -> None:
    async with gateway(FakeProvider(), auth=KEYS) as app:
        mine, theirs = ({"x-api-key": key["key"]} for key in KEYS["keys"])
        start = {"items": [{"role": "user", "content": "Our secret", "id": "msg_x"}]}
        made = (await ask(app, "POST", "/v1/conversations", start, mine)).json()["id"]
        for method, path, body in (
            ("GET", "", b""),
            ("POST", "", {"metadata": {}}),
            ("DELETE", "", b""),
            ("GET", "/items", b""),
            ("POST", "/items", {"items": []}),
            ("GET", "/items/msg_x", b""),
            ("DELETE", "/items/msg_x", b""),
        ):
            answer = await ask(app, method, f"/v1/conversations/{made}{path}", body, theirs)
            assert answer.status == 404, (method, path)
            assert b"secret" not in answer.body
        answer = await respond(app, conversation=made, key=theirs["x-api-key"], server="responses")
        assert answer.status == 404
        assert (await ask(app, "GET", f"/v1/conversations/{made}/items/msg_x", b"", mine)).status == 200


async def test_a_hosts_own_callers_are_of_the_tenants_that_it_says() -> None:
    entry = {"model": "demo/echo", "default": True}
    headers = {"x-who": "a"}

    def caller(scope: Any) -> Caller | None:
        name = dict(scope["headers"]).get(b"x-who")
        return None if name is None else Caller(name=name.decode(), tenant=name.decode())

    app = Plano({"model_providers": [entry]}, caller=caller)
    one = (await ask(app, "POST", "/v1/responses", {"input": "Hi"}, headers)).json()["id"]
    assert (await ask(app, "GET", f"/v1/responses/{one}", b"", headers)).status == 200
    assert (await ask(app, "GET", f"/v1/responses/{one}", b"", {"x-who": "b"})).status == 404
    assert (await ask(app, "GET", f"/v1/responses/{one}")).status == 401
    await app.aclose()
