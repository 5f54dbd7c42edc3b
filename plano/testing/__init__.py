"""A fake provider inside the process, for tests of services that mount plano, and for the `demo` provider.

    from plano.testing import FakeProvider, Reply, Failure, serve, tool_call

    provider = FakeProvider()
    provider.reply("Let me look.", tool_call("get_weather", {"city": "Paris"}))
    provider.fail(429, headers={"retry-after": "2"})

    gateway = Plano(config, transport=provider)     # without a socket
    with serve(provider) as url: ...                # or as a real server on the loopback interface

    answer = await ask(gateway, "messages", "Hello", stream=True)     # for each of WAYS
    answer.text, answer.reply, answer.events, answer.error

The guide is docs/testing.md.
"""

from __future__ import annotations

from plano.conversation import Usage
from plano.testing.client import WAYS, Received, ask
from plano.testing.clock import FakeClock
from plano.testing.hosts import FakeHosts
from plano.testing.provider import FakeProvider
from plano.testing.record import Recorded
from plano.testing.script import (
    Answer,
    Break,
    Failure,
    Reply,
    Verbatim,
    custom_tool_call,
    redacted_thinking,
    refusal,
    text,
    thinking,
    tool_call,
)
from plano.testing.server import serve

__all__ = [
    "WAYS",
    "Answer",
    "Break",
    "Failure",
    "FakeClock",
    "FakeHosts",
    "FakeProvider",
    "Received",
    "Recorded",
    "Reply",
    "Usage",
    "Verbatim",
    "ask",
    "custom_tool_call",
    "redacted_thinking",
    "refusal",
    "serve",
    "text",
    "thinking",
    "tool_call",
]
