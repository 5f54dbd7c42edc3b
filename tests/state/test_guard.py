from __future__ import annotations

import asyncio

import pytest

from plano.errors import StoreUnavailable, TooLarge
from plano.state.guard import PATIENCE, PAUSE, Guard
from tests.state.conftest import Clock


class Broken(Exception):
    pass


async def answer() -> str:
    return "answer"


async def hang() -> str:
    await asyncio.Event().wait()
    return "never"


async def fail(error: Exception) -> str:
    raise error


def guard(deadline: float = 0.01, clock: Clock | None = None) -> Guard:
    return Guard("redis", (Broken,), deadline, renew=lambda: None, clock=clock or Clock())


async def test_what_is_in_time_is_handed_on() -> None:
    assert await guard().run(answer()) == "answer"


async def test_what_hangs_ends_at_the_deadline() -> None:
    with pytest.raises(StoreUnavailable, match="did not answer in time"):
        await guard().run(hang())


async def test_a_clients_own_errors_become_one(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(StoreUnavailable, match="cannot be used now") as caught:
        await guard(10.0).run(fail(Broken("redis://:secret@host")))
    assert isinstance(caught.value.__cause__, Broken)
    assert "secret" not in caught.value.message + caplog.text


async def test_other_errors_are_left_alone() -> None:
    for error in (TooLarge("413"), KeyError("a bug")):
        with pytest.raises(type(error)):
            await guard().run(fail(error))


async def test_after_some_timeouts_in_a_row_nothing_waits_any_more() -> None:
    subject = guard()
    for _ in range(PATIENCE):
        with pytest.raises(StoreUnavailable):
            await subject.run(hang())
    tried = False

    async def note() -> None:
        nonlocal tried
        tried = True

    with pytest.raises(StoreUnavailable, match="does not answer") as caught:
        await subject.run(note())
    assert not tried
    assert caught.value.retry_after == PAUSE


async def test_one_operation_at_a_time_finds_out_whether_it_answers_again() -> None:
    clock = Clock()
    subject = guard(clock=clock)
    for _ in range(PATIENCE):
        with pytest.raises(StoreUnavailable):
            await subject.run(hang())
    clock.passes(PAUSE)
    probe = asyncio.create_task(subject.run(hang()))
    await asyncio.sleep(0)
    with pytest.raises(StoreUnavailable, match="does not answer"):
        await subject.run(answer())
    with pytest.raises(StoreUnavailable, match="in time"):
        await probe
    clock.passes(PAUSE)

    assert await subject.run(answer()) == "answer"
    assert await subject.run(answer()) == "answer"


async def test_failures_that_come_at_once_do_not_shut_it() -> None:
    subject = guard(10.0)
    for _ in range(PATIENCE + 2):
        with pytest.raises(StoreUnavailable):
            await subject.run(fail(Broken()))

    assert await subject.run(answer()) == "answer"


async def test_a_success_between_timeouts_keeps_it_open() -> None:
    subject = guard()
    for _ in range(PATIENCE + 2):
        with pytest.raises(StoreUnavailable):
            await subject.run(hang())
        assert await subject.run(answer()) == "answer"


async def test_a_cancelled_caller_stays_cancelled() -> None:
    task = asyncio.create_task(guard(10.0).run(hang()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_timeout_renews_the_connections_and_a_failure_at_once_does_not() -> None:
    renewed: list[None] = []
    subject = Guard("redis", (Broken,), 0.05, renew=lambda: renewed.append(None), clock=Clock())
    with pytest.raises(StoreUnavailable):
        await subject.run(fail(Broken()))
    assert not renewed
    with pytest.raises(StoreUnavailable):
        await subject.run(hang())
    assert len(renewed) == 1


async def test_only_an_operation_that_proves_it_says_that_the_store_works(caplog: pytest.LogCaptureFixture) -> None:
    subject = guard(10.0)
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            await subject.run(fail(Broken()))
        assert await subject.run(answer(), proves=False) == "answer"
    assert "answers again" not in caplog.text
    await subject.run(answer())
    await subject.run(answer())
    assert [record.getMessage().rpartition(": ")[2] for record in caplog.records] == [
        "unavailable (Broken)",
        "answers again",
    ]
