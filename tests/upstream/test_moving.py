"""Seals of reasoning where a name has several targets."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace

from plano import CallNext, Plano, Request, Response
from plano.candidates import Candidate, Candidates, Group
from plano.errors import UnsupportedConversion
from plano.provider import Target
from plano.testing import FakeProvider, redacted_thinking, thinking, tool_call
from plano.types import CLIENT_DIALECTS as DIALECTS
from plano.types import Dialect
from plano.upstream.moving import marked, moved
from tests.asgi import Answer, ask
from tests.test_pairs import PATHS
from tests.upstream.through import ORDER, row, target_of

SEAL = "c2VhbGVk"
REPLY = (thinking("Let me think.", seal=SEAL), "It is ", tool_call("f", {"signature": "s"}, id="call_1"))


def target(name: str, *dialects: Dialect, **more: Any) -> Target:
    return target_of(replace(row(*dialects), name=name, base_url=f"https://{name}.test"), **more)


class Moving:
    """A gateway in which a name has these targets, and that asks the one in `turn` for each request."""

    def __init__(self, *targets: Target) -> None:
        self.provider = FakeProvider()
        self.targets = targets
        self.turn = 0
        members = [Group((Candidate("smart", (each,)),)) for each in targets]
        self.candidates = Candidates("smart", tuple(members))
        config = {"model_providers": [{"model": "openai/m", "access_key": "k", "default": True}]}
        self.app = Plano(config, filters=[self], order=ORDER, transport=self.provider)

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        chosen = self.targets[self.turn]
        request = request.replace(candidates=self.candidates, target=chosen)
        return marked(request, await call_next(moved(request, chosen)), chosen)

    async def ask(self, client: Dialect, turn: int, messages: list[Any], **more: Any) -> Answer:
        self.turn = turn
        content = "input" if client == "responses" else "messages"
        limit = {"max_tokens": 100} if client == "messages" else {}
        reasoning = {"include": ["reasoning.encrypted_content"], "store": False} if client == "responses" else {}
        headers = {"x-plano-strict": "true"} if more.pop("strict", False) else {}
        body = {"model": "m", content: messages, **limit, **reasoning, **more}
        return await ask(self.app, "POST", PATHS[client], body, headers)


def history(client: Dialect, answer: Answer) -> list[Any]:
    """The turns that a client sends after a reply: its own, the model's as it came, and a result."""
    assert answer.status == 200, answer.body
    asked = [{"role": "user", "content": "Why?"}]
    reply = answer.json()
    if client == "responses":
        return [*asked, *reply["output"], {"type": "function_call_output", "call_id": "call_1", "output": "done"}]
    if client == "messages":
        result = {"type": "tool_result", "tool_use_id": "call_1", "content": "done"}
        return [*asked, {"role": "assistant", "content": reply["content"]}, {"role": "user", "content": [result]}]
    message = reply["choices"][0]["message"]
    return [*asked, message, {"role": "tool", "tool_call_id": "call_1", "content": "done"}]


SAME: list[Dialect] = ["messages", "responses"]
"""The dialects whose servers seal reasoning."""

TWO = [(client, upstream) for client in DIALECTS for upstream in SAME]


@pytest.mark.parametrize("made", [0, 1])
@pytest.mark.parametrize("next_", [0, 1])
@pytest.mark.parametrize(("client", "upstream"), TWO)
async def test_reasoning_goes_back_to_its_maker_and_to_nobody_else(
    client: Dialect, upstream: Dialect, made: int, next_: int
) -> None:
    moving = Moving(target("one", upstream), target("two", upstream))
    moving.provider.reply(*REPLY)
    turns = history(client, await moving.ask(client, made, [{"role": "user", "content": "Why?"}]))
    answer = await moving.ask(client, next_, turns)
    assert answer.status == 200, answer.body
    sent = moving.provider.last
    assert sent.url.startswith(f"https://{('one', 'two')[next_]}.test")
    assert b"plano-seal" not in sent.body
    dropped = answer.headers.get("x-plano-dropped", "")
    assert (SEAL.encode() in sent.body) is (made == next_)
    assert ("messages.thinking" in dropped) is (made != next_)
    assert b"call_1" in sent.body
    assert b"It is " in sent.body


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("client", SAME)
async def test_only_replies_of_other_servers_than_the_first_are_marked(client: Dialect, stream: bool) -> None:
    moving = Moving(target("one", client), target("two", client))
    moving.provider.reply(*REPLY, redacted_thinking("cmVkYWN0ZWQ=") if client == "messages" else "")
    texts = []
    for turn in (0, 1):
        answer = await moving.ask(client, turn, [{"role": "user", "content": "Why?"}], stream=stream)
        assert answer.status == 200, answer.body
        texts.append(answer.body.decode())
    assert "plano-seal" not in texts[0]
    mark = "plano-seal.at."
    assert f'"{mark}' in texts[1]
    assert '"s"' in texts[1].replace("\\", "")  # a tool's input is left alone
    assert texts[1].count(mark) == texts[0].count(SEAL) + texts[0].count("cmVkYWN0ZWQ=")


@pytest.mark.parametrize("client", DIALECTS)
async def test_a_history_without_seals_is_forwarded_as_it_is(client: Dialect) -> None:
    moving = Moving(target("one", client), target("two", client))
    turns = [
        {"role": "user", "content": "Why?"},
        {"role": "assistant", "content": "So."},
        {"role": "user", "content": "?"},
    ]
    for turn in (0, 1):
        assert (await moving.ask(client, turn, turns)).status == 200
    first, second = (sent.body for sent in moving.provider.requests)
    assert first == second


THOUGHT: dict[Dialect, Any] = {
    "chat": {"role": "assistant", "content": "a", "reasoning_details": [{"type": "reasoning.text", "signature": "s"}]},
    "messages": {"role": "assistant", "content": [{"type": "thinking", "thinking": "a", "signature": "s"}]},
    "responses": {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "s"},
}


@pytest.mark.parametrize("client", DIALECTS)
async def test_a_history_of_the_first_server_is_forwarded_to_it_as_it_is(client: Dialect) -> None:
    moving = Moving(target("one", client), target("two", client))
    turns = [THOUGHT[client], {"role": "user", "content": "Why?"}]
    answer = await moving.ask(client, 0, turns)
    assert json.dumps(turns).encode() in moving.provider.last.body
    assert "x-plano-dropped" not in answer.headers


@pytest.mark.parametrize(("made", "next_"), [(0, 1), (1, 0)])
@pytest.mark.parametrize("client", SAME)
async def test_a_strict_request_is_refused_rather_than_robbed_of_its_reasoning(
    client: Dialect, made: int, next_: int
) -> None:
    moving = Moving(target("one", client), target("two", client))
    moving.provider.reply(*REPLY)
    turns = history(client, await moving.ask(client, made, [{"role": "user", "content": "Why?"}]))
    assert (await moving.ask(client, made, turns, strict=True)).status == 200
    answer = await moving.ask(client, next_, turns, strict=True)
    assert (answer.status, len(moving.provider.requests)) == (400, 2)


async def test_thinking_is_off_where_the_answered_calls_lost_theirs() -> None:
    moving = Moving(target("one", "messages"), target("two", "messages"))
    moving.provider.reply(*REPLY)
    on = {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 4096}
    turns = history("messages", await moving.ask("messages", 0, [{"role": "user", "content": "Why?"}], **on))
    answer = await moving.ask("messages", 1, turns, **on)
    assert answer.headers["x-plano-dropped"].split(", ") == ["messages.thinking", "thinking"]
    assert "thinking" not in moving.provider.last.json


@pytest.mark.parametrize(
    ("client", "fields"),
    [
        ("responses", {"previous_response_id": "resp_1"}),
        ("responses", {"conversation": "conv_1"}),
        ("responses", {"input": [{"type": "item_reference", "id": "rs_1"}]}),
        ("responses", {"input": [{"type": "compaction", "id": "c", "encrypted_content": "abc"}]}),
        ("responses", {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "file-1"}]}]}),
        ("chat", {"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "file-1"}}]}]}),
        (
            "messages",
            {
                "messages": [
                    {"role": "user", "content": [{"type": "document", "source": {"type": "file", "file_id": "f"}}]}
                ]
            },
        ),
    ],
)
def test_what_is_stored_with_one_vendor_is_asked_of_no_other(client: Dialect, fields: dict[str, Any]) -> None:
    first, second = target("one", client), target("two", client)
    body = json.dumps({"model": "m", "max_tokens": 9, **fields}).encode()
    groups = tuple(Group((Candidate("smart", (each,)),)) for each in (first, second))
    request = Request(dialect=client, model="m", raw_model="m", raw=body, candidates=Candidates("smart", groups))
    assert moved(request, first) is request
    with pytest.raises(UnsupportedConversion):
        moved(request, second)


def test_other_entries_at_one_host_may_have_files_but_no_seals_of_each_other() -> None:
    first = target("one", "messages")
    second = replace(first, entry="other", place="other")
    groups = tuple(Group((Candidate("smart", (each,)),)) for each in (first, second))
    file = {"type": "document", "source": {"type": "file", "file_id": "f"}}
    turns = [
        {"role": "user", "content": [file]},
        {
            "role": "assistant",
            "content": [{"type": "thinking", "thinking": "a", "signature": "s"}, {"type": "text", "text": "b"}],
        },
    ]
    body = json.dumps({"model": "m", "max_tokens": 9, "messages": turns}).encode()
    request = Request(dialect="messages", model="m", raw_model="m", raw=body, candidates=Candidates("smart", groups))
    sent = json.loads(moved(request, second).raw)
    assert sent["messages"][0] == turns[0]
    assert sent["messages"][1]["content"] in ("b", [{"type": "text", "text": "b"}])


def test_a_key_of_the_same_pool_is_no_other_server() -> None:
    first = target("one", "responses")
    second = replace(first, place="one/m#1", key_no=1, pool=("a", "b"))  # type: ignore[arg-type]
    candidates = Candidates("smart", (Group((Candidate("smart", (first, second)),)),))
    body = b'{"model":"m","input":[{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"abc"}]}'
    request = Request(dialect="responses", model="m", raw_model="m", raw=body, candidates=candidates)
    assert moved(request, second) is request
