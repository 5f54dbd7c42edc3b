"""Conversations over several turns, in every store."""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import Any

import pytest
from openai import AsyncOpenAI

from plano.conversation import Conversation, Message, Text, ToolCall, ToolResult
from plano.testing import FakeProvider, custom_tool_call, serve, thinking, tool_call
from plano.testing.script import Reply
from plano.types import CLIENT_DIALECTS as DIALECTS
from tests.asgi import Exchange, ask, scope
from tests.filters.conftest import Storage
from tests.filters.talk import complete, error, gateway, id_of, reply, respond

ORDERS = list(itertools.permutations(DIALECTS))
STREAMED = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


def said(conversation: Conversation) -> list[Any]:
    """What a conversation says, part by part, without what only one dialect has."""
    return [_part(message, part) for message in conversation.messages for part in message.parts]


def _part(message: Message, part: Any) -> Any:
    match part:
        case Text():
            return message.role, part.text
        case ToolCall():
            return part.kind, part.id, part.name, part.arguments
        case ToolResult():
            return "result", part.call_id, [inner.text for inner in part.parts if isinstance(inner, Text)]
        case _:
            return type(part).__name__


async def tool_loop(storage: Storage, order: tuple[str, ...], *, stream: bool) -> FakeProvider:
    """A question, a tool's output, another question: each answered by another server."""
    provider = FakeProvider()
    provider.reply("Let me look.", tool_call("get_weather", {"city": "Zürich\0"}, id="call_1"))
    provider.reply("It is sunny.", tool_call("get_weather", {"city": "Bern"}, id="call_2"))
    provider.reply("Both are.")
    tools = [{"type": "function", "name": "get_weather", "parameters": {"type": "object"}, "strict": False}]
    async with gateway(provider, storage) as app:
        options: dict[str, Any] = {"stream": stream, "tools": tools}
        one = await respond(app, "Weather in Zürich \U0001f324\0?", server=order[0], **options)
        output = {"type": "function_call_output", "call_id": "call_1", "output": "sunny"}
        two = await respond(app, [output], server=order[1], previous_response_id=id_of(one), **options)
        assert reply(two)["previous_response_id"] == id_of(one)
        output = {"type": "function_call_output", "call_id": "call_2", "output": "also"}
        more = {"role": "user", "content": "And?"}
        three = await respond(app, [output, more], server=order[2], previous_response_id=id_of(two), **options)
        assert reply(three)["output"][0]["content"][0]["text"] == "Both are."
    return provider


WHOLE_LOOP = [
    ("user", "Weather in Zürich \U0001f324\0?"),
    ("assistant", "Let me look."),
    ("function", "call_1", "get_weather", '{"city":"Zürich\\u0000"}'),
    ("result", "call_1", ["sunny"]),
    ("assistant", "It is sunny."),
    ("function", "call_2", "get_weather", '{"city":"Bern"}'),
    ("result", "call_2", ["also"]),
    ("user", "And?"),
]


@STREAMED
async def test_a_tool_loop_goes_on_whoever_answers_its_turns(storage: Storage, stream: bool) -> None:
    provider = await tool_loop(storage, ("chat", "messages", "responses"), stream=stream)
    assert said(provider.last.conversation) == WHOLE_LOOP
    assert [recorded.dialect for recorded in provider.requests] == ["chat", "messages", "responses"]


@STREAMED
@pytest.mark.parametrize("order", ORDERS, ids=lambda order: "-".join(order))
@pytest.mark.parametrize("kind", ["memory"])
async def test_a_tool_loop_goes_on_in_any_order_of_upstreams(
    storage: Storage, order: tuple[str, ...], stream: bool
) -> None:
    provider = await tool_loop(storage, order, stream=stream)
    assert said(provider.last.conversation) == WHOLE_LOOP
    assert [recorded.dialect for recorded in provider.requests] == list(order)
    for recorded in provider.requests:
        assert b"previous_response_id" not in recorded.body


@STREAMED
async def test_a_chain_may_go_from_chat_to_responses_and_back(storage: Storage, stream: bool) -> None:
    provider = FakeProvider()
    for text in ("One.", "Two.", "Three.", "Four."):
        provider.reply(text)
    async with gateway(provider, storage) as app:
        system = {"role": "system", "content": "Be short."}
        one = await complete(app, [system, {"role": "user", "content": "1"}], stream=stream)
        two = await respond(app, "2", server="messages", previous_response_id=id_of(one), stream=stream)
        three = await complete(app, "3", server="chat", metadata={"response_id": id_of(two)}, stream=stream)
        assert said(provider.last.conversation) == [
            ("user", "1"),
            ("assistant", "One."),
            ("user", "2"),
            ("assistant", "Two."),
            ("user", "3"),
        ]
        assert [part.text for part in provider.last.conversation.system] == ["Be short."]
        assert "metadata" not in provider.last.json
        await respond(app, "4", server="responses", previous_response_id=id_of(three), stream=stream)
        assert said(provider.last.conversation)[-3:] == [("user", "3"), ("assistant", "Three."), ("user", "4")]


@STREAMED
async def test_fifty_branches_of_one_id_do_not_mix(storage: Storage, stream: bool) -> None:
    provider = FakeProvider()
    provider.script(lambda recorded: Reply(f"You said {said(recorded.conversation)[-1][1]}."))
    async with gateway(provider, storage) as app:
        root = id_of(await respond(app, "root"))
        branches = await asyncio.gather(
            *(respond(app, f"branch {n}", previous_response_id=root, stream=stream) for n in range(50))
        )
        provider.requests.clear()
        await asyncio.gather(
            *(respond(app, f"leaf {n}", previous_response_id=id_of(branch)) for n, branch in enumerate(branches))
        )
        seen = sorted(said(recorded.conversation) for recorded in provider.requests)
    assert seen == sorted(
        [
            ("user", "root"),
            ("assistant", "You said root."),
            ("user", f"branch {n}"),
            ("assistant", f"You said branch {n}."),
            ("user", f"leaf {n}"),
        ]
        for n in range(50)
    )


@STREAMED
@pytest.mark.parametrize("dialect", ["chat", "responses"])
async def test_turn_two_sent_at_the_last_byte_of_turn_one_finds_it(
    storage: Storage, dialect: str, stream: bool
) -> None:
    provider = FakeProvider()
    provider.reply("The first answer, which has several words.")
    ended = (b"response.completed", b"[DONE]") if stream else (b'"object":"response"', b'"chat.completion"')
    seconds: list[Any] = []
    async with gateway(provider, storage) as app:

        class Hurried(Exchange):
            async def send(self, message: Any) -> None:
                await super().send(message)
                body = message.get("body", b"")
                if any(end in body for end in ended):
                    if dialect == "chat":
                        id_ = _first_id(self.answer.body)
                        seconds.append(await complete(app, "next", metadata={"response_id": id_}))
                    else:
                        id_ = _first_id(self.answer.body)
                        seconds.append(await respond(app, "next", previous_response_id=id_))

        path = "/v1/responses" if dialect == "responses" else "/v1/chat/completions"
        fields: dict[str, Any] = (
            {"input": "Hi"} if dialect == "responses" else {"messages": [{"role": "user", "content": "Hi"}]}
        )
        body = json.dumps({"model": "chat_server/m", "stream": stream, **fields}).encode()
        exchange = Hurried(body)
        await app(scope("POST", path), exchange.receive, exchange.send)
    assert [answer.status for answer in seconds] == [200]
    assert ("assistant", "The first answer, which has several words.") in said(provider.last.conversation)


def _first_id(body: bytes) -> str:
    start = min(at for prefix in (b'"resp_', b'"chatcmpl-') if (at := body.find(prefix)) >= 0) + 1
    return body[start : body.index(b'"', start)].decode()


@STREAMED
async def test_another_tenants_id_is_not_found_in_the_words_for_one_that_never_was(
    storage: Storage, stream: bool
) -> None:
    keys = [{"name": name, "key": f"sk-{name}-0123456789abcdef", "tenant": name[0]} for name in ("a1", "a2", "b1")]
    provider = FakeProvider()
    async with gateway(provider, storage, auth={"keys": keys}) as app:
        a1, a2, b1 = (key["key"] for key in keys)
        id_ = id_of(await respond(app, "Our secret", key=a1, stream=stream))
        chat = id_of(await complete(app, "Our secret", key=a1, stream=stream))
        assert (await respond(app, "More", key=a2, previous_response_id=id_)).status == 200
        for server in ("chat", "messages", "responses"):
            asked = len(provider.requests)
            theirs = await respond(app, "More", key=b1, server=server, previous_response_id=id_)
            nobodys = await respond(app, "More", key=b1, server=server, previous_response_id="resp_" + "0" * 24)
            assert error(theirs) == error(nobodys) == (400, "previous_response_not_found", "previous_response_id")
            assert theirs.body.replace(id_.encode(), b"*") == nobodys.body.replace(b"resp_" + b"0" * 24, b"*")
            assert error(await complete(app, "More", key=b1, server=server, metadata={"response_id": chat}))[0] == 400
            assert len(provider.requests) == asked, "nothing was sent upstream"
        for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/input_items"), ("POST", "/cancel")):
            answer = await ask(app, method, f"/v1/responses/{id_}{path}", b"", {"x-api-key": b1})
            assert answer.status == 404
        assert (await ask(app, "GET", f"/v1/chat/completions/{chat}", b"", {"x-api-key": b1})).status == 404
        assert (await ask(app, "GET", f"/v1/responses/{id_}", b"", {"x-api-key": a2})).status == 200


@STREAMED
@pytest.mark.parametrize("dialect", ["chat", "responses"])
async def test_what_may_not_be_stored_is_answered_and_cannot_be_continued(
    storage: Storage, dialect: str, stream: bool
) -> None:
    async with gateway(FakeProvider(), storage) as app:
        ask_first = respond if dialect == "responses" else complete
        first = await ask_first(app, "Hi", store=False, stream=stream)
        assert "x-plano-stored" not in first.headers
        again = await respond(app, "More", previous_response_id=id_of(first))
        assert error(again) == (400, "previous_response_not_found", "previous_response_id")
        again = await complete(app, "More", metadata={"response_id": id_of(first)})
        assert error(again) == (400, "previous_response_not_found", "metadata.response_id")
        assert (await ask(app, "GET", f"/v1/responses/{id_of(first)}")).status == 404


async def test_a_deleted_response_is_gone_and_ends_what_continued_it(storage: Storage) -> None:
    async with gateway(FakeProvider(), storage) as app:
        one = id_of(await respond(app, "One"))
        two = id_of(await respond(app, "Two", previous_response_id=one))
        deleted = await ask(app, "DELETE", f"/v1/responses/{one}")
        assert deleted.json() == {"id": one, "object": "response", "deleted": True}
        assert (await ask(app, "GET", f"/v1/responses/{one}")).status == 404
        assert (await ask(app, "DELETE", f"/v1/responses/{one}")).status == 404
        for server in ("chat", "messages", "responses"):  # the last one would know it, and is not asked
            assert (await respond(app, "More", server=server, previous_response_id=one)).status == 400
        assert (await respond(app, "More", previous_response_id=two)).status == 400
        assert (await ask(app, "GET", f"/v1/responses/{two}")).status == 200


async def test_a_chain_that_is_too_long_is_refused_before_anything_is_sent(storage: Storage) -> None:
    provider = FakeProvider()
    provider.reply("Short.")
    async with gateway(provider, {**storage, "max_chain_bytes": 7000}) as app:
        id_ = id_of(await respond(app, "x" * 3000))
        id_ = id_of(await respond(app, "y" * 3000, previous_response_id=id_))
        asked = len(provider.requests)
        for answer, param in (
            (await respond(app, "z", previous_response_id=id_), "previous_response_id"),
            (await complete(app, "z", metadata={"response_id": id_}), "metadata.response_id"),
        ):
            assert error(answer) == (413, "conversation_too_large", param)
        assert len(provider.requests) == asked


@STREAMED
async def test_all_kinds_of_items_come_back_as_they_were(storage: Storage, stream: bool) -> None:
    provider = FakeProvider()
    provider.reply(
        thinking("First, \u2028 think.", seal="S/+="),
        "Said.",
        custom_tool_call("run", "print(1)\n", id="call_c"),
        tool_call("f", '{"a": 1,  "b":[]}', id="call_f"),
    )
    image = {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo=", "detail": "low"}
    question = {"role": "user", "content": [{"type": "input_text", "text": "What is this?"}, image]}
    outputs = [
        {"type": "custom_tool_call_output", "call_id": "call_c", "output": "1\n"},
        {"type": "function_call_output", "call_id": "call_f", "output": "done"},
    ]
    tools = [{"type": "custom", "name": "run"}, {"type": "function", "name": "f", "parameters": {}, "strict": None}]
    options: dict[str, Any] = {"server": "messages", "tools": tools, "stream": stream}
    async with gateway(provider, storage) as app:
        one = await respond(app, [question], include=["reasoning.encrypted_content"], **options)
        await respond(app, outputs, previous_response_id=id_of(one), **options)
    first, second, third = provider.last.conversation.messages
    assert [type(part).__name__ for part in first.parts] == ["Text", "Image"]
    assert (first.parts[1].data, first.parts[1].media_type) == ("iVBORw0KGgo=", "image/png")
    thought, text, custom, function = second.parts
    assert (thought.text, thought.seal, thought.origin) == ("First, \u2028 think.", "S/+=", "messages")
    assert text.text == "Said."
    assert (custom.id, custom.name, custom.arguments) == ("call_c", "run", '{"input":"print(1)\\n"}')
    assert (function.id, function.name, function.arguments) == ("call_f", "f", '{"a": 1,  "b":[]}')
    assert [(part.call_id, part.parts[0].text) for part in third.parts] == [("call_c", "1\n"), ("call_f", "done")]


# --- the examples of the users' documents, with the real SDK --------------------------------------------------


async def test_the_documents_example_for_responses_works_with_the_sdk(storage: Storage) -> None:
    provider = FakeProvider()
    provider.reply("Nice to meet you, Alice.")
    async with gateway(provider, storage) as app:
        with serve(app) as url:
            async with AsyncOpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0) as client:
                first = await client.responses.create(model="messages_server/m", input="My name is Alice.")
                second = await client.responses.create(
                    model="messages_server/m", input="What is my name?", previous_response_id=first.id
                )
                assert second.previous_response_id == first.id
                assert provider.last.json["messages"] == [
                    {"role": "user", "content": "My name is Alice."},
                    {"role": "assistant", "content": "Nice to meet you, Alice."},
                    {"role": "user", "content": "What is my name?"},
                ]
                assert await client.responses.retrieve(second.id) == second


async def test_the_documents_example_for_chat_completions_works_with_the_sdk(storage: Storage) -> None:
    provider = FakeProvider()
    provider.reply("Nice to meet you, Alice.")
    async with gateway(provider, storage) as app:
        with serve(app) as url:
            async with AsyncOpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0) as client:
                first = await client.chat.completions.create(
                    model="chat_server/m", messages=[{"role": "user", "content": "My name is Alice."}]
                )
                second = await client.chat.completions.create(
                    model="chat_server/m",
                    messages=[{"role": "user", "content": "What is my name?"}],
                    metadata={"response_id": first.id, "team": "a"},
                )
                assert provider.last.json["messages"] == [
                    {"role": "user", "content": "My name is Alice."},
                    {"role": "assistant", "content": "Nice to meet you, Alice."},
                    {"role": "user", "content": "What is my name?"},
                ]
                assert provider.last.json["metadata"] == {"team": "a"}
                assert b"response_id" not in provider.last.body
                stream = await client.chat.completions.create(
                    model="messages_server/m",
                    messages=[{"role": "user", "content": "And mine?"}],
                    metadata={"response_id": second.id},
                    stream=True,
                )
                ids = {chunk.id async for chunk in stream}
                assert len(provider.last.json["messages"]) == 5
                await client.chat.completions.create(
                    model="chat_server/m",
                    messages=[{"role": "user", "content": "Last"}],
                    metadata={"response_id": ids.pop()},
                )
                assert len(provider.last.json["messages"]) == 7
                assert "metadata" not in provider.last.json
