from __future__ import annotations

import asyncio

import pytest

from plano.runtime import deadlines
from plano.runtime.patience import Patience


@pytest.fixture(autouse=True)
def short_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadlines, "ROUND_SECONDS", 0.01)


async def test_what_is_in_time_goes_on() -> None:
    async with Patience(30.0):
        await asyncio.sleep(0.03)
    await asyncio.sleep(0.03)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


@pytest.mark.parametrize("seconds", [0.0, 0.02])
async def test_what_is_late_is_broken_off(seconds: float) -> None:
    with pytest.raises(TimeoutError):
        async with Patience(seconds):
            await asyncio.sleep(30.0)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0.03)  # and nothing is cancelled later


async def test_an_error_of_the_block_is_its_own() -> None:
    with pytest.raises(ValueError, match="own"):
        async with Patience(30.0):
            raise ValueError("own")


async def test_a_cancellation_from_outside_stays_one() -> None:
    async def waits() -> None:
        async with Patience(30.0):
            await asyncio.sleep(30.0)

    task = asyncio.create_task(waits())
    await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancellation_from_outside_wins_over_a_late_block() -> None:
    """Both come before the task runs again."""

    async def waits(patience: Patience) -> None:
        async with patience:
            await asyncio.sleep(30.0)

    made: list[Patience] = []

    async def begins() -> None:
        made.append(Patience(30.0))
        await waits(made[0])

    task = asyncio.create_task(begins())
    await asyncio.sleep(0.02)
    made[0].overdue()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_blocks_within_each_other_break_off_the_one_that_is_late() -> None:
    async with Patience(30.0):
        with pytest.raises(TimeoutError):
            async with Patience(0.02):
                await asyncio.sleep(30.0)
        await asyncio.sleep(0.02)
