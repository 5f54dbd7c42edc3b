"""Work grows as its input does: lines of Python are counted for inputs of one, two, four and eight times a size."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from benchmarks.growth import SIZES, Growing, steepness, works
from plano.frames import sse
from tests.documents import ROOT

FIRST = 30
MOST = 2.3
"""See `benchmarks.growth.MOST`. Lines vary less than instructions."""

OURS = tuple(str(ROOT / folder) for folder in ("plano", "filters", "providers"))
WORKS = list(works())


def lines(work: Callable[[], object]) -> int:
    """The lines of plano that run, each as often as it does, turns of comprehensions included."""
    count = 0

    def line(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        count += event == "line"
        return line

    def call(frame: FrameType, event: str, _: Any) -> Any:
        return line if frame.f_code.co_filename.startswith(OURS) else None

    before = sys.gettrace()
    sys.settrace(call)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("growing", WORKS, ids=[work.name for work in WORKS])
def test_work_grows_no_faster_than_its_input(growing: Growing) -> None:
    growing.make(FIRST)()  # what is made once is not counted
    costs = [lines(growing.make(FIRST * size)) for size in SIZES]
    assert costs[0] > 0
    assert steepness(costs) <= MOST, f"{costs} lines"


def test_work_that_grows_too_fast_is_found() -> None:
    def quadratic(n: int) -> None:
        for _ in range(n):
            sse.frames(b": ping\n\n" * n)

    costs = [lines(lambda size=size: quadratic(FIRST * size)) for size in SIZES]
    assert steepness(costs) > MOST
