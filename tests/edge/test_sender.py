"""A stream that breaks ends in one error event, for which the SDKs raise in their plainest loops."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import openai
import pytest

from plano import CallNext, Plano, Request, Response
from plano.frames import sse
from plano.testing import FakeProvider, ask, serve
from plano.types import CLIENT_DIALECTS, ClientDialect, Dialect
from tests.test_pairs import config

HOW = ["lost", "incomplete", "error"]


async def loop(there: str, client: ClientDialect, model: str) -> None:
    """The plainest loop over a stream of the SDK, which looks at nothing."""
    said: list[Any] = [{"role": "user", "content": "Hi"}]
    if client == "messages":
        async with anthropic.AsyncAnthropic(base_url=there, api_key="k", max_retries=0) as claude:
            async for _ in await claude.messages.create(model=model, messages=said, max_tokens=9, stream=True):
                pass
        return
    async with openai.AsyncOpenAI(base_url=f"{there}/v1", api_key="k", max_retries=0) as gpt:
        if client == "chat":
            async for _ in await gpt.chat.completions.create(model=model, messages=said, stream=True):
                pass
        else:
            async for _ in await gpt.responses.create(model=model, input="Hi", stream=True):
                pass


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("upstream", CLIENT_DIALECTS)
@pytest.mark.parametrize("client", CLIENT_DIALECTS)
async def test_the_sdk_raises_for_a_stream_that_breaks(client: ClientDialect, upstream: Dialect, how: Any) -> None:
    provider = FakeProvider()
    provider.breaks_after(6, how=how)
    raising = pytest.raises((openai.APIError, anthropic.APIError))
    with serve(provider) as url, serve(Plano(config(url))) as there, raising as caught:
        await loop(there, client, f"fake_{upstream}/m-1")
    if how == "error":
        assert "overloaded" in str(caught.value)


def events_of(body: bytes) -> list[dict[str, Any]]:
    return [json.loads(frame.data) for frame in sse.frames(body) if frame.data.startswith(b"{")]


@pytest.mark.parametrize("store", [False, True])
@pytest.mark.parametrize("how", ["lost", "incomplete"])
@pytest.mark.parametrize("after", [1, 2, 6])
async def test_a_forwarded_response_that_breaks_ends_in_one_event_with_both_forms(
    after: int, how: Any, store: bool
) -> None:
    provider = FakeProvider()
    provider.breaks_after(after, how=how)
    app = Plano(config("http://upstream.test"), transport=provider)
    received = await ask(app, "responses", "Hi", stream=True, model="fake_responses/m-1", store=store)
    *before, last = events_of(received.body)
    assert [event["sequence_number"] for event in before] == list(range(after))
    assert "error" not in {event["type"] for event in before}
    error = last.pop("error")
    assert last == {
        "type": "error",
        "code": error["code"],
        "message": error["message"],
        "param": None,
        "sequence_number": after,
    }
    assert error["type"] == "upstream_error"
    assert sse.frames(received.body)[-1].event == "error"


@pytest.mark.parametrize("upstream", CLIENT_DIALECTS)
async def test_a_filter_that_fails_in_the_middle_ends_the_numbers_of_what_went_out(upstream: Dialect) -> None:
    async def fails(request: Request, call_next: CallNext) -> Response:
        response = await call_next(request)
        pieces = response.pieces
        assert pieces is not None

        async def broken() -> AsyncIterator[bytes]:
            sent = 0
            async for piece in pieces:
                yield piece
                sent += piece.count(b"sequence_number")
                if sent > 4:
                    raise ZeroDivisionError

        return response.with_pieces(broken())

    provider = FakeProvider()
    provider.reply("one two three four five six")
    app = Plano(config("http://upstream.test"), transport=provider, filters=[fails])
    received = await ask(app, "responses", "Hi", stream=True, model=f"fake_{upstream}/m-1")
    *before, last = events_of(received.body)
    assert last["type"] == "error"
    assert last["error"]["code"] == last["code"] == "filter_error"
    assert last["sequence_number"] == before[-1]["sequence_number"] + 1
