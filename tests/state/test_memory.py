"""What is particular to the memory store: its bound."""

from __future__ import annotations

import pytest

from plano.errors import InvalidRequest, TooLarge
from plano.state import Item, Turn
from plano.state.memory import OVERHEAD
from tests.state.conftest import Clock, OpenState

KINDS = ["memory"]

SIZE = 100_000


def turn(id: str, size: int = SIZE) -> Turn:
    return Turn(id=id, kind="response", created=0.0, payload=b"x" * size)


async def test_what_was_written_to_longest_ago_goes_first(open_state: OpenState) -> None:
    store = open_state(max_bytes=4 * (SIZE + OVERHEAD))
    first = await store.put("acme", turn("a1"))
    await store.put("other", turn("b"))
    await store.put("acme", turn("a2"), after=first)
    await store.put("acme", turn("c"))

    await store.put("acme", turn("d"))

    assert await store.get("other", "b") is None
    assert len(await store.get_chain("acme", "a2")) == 2
    assert await store.get("acme", "c") is not None
    assert await store.get("acme", "d") is not None


async def test_a_chain_is_dropped_whole(open_state: OpenState) -> None:
    store = open_state(max_bytes=4 * (SIZE + OVERHEAD))
    first = await store.put("acme", turn("a1"))
    await store.put("acme", turn("a2"), after=first)
    for number in range(3):
        await store.put("acme", turn(f"b{number}"))

    assert await store.get("acme", "a1") is None
    assert await store.get("acme", "a2") is None


async def test_small_turns_count_for_more_than_their_payload(open_state: OpenState) -> None:
    store = open_state(max_bytes=10 * OVERHEAD)
    for number in range(100):
        await store.put("acme", turn(f"t{number}", 1))

    found = [number for number in range(100) if await store.get("acme", f"t{number}")]

    assert found == list(range(91, 100))


async def test_what_does_not_fit_at_all_is_refused_and_drops_nothing(open_state: OpenState) -> None:
    store = open_state(max_bytes=2 * (SIZE + OVERHEAD))
    first = await store.put("acme", turn("a1"))
    second = await store.put("acme", turn("a2"), after=first)

    with pytest.raises(TooLarge, match="memory store"):
        await store.put("acme", turn("a3"), after=second)

    assert len(await store.get_chain("acme", "a2")) == 2
    assert await store.get("acme", "a3") is None


async def test_deleting_makes_room(open_state: OpenState) -> None:
    store = open_state(max_bytes=2 * (SIZE + OVERHEAD))
    await store.put("acme", turn("a"))
    await store.put("acme", turn("b"))
    await store.delete("acme", "b")

    await store.put("acme", turn("c"))

    assert await store.get("acme", "a") is not None


async def test_expired_turns_make_room_first(open_state: OpenState, clock: Clock) -> None:
    store = open_state(max_bytes=3 * (SIZE + OVERHEAD), ttl_seconds=100.0)
    await store.put("acme", turn("old"))
    clock.passes(100.0)
    await store.put("acme", turn("a"))
    await store.put("acme", turn("b"))
    await store.put("acme", turn("c"))

    assert [bool(await store.get("acme", id)) for id in ("old", "a", "b", "c")] == [False, True, True, True]


async def test_conversations_and_turns_share_the_bound(open_state: OpenState) -> None:
    store = open_state(max_bytes=4 * (SIZE + OVERHEAD))
    await store.create_conversation("acme", "conv", b"", [Item("a", b"x" * SIZE)])
    await store.put("acme", turn("t1"))
    await store.append_items("acme", "conv", [Item("b", b"x" * SIZE)])

    await store.put("acme", turn("t2"))

    assert await store.get("acme", "t1") is None
    page = await store.list_items("acme", "conv")
    assert page is not None
    assert [item.id for item in page.items] == ["a", "b"]

    await store.delete_item("acme", "conv", "a")
    await store.put("acme", turn("t3", SIZE // 2))
    assert await store.get_conversation("acme", "conv") is not None
    with pytest.raises(TooLarge):
        await store.append_items("acme", "conv", [Item("c", b"x" * 2 * SIZE), Item("d", b"x" * 2 * SIZE)])


async def test_the_default_time_to_live_is_a_day(open_state: OpenState, clock: Clock) -> None:
    store = open_state()
    await store.put("acme", turn("a"))
    clock.passes(86_399.0)
    assert await store.get("acme", "a") is not None
    clock.passes(1.0)
    assert await store.get("acme", "a") is None


async def test_what_is_dropped_while_it_is_continued_is_not_continued(open_state: OpenState) -> None:
    store = open_state(max_bytes=3 * (SIZE + OVERHEAD))
    first = await store.put("acme", turn("a1"))
    for number in range(3):
        await store.put("acme", turn(f"b{number}"))

    await store.put("acme", turn("a2"), after=first)
    await store.put("acme", turn("a3"), after=first)

    for id in ("a2", "a3"):
        assert await store.get("acme", id) is not None
        assert await store.get_chain("acme", id) == []


async def test_a_turn_of_a_store_that_was_closed_is_not_continued(open_state: OpenState) -> None:
    before, store = open_state(), open_state()
    root = await before.put("acme", turn("a1"))
    last = await before.put("acme", turn("a2"), after=root)
    await store.put("acme", turn("b1"))

    await store.put("acme", turn("a3"), after=last)

    assert await store.get_chain("acme", "a3") == []
    assert len(await store.get_chain("acme", "b1")) == 1


async def test_dropping_leaves_a_later_turn_of_the_same_id(open_state: OpenState) -> None:
    store = open_state(max_bytes=3 * (SIZE + OVERHEAD))
    await store.put("acme", turn("same"))
    await store.put("acme", turn("same"))
    for number in range(2):
        await store.put("acme", turn(f"b{number}"))

    assert await store.get("acme", "same") is not None


async def test_operations_are_counted(open_state: OpenState) -> None:
    store = open_state(max_bytes=SIZE)
    await store.put("acme", turn("a", 1))
    await store.get_chain("acme", "a")
    with pytest.raises(TooLarge):
        await store.put("acme", turn("b"))

    assert store.operations == {("put", True): 2, ("get_chain", True): 1}


async def test_what_need_not_be_waited_for_is_the_same_as_what_is(open_state: OpenState) -> None:
    store = open_state(max_item_bytes=SIZE)
    assert store.at_once
    first = store.put_at_once("acme", turn("a1"))
    second = store.put_at_once("acme", turn("a2"), after=first)
    assert await store.get_chain("acme", "a2") == [first, second]
    assert await store.get("other", "a1") is None
    assert store.operations["put", True] == 2
    with pytest.raises(TooLarge):
        store.put_at_once("acme", turn("a3", SIZE + 1))
    for id in ("", "x" * 1000, "a\0b"):
        with pytest.raises(InvalidRequest):
            store.put_at_once("acme", turn(id))
    assert await store.prune() == 0
