"""What every store does with conversations."""

from __future__ import annotations

import asyncio

import pytest

from plano.errors import InvalidRequest, TooLarge
from plano.state import Item, Page, Store
from tests.state.conftest import Clock, OpenState


def items(*ids: str) -> list[Item]:
    return [Item(id, f"payload of {id}".encode()) for id in ids]


def ids(page: Page | None) -> list[str]:
    assert page is not None
    return [item.id for item in page.items]


async def test_a_conversation_keeps_its_head_and_its_items_in_order(store: Store) -> None:
    assert await store.create_conversation("acme", "conv", b'{"m":"\x00\xff"}', items("a", "b"))
    assert await store.append_items("acme", "conv", items("d", "c"))

    assert await store.get_conversation("acme", "conv") == b'{"m":"\x00\xff"}'
    assert await store.list_items("acme", "conv") == Page(items("a", "b", "d", "c"), False)
    assert await store.get_item("acme", "conv", "d") == Item("d", b"payload of d")


async def test_items_are_kept_byte_for_byte(store: Store) -> None:
    strange = [Item("ü\U0001f600", bytes(range(256))), Item("{a} b:c", b""), Item("x" * 512, b"\x00" * 1000)]
    await store.create_conversation("acme", "conv", b"", strange)

    assert await store.list_items("acme", "conv") == Page(strange, False)
    assert await store.get_item("acme", "conv", "x" * 512) == strange[2]


async def test_an_empty_conversation_is_a_conversation(store: Store) -> None:
    await store.create_conversation("acme", "conv", b"head")

    assert await store.list_items("acme", "conv") == Page([], False)
    assert await store.append_items("acme", "conv", [])


async def test_a_taken_id_is_not_created_again(store: Store) -> None:
    await store.create_conversation("acme", "conv", b"first", items("a"))

    assert not await store.create_conversation("acme", "conv", b"second", items("b"))

    assert await store.get_conversation("acme", "conv") == b"first"
    assert ids(await store.list_items("acme", "conv")) == ["a"]


async def test_an_unknown_conversation_is_not_found(store: Store) -> None:
    assert await store.get_conversation("acme", "conv") is None
    assert not await store.update_conversation("acme", "conv", b"x")
    assert not await store.append_items("acme", "conv", items("a"))
    assert await store.list_items("acme", "conv") is None
    assert await store.list_items("acme", "conv", after="a") is None
    assert await store.get_item("acme", "conv", "a") is None
    assert not await store.delete_item("acme", "conv", "a")
    assert not await store.delete_conversation("acme", "conv")


async def test_another_tenants_conversation_is_not_found(store: Store) -> None:
    await store.create_conversation("acme", "conv", b"head", items("a"))

    assert await store.get_conversation("other", "conv") is None
    assert not await store.append_items("other", "conv", items("b"))
    assert await store.list_items("other", "conv") is None
    assert await store.get_item("other", "conv", "a") is None
    assert not await store.delete_conversation("other", "conv")
    assert await store.create_conversation("other", "conv", b"theirs")
    assert ids(await store.list_items("acme", "conv")) == ["a"]


async def test_a_head_can_be_replaced(store: Store) -> None:
    await store.create_conversation("acme", "conv", b"old", items("a"))

    assert await store.update_conversation("acme", "conv", b"new")

    assert await store.get_conversation("acme", "conv") == b"new"
    assert ids(await store.list_items("acme", "conv")) == ["a"]


@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_pages_follow_one_another(store: Store, order: str) -> None:
    names = [f"i{number}" for number in range(7)]
    await store.create_conversation("acme", "conv", b"", items(*names))
    expected = names if order == "asc" else names[::-1]

    seen: list[str] = []
    after = None
    more = True
    while more:
        page = await store.list_items("acme", "conv", limit=3, after=after, order=order)  # type: ignore[arg-type]
        seen += ids(page)
        assert page is not None
        after, more = seen[-1], page.more

    assert seen == expected
    last = await store.list_items("acme", "conv", limit=3, after=expected[-1], order=order)  # type: ignore[arg-type]
    assert last == Page([], False)


async def test_a_page_that_is_just_full_is_the_last(store: Store) -> None:
    await store.create_conversation("acme", "conv", b"", items("a", "b"))

    assert await store.list_items("acme", "conv", limit=2) == Page(items("a", "b"), False)
    assert await store.list_items("acme", "conv", limit=1) == Page(items("a"), True)


async def test_a_page_after_an_unknown_item_is_the_callers_mistake(store: Store) -> None:
    await store.create_conversation("acme", "conv", b"", items("a"))

    for after in ["nobody", "a\0b", "", "x" * 600]:
        with pytest.raises(InvalidRequest) as caught:
            await store.list_items("acme", "conv", after=after)
        assert caught.value.param == "after"


async def test_a_deleted_item_is_gone_and_the_others_stay_in_order(store: Store) -> None:
    await store.create_conversation("acme", "conv", b"", items("a", "b", "c"))

    assert await store.delete_item("acme", "conv", "b")

    assert await store.get_item("acme", "conv", "b") is None
    assert not await store.delete_item("acme", "conv", "b")
    assert ids(await store.list_items("acme", "conv")) == ["a", "c"]
    await store.append_items("acme", "conv", items("d"))
    assert ids(await store.list_items("acme", "conv", after="a")) == ["c", "d"]


async def test_an_item_id_may_occur_again(store: Store) -> None:
    await store.create_conversation("acme", "conv", b"", [Item("a", b"1"), Item("b", b"2"), Item("a", b"3")])

    assert ids(await store.list_items("acme", "conv")) == ["a", "b", "a"]
    assert await store.get_item("acme", "conv", "a") == Item("a", b"3")
    assert ids(await store.list_items("acme", "conv", after="a")) == []
    assert await store.delete_item("acme", "conv", "a")
    assert ids(await store.list_items("acme", "conv")) == ["b"]


async def test_a_deleted_conversation_is_gone_with_its_items(store: Store) -> None:
    await store.create_conversation("acme", "conv", b"old", items("a"))

    assert await store.delete_conversation("acme", "conv")

    assert await store.get_conversation("acme", "conv") is None
    assert await store.get_item("acme", "conv", "a") is None
    assert await store.create_conversation("acme", "conv", b"new")
    assert await store.list_items("acme", "conv") == Page([], False)


async def test_a_conversation_expires_after_its_last_change(open_state: OpenState, clock: Clock) -> None:
    store = open_state(ttl_seconds=100.0)
    await store.create_conversation("acme", "conv", b"old", items("a"))
    clock.passes(60.0)
    await store.append_items("acme", "conv", items("b"))
    clock.passes(60.0)
    await store.update_conversation("acme", "conv", b"new")
    clock.passes(60.0)
    assert ids(await store.list_items("acme", "conv")) == ["a", "b"]
    clock.passes(40.0)

    assert await store.get_conversation("acme", "conv") is None
    assert await store.list_items("acme", "conv") is None
    assert await store.get_item("acme", "conv", "a") is None
    assert not await store.append_items("acme", "conv", items("c"))
    assert not await store.update_conversation("acme", "conv", b"x")
    assert not await store.delete_item("acme", "conv", "a")
    assert not await store.delete_conversation("acme", "conv")


async def test_an_expired_conversations_id_can_be_used_again(open_state: OpenState, clock: Clock) -> None:
    store = open_state(ttl_seconds=100.0)
    await store.create_conversation("acme", "conv", b"old", items("a"))
    clock.passes(100.0)

    assert await store.create_conversation("acme", "conv", b"new", items("b"))

    assert await store.get_conversation("acme", "conv") == b"new"
    assert ids(await store.list_items("acme", "conv")) == ["b"]


async def test_pruning_removes_expired_conversations(open_state: OpenState, clock: Clock) -> None:
    store = open_state(ttl_seconds=100.0)
    for number in range(30):
        await store.create_conversation("acme", f"old{number}", b"", items("a"))
    clock.passes(60.0)
    await store.create_conversation("acme", "conv", b"", items("a"))
    clock.passes(60.0)

    assert await store.prune() in (0, 30)

    assert await store.prune() == 0
    assert ids(await store.list_items("acme", "conv")) == ["a"]


async def test_a_conversation_grows_to_its_limit_and_no_further(open_state: OpenState) -> None:
    store = open_state(max_chain_bytes=1000, max_item_bytes=900)
    await store.create_conversation("acme", "conv", b"", [Item("a", b"x" * 600)])

    with pytest.raises(TooLarge, match="1001 bytes"):
        await store.append_items("acme", "conv", [Item("b", b"x" * 200), Item("c", b"x" * 201)])
    with pytest.raises(TooLarge):
        await store.append_items("acme", "conv", [Item("b", b"x" * 901)])

    assert ids(await store.list_items("acme", "conv")) == ["a"]
    assert await store.append_items("acme", "conv", [Item("b", b"x" * 400)])
    await store.delete_item("acme", "conv", "a")
    assert await store.append_items("acme", "conv", [Item("c", b"x" * 600)])
    assert ids(await store.list_items("acme", "conv")) == ["b", "c"]


async def test_a_conversation_that_begins_over_the_limit_is_not_made(open_state: OpenState) -> None:
    store = open_state(max_chain_bytes=1000)

    with pytest.raises(TooLarge):
        await store.create_conversation("acme", "conv", b"", [Item("a", b"x" * 600), Item("b", b"x" * 600)])

    assert await store.get_conversation("acme", "conv") is None


async def test_appending_at_the_same_time_keeps_each_batch_together(store: Store) -> None:
    await store.create_conversation("acme", "conv", b"")
    batches = [[f"{batch}-{number}" for number in range(3)] for batch in range(20)]

    await asyncio.gather(*(store.append_items("acme", "conv", items(*batch)) for batch in batches))

    seen = ids(await store.list_items("acme", "conv"))
    assert sorted(seen[start : start + 3] for start in range(0, 60, 3)) == sorted(batches)
