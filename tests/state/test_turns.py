"""What every store does with turns."""

from __future__ import annotations

import asyncio

import pytest

from plano.errors import InvalidRequest, TooLarge
from plano.state import Store, Turn
from tests.state.conftest import Clock, OpenState


def turn(id: str, payload: bytes | str = b"", kind: str = "response") -> Turn:
    payload = payload.encode() if isinstance(payload, str) else payload
    return Turn(id=id, kind=kind, created=1_800_000_000.25, payload=payload or id.encode())


async def put_chain(store: Store, *ids: str, tenant: str = "acme") -> Turn:
    """Stores turns that continue one another; returns the last."""
    last: Turn | None = None
    for id in ids:
        last = await store.put(tenant, turn(id), after=last)
    assert last is not None
    return last


def ids(turns: list[Turn]) -> list[str]:
    return [found.id for found in turns]


async def test_a_chain_is_read_from_its_first_turn_to_the_one_asked_for(store: Store) -> None:
    await put_chain(store, "one", "two", "three", "four")

    assert ids(await store.get_chain("acme", "four")) == ["one", "two", "three", "four"]
    assert ids(await store.get_chain("acme", "two")) == ["one", "two"]
    assert ids(await store.get_chain("acme", "one")) == ["one"]


async def test_a_turn_comes_back_as_it_was_stored(store: Store) -> None:
    first = await store.put("acme", turn("one", kind="chat"))
    await store.put("acme", turn("two", b"\x00\xff", kind="response"), after=first)

    found = await store.get("acme", "two")

    assert found is not None
    assert (found.id, found.parent, found.kind, found.created) == ("two", "one", "response", 1_800_000_000.25)
    assert found.payload == b"\x00\xff"
    assert found == (await store.get_chain("acme", "two"))[-1]
    assert [step.kind for step in await store.get_chain("acme", "two")] == ["chat", "response"]


@pytest.mark.parametrize(
    "payload",
    [
        bytes(range(256)) * 40,
        b"\x00" * 300,
        '{"a": "\\u0000 \U0001f600 \u2028 \ufffd"}'.encode(),
        b"\xff\xfe not utf-8",
        b"x" * 3_000_000,
    ],
    ids=["every byte", "NUL", "unicode", "not utf-8", "large"],
)
async def test_a_payload_is_kept_byte_for_byte(store: Store, payload: bytes) -> None:
    await store.put("acme", turn("one", payload))

    (found,) = await store.get_chain("acme", "one")

    assert found.payload == payload


async def test_an_empty_payload_is_a_payload(store: Store) -> None:
    await store.put("acme", Turn(id="one", kind="response", created=0.0, payload=b""))

    assert [found.payload for found in await store.get_chain("acme", "one")] == [b""]


async def test_ids_and_tenants_are_any_text(store: Store) -> None:
    names = ["{resp}", "a:b", "a b", "ü\U0001f600", "' OR 1=1 --", "%s", "x" * 512]
    for name in names:
        await store.put(name, turn(name))

    for name in names:
        assert ids(await store.get_chain(name, name)) == [name]


async def test_what_cannot_be_an_id_is_not_found_and_not_stored(store: Store) -> None:
    for name in ["", "a\0b", "x" * 513, "\ud800"]:
        assert await store.get_chain("acme", name) == []
        assert await store.get("acme", name) is None
        assert not await store.delete("acme", name)
        with pytest.raises(InvalidRequest):
            await store.put("acme", turn(name, b"x"))


async def test_an_unknown_id_is_not_found(store: Store) -> None:
    assert await store.get_chain("acme", "nobody") == []
    assert await store.get("acme", "nobody") is None
    assert not await store.delete("acme", "nobody")


async def test_another_tenants_id_is_not_found(store: Store) -> None:
    await put_chain(store, "one", "two", tenant="acme")

    assert await store.get_chain("other", "two") == []
    assert await store.get("other", "two") is None
    assert not await store.delete("other", "two")
    assert ids(await store.get_chain("acme", "two")) == ["one", "two"]


async def test_tenants_may_use_the_same_id(store: Store) -> None:
    await store.put("acme", turn("one", b"acme's"))
    await store.put("other", turn("one", b"other's"))
    await store.delete("other", "one")

    assert [found.payload for found in await store.get_chain("acme", "one")] == [b"acme's"]


async def test_tenant_and_id_do_not_run_into_each_other(store: Store) -> None:
    await store.put("ab", turn("c"))

    assert await store.get("a", "bc") is None
    assert await store.get("abc", "") is None


async def test_two_continuations_are_two_chains(store: Store) -> None:
    root = await put_chain(store, "one")
    left = await store.put("acme", turn("left"), after=root)
    await store.put("acme", turn("right"), after=root)
    await store.put("acme", turn("left2"), after=left)

    assert ids(await store.get_chain("acme", "left2")) == ["one", "left", "left2"]
    assert ids(await store.get_chain("acme", "right")) == ["one", "right"]


async def test_fifty_branches_at_once_are_fifty_chains(store: Store) -> None:
    root = await put_chain(store, "one", "two")

    async def branch(number: int) -> None:
        mine = await store.put("acme", turn(f"b{number}"), after=root)
        await store.put("acme", turn(f"c{number}"), after=mine)
        assert ids(await store.get_chain("acme", f"c{number}")) == ["one", "two", f"b{number}", f"c{number}"]

    await asyncio.gather(*(branch(number) for number in range(50)))


async def test_many_writers_at_once_lose_nothing(store: Store) -> None:
    await asyncio.gather(*(put_chain(store, f"a{n}", f"b{n}", tenant=f"t{n % 7}") for n in range(100)))

    chains = await asyncio.gather(*(store.get_chain(f"t{n % 7}", f"b{n}") for n in range(100)))

    assert [ids(chain) for chain in chains] == [[f"a{n}", f"b{n}"] for n in range(100)]


@pytest.mark.parametrize("kind", ["sqlite", "redis", "redis-cluster", "postgres"])
async def test_another_process_reads_a_turn_as_soon_as_it_is_acknowledged(open_state: OpenState) -> None:
    here, there = open_state(), open_state()
    last = None
    for number in range(20):
        writer, reader = (here, there) if number % 2 else (there, here)
        last = await writer.put("acme", turn(f"t{number}"), after=last)
        assert len(await reader.get_chain("acme", f"t{number}")) == number + 1
    assert here.shared


@pytest.mark.parametrize("kind", ["memory"])
async def test_memory_says_that_it_is_not_shared(store: Store) -> None:
    assert not store.shared


async def test_a_long_chain_keeps_its_order(store: Store) -> None:
    names = [f"t{number:03}" for number in range(150)]
    await put_chain(store, *names)

    assert ids(await store.get_chain("acme", names[-1])) == names


async def test_an_id_expires(open_state: OpenState, clock: Clock) -> None:
    store = open_state(ttl_seconds=100.0)
    await put_chain(store, "one")
    clock.passes(99.0)
    assert ids(await store.get_chain("acme", "one")) == ["one"]
    clock.passes(1.0)

    assert await store.get_chain("acme", "one") == []
    assert await store.get("acme", "one") is None
    assert not await store.delete("acme", "one")


async def test_a_later_turn_keeps_its_ancestors(open_state: OpenState, clock: Clock) -> None:
    store = open_state(ttl_seconds=100.0)
    first = await put_chain(store, "one")
    clock.passes(60.0)
    await store.put("acme", turn("two"), after=first)
    clock.passes(60.0)
    await store.prune()

    assert ids(await store.get_chain("acme", "two")) == ["one", "two"]
    assert await store.get_chain("acme", "one") == []


async def test_pruning_removes_what_has_expired_and_nothing_else(open_state: OpenState, clock: Clock) -> None:
    store = open_state(ttl_seconds=100.0)
    for number in range(50):
        await put_chain(store, f"old{number}", f"older{number}")
    clock.passes(60.0)
    await put_chain(store, "one", "two")
    clock.passes(60.0)

    removed = await store.prune()

    assert removed in (0, 50)  # Redis drops them itself; memory may have done so on the last write
    assert await store.prune() == 0
    assert ids(await store.get_chain("acme", "two")) == ["one", "two"]
    assert await store.get_chain("acme", "older7") == []


async def test_a_deleted_turn_is_gone_and_takes_the_chains_through_it_along(store: Store) -> None:
    await put_chain(store, "one", "two", "three")

    assert await store.delete("acme", "two")

    assert await store.get("acme", "two") is None
    assert await store.get_chain("acme", "two") == []
    assert await store.get_chain("acme", "three") == []
    assert ids(await store.get_chain("acme", "one")) == ["one"]
    still_there = await store.get("acme", "three")
    assert still_there is not None
    assert still_there.payload == b"three"
    assert not await store.delete("acme", "two")


async def test_a_turn_after_a_deleted_one_is_stored_and_not_continued(store: Store) -> None:
    first = await put_chain(store, "one")
    await store.delete("acme", "one")

    await store.put("acme", turn("two"), after=first)

    assert await store.get_chain("acme", "two") == []
    assert await store.get("acme", "two") is not None


async def test_an_id_used_again_leads_to_the_later_turn_and_changes_no_chain(store: Store) -> None:
    first = await store.put("acme", turn("again", b"first"))
    await store.put("acme", turn("child"), after=first)
    await store.put("acme", turn("again", b"second"))

    assert [found.payload for found in await store.get_chain("acme", "again")] == [b"second"]
    assert [found.payload for found in await store.get_chain("acme", "child")] == [b"first", b"child"]


async def test_an_upstream_that_gives_every_turn_the_same_id_makes_no_circle(store: Store) -> None:
    last = None
    for number in range(3):
        last = await store.put("acme", turn("same", f"{number}"), after=last)

    assert [found.payload for found in await store.get_chain("acme", "same")] == [b"0", b"1", b"2"]
    assert await store.delete("acme", "same")
    assert await store.get("acme", "same") is None


async def test_a_payload_over_the_limit_is_refused_and_nothing_is_stored(open_state: OpenState) -> None:
    store = open_state(max_item_bytes=1000)
    await store.put("acme", turn("fits", b"x" * 1000))

    with pytest.raises(TooLarge, match="1001 bytes") as caught:
        await store.put("acme", turn("one", b"x" * 1001))

    assert caught.value.status == 413
    assert await store.get("acme", "one") is None


async def test_a_chain_over_the_limit_is_refused_with_its_size(open_state: OpenState) -> None:
    store = open_state(max_chain_bytes=1000)
    first = await store.put("acme", turn("one", b"x" * 400))
    second = await store.put("acme", turn("two", b"x" * 600), after=first)
    await store.put("acme", turn("three", b"x"), after=second)

    assert len(await store.get_chain("acme", "two")) == 2
    with pytest.raises(TooLarge, match="1001 bytes") as caught:
        await store.get_chain("acme", "three")
    assert caught.value.param == "previous_response_id"
    assert (await store.get("acme", "three")) is not None


async def test_pings_leave_nothing_behind_that_grows(store: Store) -> None:
    for number in range(5):
        await store.ping()
        await store.put("acme", turn(f"t{number}"))
    assert await store.prune() <= 1
    assert await store.prune() == 0
    assert [bool(await store.get("acme", f"t{number}")) for number in range(5)] == [True] * 5
    await store.ping()
