"""What is particular to the memory store: its bound."""

from __future__ import annotations

import random
from typing import Any

import pytest

from plano.errors import InvalidRequest, TooLarge
from plano.state import Item, Turn
from plano.state.memory import OVERHEAD, TENANT
from tests.state.conftest import Clock, OpenState

KINDS = ["memory"]

SIZE = 100_000


def turn(id: str, size: int = SIZE) -> Turn:
    return Turn(id=id, kind="response", created=0.0, payload=b"x" * size)


async def test_what_was_written_to_longest_ago_goes_first(open_state: OpenState) -> None:
    store = open_state(max_bytes=TENANT + 4 * (SIZE + OVERHEAD))
    first = await store.put("acme", turn("a1"))
    await store.put("acme", turn("b"))
    await store.put("acme", turn("a2"), after=first)
    await store.put("acme", turn("c"))

    await store.put("acme", turn("d"))

    assert await store.get("acme", "b") is None
    assert len(await store.get_chain("acme", "a2")) == 2
    assert await store.get("acme", "c") is not None
    assert await store.get("acme", "d") is not None


async def test_a_chain_is_dropped_whole(open_state: OpenState) -> None:
    store = open_state(max_bytes=TENANT + 4 * (SIZE + OVERHEAD))
    first = await store.put("acme", turn("a1"))
    await store.put("acme", turn("a2"), after=first)
    for number in range(3):
        await store.put("acme", turn(f"b{number}"))

    assert await store.get("acme", "a1") is None
    assert await store.get("acme", "a2") is None


# --- several tenants ------------------------------------------------------------------------------


@pytest.mark.parametrize("one_chain", [False, True])
async def test_a_tenant_that_floods_the_store_drops_its_own_turns_and_no_others(
    open_state: OpenState, one_chain: bool
) -> None:
    store = open_state(max_bytes=10 * SIZE)
    first = await store.put("quiet", turn("q1"))
    await store.put("quiet", turn("q2"), after=first)
    await store.create_conversation("talking", "conv", b"", [Item("a", b"x" * SIZE)])
    last: Turn | None = None
    for number in range(100):
        try:
            last = await store.put("flood", turn(f"f{number}"), after=last if one_chain else None)
        except TooLarge:
            assert one_chain, "one conversation takes at most half of the store"

    assert len(await store.get_chain("quiet", "q2")) == 2
    assert await store.get_item("talking", "conv", "a") is not None
    assert last is not None
    assert await store.get("flood", last.id) is not None


async def test_a_turn_that_was_just_stored_is_found_however_much_its_tenant_holds(open_state: OpenState) -> None:
    store = open_state(max_bytes=10 * SIZE)
    for number in range(9):
        await store.put(f"t{number}", turn("a"))
    await store.put("large", turn("a", 4 * SIZE))

    assert await store.get("large", "a") is not None
    assert [bool(await store.get(f"t{number}", "a")) for number in range(9)].count(True) == 5


async def test_each_of_many_tenants_keeps_its_latest_turns(open_state: OpenState) -> None:
    tenants = [f"t{number}" for number in range(20)]
    store = open_state(max_bytes=20 * (TENANT + 3 * (1000 + OVERHEAD)))
    for number in range(10):
        for tenant in tenants:
            await store.put(tenant, turn(f"a{number}", 1000))
    for number in range(100):
        await store.put("t0", turn(f"b{number}", 1000))

    for tenant in tenants[1:]:
        assert [bool(await store.get(tenant, f"a{number}")) for number in range(10)] == [False] * 7 + [True] * 3


async def test_whatever_happens_the_store_stays_within_its_bytes_and_the_largest_tenant_goes_first(
    open_state: OpenState,
) -> None:
    draw = random.Random(7)
    store = open_state(max_bytes=200_000)
    backend: Any = store._backend
    kept: list[tuple[str, str]] = []
    for number in range(5000):
        tenant, id_ = f"t{draw.randrange(12)}", f"a{number}"
        size = draw.choice((10, 100, 1000, 10_000))
        before = {name: each.size for name, each in backend._tenants.items()}
        if kept and draw.random() < 0.3:
            await store.delete(*draw.choice(kept))
            continue
        await store.put(tenant, turn(id_, size))
        kept = [*kept[-100:], (tenant, id_)]
        assert await store.get(tenant, id_) is not None
        after = {name: each.size for name, each in backend._tenants.items()}
        lost = [name for name in before if name != tenant and after.get(name, 0) < before[name]]
        assert all(before[name] >= max(before.values()) - 10_000 - OVERHEAD - 1 for name in lost)
        held = sum(each.size for each in backend._tenants.values()) + TENANT * len(backend._tenants)
        assert held == backend._size <= 200_000
        assert len(backend._ranking._heap) < 200


async def test_small_turns_count_for_more_than_their_payload(open_state: OpenState) -> None:
    store = open_state(max_bytes=10 * OVERHEAD)
    for number in range(100):
        await store.put("acme", turn(f"t{number}", 1))

    found = [number for number in range(100) if await store.get("acme", f"t{number}")]

    assert found == list(range(91, 100))


async def test_what_does_not_fit_at_all_is_refused_and_drops_nothing(open_state: OpenState) -> None:
    store = open_state(max_bytes=TENANT + 2 * (SIZE + OVERHEAD))
    first = await store.put("acme", turn("a1"))
    second = await store.put("acme", turn("a2"), after=first)

    with pytest.raises(TooLarge, match="memory store"):
        await store.put("acme", turn("a3"), after=second)

    assert len(await store.get_chain("acme", "a2")) == 2
    assert await store.get("acme", "a3") is None


async def test_deleting_makes_room(open_state: OpenState) -> None:
    store = open_state(max_bytes=TENANT + 2 * (SIZE + OVERHEAD))
    await store.put("acme", turn("a"))
    await store.put("acme", turn("b"))
    await store.delete("acme", "b")

    await store.put("acme", turn("c"))

    assert await store.get("acme", "a") is not None


async def test_expired_turns_make_room_first(open_state: OpenState, clock: Clock) -> None:
    store = open_state(max_bytes=TENANT + 3 * (SIZE + OVERHEAD), ttl_seconds=100.0)
    await store.put("acme", turn("old"))
    clock.passes(100.0)
    await store.put("acme", turn("a"))
    await store.put("acme", turn("b"))
    await store.put("acme", turn("c"))

    assert [bool(await store.get("acme", id)) for id in ("old", "a", "b", "c")] == [False, True, True, True]


async def test_conversations_and_turns_share_the_bound(open_state: OpenState) -> None:
    store = open_state(max_bytes=TENANT + 4 * (SIZE + OVERHEAD))
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
    store = open_state(max_bytes=TENANT + 3 * (SIZE + OVERHEAD))
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
    store = open_state(max_bytes=TENANT + 3 * (SIZE + OVERHEAD))
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
