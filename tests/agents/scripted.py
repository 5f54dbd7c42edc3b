"""A model that thinks and calls a tool, turn after turn, and the gateway in front of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from plano import Plano
from plano.conversation import Opaque, Part, Thinking, ToolCall, ToolResult
from plano.dialects.responses import compaction
from plano.testing import FakeProvider, Reply, Usage, Verbatim, serve, thinking, tool_call
from plano.testing.record import Recorded
from plano.types import Dialect, Receive, Scope, Send

PROMPT = "Do the things that are to be done."
DONE = "All of it is done."
SIDE_ANSWER = "A summary of what was said."
"""The answer to everything that is not a turn of the loop: titles, summaries, agents below the agent."""

COMPACTED = "gAAAAABo" + "x-_" * 60
"""The summary that an upstream makes which compacts by itself."""

Step = ToolCall | Callable[[Recorded], Verbatim]


class Loop:
    """A scripted model. Its turns are the requests that have tools and were made for `PROMPT`.

    Args:
        upstream: the dialect of the upstream that it stands behind.
        steps: a tool call for each turn, or a function that answers the turn by itself; after the last comes a text.
        full_after: the turn after which the context window is said to be full, if it is.

    Attributes:
        turns: the requests of the loop, in order.
        others: all other requests.
        arrived: method, path and content coding of each request that the agent sent to the gateway.
    """

    def __init__(self, upstream: Dialect, *steps: Step, full_after: int | None = None) -> None:
        self.upstream = upstream
        self.steps = steps
        self.turns: list[Recorded] = []
        self.others: list[Recorded] = []
        self.arrived: list[tuple[str, str, str]] = []
        self._full_after = full_after

    def answer(self, recorded: Recorded) -> Reply | Verbatim:
        if b'"compaction_trigger"' in recorded.body:
            self.others.append(recorded)
            return stream_of({"id": "cmp_1", "type": "compaction", "encrypted_content": COMPACTED})
        if not recorded.conversation.tools or not _was_asked(recorded) or _summarizes(recorded):
            self.others.append(recorded)
            return Reply(SIDE_ANSWER)
        turn = len(self.turns)
        self.turns.append(recorded)
        if turn >= len(self.steps):
            return Reply(DONE)
        step = self.steps[turn]
        if not isinstance(step, ToolCall):
            return step(recorded)
        usage = Usage(input_tokens=900_000 if turn == self._full_after else 1000, output_tokens=100)
        return Reply(thinking(thought(turn), seal=self._sealed(turn)), step, usage=usage)

    def _sealed(self, turn: int) -> str:
        if self.upstream != "chat":
            return seal(turn)
        return json.dumps(
            [{"type": "reasoning.encrypted", "data": seal(turn), "format": "google-gemini-v1", "index": 0}]
        )

    def hold(self, *results: str) -> None:
        """The last turn's request has all thinking, calls and results of the turns before, each in its place."""
        assert len(self.turns) == len(self.steps) + 1
        last = self.turns[-1]
        found = history(last)
        expected: list[tuple[str, str]] = []
        for turn, step in enumerate(self.steps):
            assert isinstance(step, ToolCall)
            expected += [("thinking", thought(turn)), ("call", step.name), ("result", results[turn])]
        assert [(kind, said if kind != "result" else _within(said, results)) for kind, said in found] == expected
        body, at = last.body.decode(), 0
        for turn in range(len(self.steps)):
            at = body.find(json.dumps(seal(turn))[1:-1], at)
            assert at > 0, f"the seal of turn {turn} did not come back, or stands elsewhere"


def thought(turn: int) -> str:
    return f"Thought number {turn}: «go on»."


def seal(turn: int) -> str:
    """A signature as vendors make them. It must come back byte for byte."""
    return f"EqoBCkYIBRgCKkD{turn}" + "x+/=" * 60


def history(recorded: Recorded) -> list[tuple[str, str]]:
    """Thinking, calls and results in a request, in order."""
    found = []
    for message in recorded.conversation.messages:
        for part in message.parts:
            if isinstance(part, Thinking):
                found.append(("thinking", part.text))
            elif isinstance(part, ToolCall):
                found.append(("call", part.name))
            elif isinstance(part, ToolResult):
                found.append(("result", "".join(map(_said, part.parts))))
    return found


def _said(part: Part) -> str:
    return bytes(part.raw).decode() if isinstance(part, Opaque) else getattr(part, "text", "")


def _within(said: str, results: Sequence[str]) -> str:
    return next((result for result in results if result in said), said)


def _was_asked(recorded: Recorded) -> bool:
    return PROMPT.encode() in recorded.body


def _summarizes(recorded: Recorded) -> bool:
    """Whether the gateway asks for the summary of a conversation that its client wants compacted."""
    return compaction.PROMPT.encode() in recorded.body


def says(turn: int) -> str:
    """The output of the command of `shell`; the command itself does not hold it."""
    return f"out-{turn}-{40 + turn}"


def shell(tool: str, field: str, turn: int) -> ToolCall:
    """A call that runs a command, by an agent's own tool for that."""
    return tool_call(tool, {field: f"echo out-{turn}-$((40+{turn}))"})


def entry(upstream: Dialect) -> dict[str, Any]:
    return {
        "model": "up/m",
        "provider_interface": "anthropic" if upstream == "messages" else "openai",
        "base_url": "https://llm.example/v1",
        "apis": [upstream],
        "access_key": "sk-upstream",
    }


@contextmanager
def gateway(loop: Loop, *aliases: str) -> Iterator[str]:
    """The URL of a gateway in front of the model, which has the name `up/m` and these aliases."""
    provider = FakeProvider()
    provider.script(loop.answer)
    config = {
        "model_providers": [entry(loop.upstream)],
        "model_aliases": {alias: {"target": "up/m"} for alias in aliases},
    }
    plano = Plano(config, transport=provider)

    async def noting(scope: Scope, receive: Receive, send: Send) -> None:
        coding = dict(scope["headers"]).get(b"content-encoding", b"identity").decode()
        loop.arrived.append((scope["method"], scope["path"], coding))
        await plano(scope, receive, send)

    with serve(noting) as url:
        yield url


def stream_of(*items: dict[str, Any]) -> Verbatim:
    """A responses stream of whole items, as OpenAI sends it, for items that only that API has."""
    response = {"id": "resp_1", "object": "response", "status": "in_progress", "model": "m", "output": []}
    events: list[dict[str, Any]] = [{"type": "response.created", "response": response}]
    for index, item in enumerate(items):
        events.append({"type": "response.output_item.added", "output_index": index, "item": item})
        events.append({"type": "response.output_item.done", "output_index": index, "item": item})
    usage = {"input_tokens": 1000, "output_tokens": 100, "total_tokens": 1100}
    ended = response | {"status": "completed", "output": list(items), "usage": usage}
    events.append({"type": "response.completed", "response": ended})
    lines = [
        f"event: {event['type']}\ndata: {json.dumps(event | {'sequence_number': number})}\n\n"
        for number, event in enumerate(events)
    ]
    return Verbatim(200, {"content-type": "text/event-stream"}, "".join(lines).encode())
