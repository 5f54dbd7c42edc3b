"""What waits for the end of a turn of the loop. What of the server's and the transport's does: see their tests."""

from __future__ import annotations

import asyncio

from plano.runtime.outbox import Outbox, outbox_of


class Writer:
    def __init__(self, name: str, written: list[str]) -> None:
        self.flush = lambda: written.append(name)


async def test_all_of_a_turn_is_written_at_its_end() -> None:
    outbox, written = outbox_of(asyncio.get_running_loop()), list[str]()
    for name in "abcd":
        outbox.add(Writer(name, written), first=name in "bd")
    assert not written
    asyncio.get_running_loop().call_soon(written.append, "next")
    await asyncio.sleep(0)
    assert written == ["b", "d", "a", "c", "next"]
    for first in False, True:
        outbox.add(Writer("again", written), first=first)
        await asyncio.sleep(0)
        assert written.pop() == "again"


def test_each_loop_has_one_that_goes_with_it() -> None:
    async def mine() -> Outbox:
        found = outbox_of(asyncio.get_running_loop())
        assert found is outbox_of(asyncio.get_running_loop())
        return found

    assert asyncio.run(mine()) is not asyncio.run(mine())
