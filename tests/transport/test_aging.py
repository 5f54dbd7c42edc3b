"""An httpx transport is replaced when it is old, and closed when nothing is on it any more."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from plano.transport.aging import AgingTransport


class Body(httpx.AsyncByteStream):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"


class Made(httpx.AsyncBaseTransport):
    """A transport that counts, and fails once it is closed."""

    def __init__(self) -> None:
        self.asked = 0
        self.closed = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        assert not self.closed
        self.asked += 1
        if request.url.path == "/fails":
            raise httpx.ConnectError("refused")
        return httpx.Response(200, stream=Body())

    async def aclose(self) -> None:
        self.closed += 1


class Times:
    """An aging transport, the ones it made, and the time."""

    def __init__(self) -> None:
        self.made: list[Made] = []
        self.now = 0.0
        self.transport = AgingTransport(self._make, max_age=120.0, clock=lambda: self.now)

    def _make(self) -> Made:
        self.made.append(Made())
        return self.made[-1]

    async def begin(self, path: str = "/") -> httpx.Response:
        return await self.transport.handle_async_request(httpx.Request("POST", f"http://host{path}"))

    def closed(self) -> list[int]:
        return [made.closed for made in self.made]


async def test_requests_share_a_transport_until_it_is_old() -> None:
    times = Times()
    for times.now in (0.0, 60.0, 119.0, 120.0, 239.0, 240.0):
        response = await times.begin()
        assert await response.aread() == b"onetwo"
        await response.aclose()
    assert [made.asked for made in times.made] == [3, 2, 1]
    assert times.closed() == [1, 1, 0]
    await times.transport.aclose()
    assert times.closed() == [1, 1, 1]


async def test_an_old_transport_is_closed_when_the_last_reply_on_it_ends() -> None:
    times = Times()
    first, second = await times.begin(), await times.begin()
    times.now = 120.0
    third = await times.begin()
    assert times.closed() == [0, 0]
    assert await first.aread() == b"onetwo"
    await first.aclose()
    await first.stream.aclose()  # type: ignore[union-attr]  # a second time changes nothing
    assert times.closed() == [0, 0]
    await second.aclose()
    assert times.closed() == [1, 0]
    await third.aclose()
    await times.transport.aclose()


async def test_a_request_that_fails_is_on_no_transport() -> None:
    times = Times()
    with pytest.raises(httpx.ConnectError):
        await times.begin("/fails")
    times.now = 120.0
    await (await times.begin()).aclose()
    assert times.closed() == [1, 0]
    await times.transport.aclose()


async def test_closing_closes_what_is_still_read_from() -> None:
    times = Times()
    first = await times.begin()
    times.now = 120.0
    await times.begin()
    await times.transport.aclose()
    assert times.closed() == [1, 1]
    await first.aclose()
