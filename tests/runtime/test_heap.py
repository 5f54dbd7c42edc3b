"""Memory that was used once is given back: the decision by itself, and `plano up` for real."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from pathlib import Path

import pytest

from plano.runtime import heap as memory
from plano.runtime.heap import MAX_SURPLUS, Surplus
from tests.test_cli import up

MB = 1_000_000
BODIES, SIZE = 300, 150_000


class Pages:
    """A heap by numbers: what trimming leaves, and what is unused on top of that."""

    def __init__(self, fixed: int) -> None:
        self.fixed = fixed
        self.free = 0
        self.trims = 0

    def unused(self) -> int:
        return self.fixed + self.free

    def trim(self) -> None:
        self.free = 0
        self.trims += 1


def test_what_is_free_for_a_while_is_given_back() -> None:
    heap = Pages(30 * MB)
    surplus = Surplus(heap)
    assert not surplus.look()
    heap.free = 200 * MB
    assert not surplus.look(), "it may be wanted again at once"
    assert surplus.look()
    assert heap.unused() == 30 * MB
    assert not surplus.look()
    assert not surplus.look()


def test_what_is_wanted_again_and_again_is_kept() -> None:
    heap = Pages(30 * MB)
    surplus = Surplus(heap)
    for free in (100 * MB, 0, 100 * MB, MAX_SURPLUS, 100 * MB, 0):
        heap.free = free
        assert not surplus.look()
    assert not heap.trims


def test_what_cannot_be_given_back_is_tried_once() -> None:
    heap = Pages(30 * MB)
    surplus = Surplus(heap)
    heap.fixed = 90 * MB
    assert [surplus.look() for _ in range(5)] == [False, True, False, False, False]


def test_what_is_gone_for_good_does_not_hide_what_comes() -> None:
    heap = Pages(90 * MB)
    surplus = Surplus(heap)
    heap.fixed = 30 * MB
    surplus.look()
    heap.free = 20 * MB
    assert [surplus.look() for _ in range(3)] == [False, True, False]


def test_elsewhere_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert memory.glibc() is None
    assert not memory.give_back()


def resident(pid: int) -> float:
    """MB."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = re.search(r"^Rss:\s+(\d+) kB", rollup, re.MULTILINE)
    assert found
    return int(found[1]) / 1000


def wait_for_at_most(limit: float, pid: int) -> None:
    end = time.monotonic() + 10
    while (now := resident(pid)) > limit:
        assert time.monotonic() < end, f"{now} MB are left, more than {limit}"
        time.sleep(0.1)


class Holder:
    """An upstream that answers none of a number of requests before all of them are there."""

    def __init__(self, amount: int) -> None:
        self._missing = amount
        self.all_there = asyncio.Event()
        self.go_on = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(length(head))
        self._missing -= 1
        if self._missing == 0:
            self.all_there.set()
        await self.go_on.wait()
        message = {"role": "assistant", "content": "Hello"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        body = json.dumps({"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]})
        fields = f"content-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close"
        writer.write(f"HTTP/1.1 200 OK\r\n{fields}\r\n\r\n{body}".encode())
        await writer.drain()
        writer.close()


def length(head: bytes) -> int:
    found = re.search(rb"content-length: ?(\d+)", head, re.IGNORECASE)
    assert found
    return int(found[1])


async def ask(url: str, size: int) -> bytes:
    """The status line of a reply to a body of about this size."""
    message = {"role": "user", "content": "x" * size}
    body = json.dumps({"model": "m", "store": False, "messages": [message]}).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    fields = f"host: localhost\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close"
    writer.write(f"POST /v1/chat/completions HTTP/1.1\r\n{fields}\r\n\r\n".encode() + body)
    reply = await reader.read()
    writer.close()
    return reply.partition(b"\r\n")[0]


@pytest.mark.skipif(memory.glibc() is None, reason="only the GNU C library keeps so much, and only it can be asked")
async def test_many_large_bodies_at_once_leave_nothing_behind(tmp_path: Path) -> None:
    holder = Holder(BODIES)
    upstream = await asyncio.start_server(holder, "127.0.0.1", 0, limit=2**20, backlog=BODIES)
    port = upstream.sockets[0].getsockname()[1]
    entry = f"{{model: openai/m, base_url: 'http://127.0.0.1:{port}', access_key: k, default: true}}"
    (tmp_path / "plano_config.yaml").write_text(f"model_providers: [{entry}]\n")
    # Nobody reads what it says meanwhile, so it shall say little.
    with up("--log-level", "warning", cwd=tmp_path) as (process, url, _):
        idle = resident(process.pid)
        asking = [asyncio.ensure_future(ask(url, SIZE)) for _ in range(BODIES)]
        async with asyncio.timeout(20):
            await holder.all_there.wait()
            held = resident(process.pid)
            holder.go_on.set()
            assert set(await asyncio.gather(*asking)) == {b"HTTP/1.1 200 OK"}
        assert held > idle + BODIES * SIZE / MB, "they were not all held at once"
        await asyncio.to_thread(wait_for_at_most, idle + 20, process.pid)
    upstream.close()
