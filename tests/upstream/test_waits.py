"""Waits between repeats."""

from __future__ import annotations

from random import Random

import pytest

from plano.upstream.waits import wait_before


@pytest.mark.parametrize(("retry_after", "wait"), [(0.4, 0.4), (2.0, 2.0), (10.0, 10.0), (10.1, None), (3600.0, None)])
@pytest.mark.parametrize("repeat", [0, 5])
def test_the_upstreams_word_is_kept_up_to_ten_seconds(repeat: int, retry_after: float, wait: float | None) -> None:
    assert wait_before(repeat, retry_after=retry_after, random=Random(1)) == wait


@pytest.mark.parametrize("said", [None, 0.0, -1.0])
@pytest.mark.parametrize(
    ("repeat", "most"), [(0, 0.25), (1, 0.5), (2, 1.0), (3, 2.0), (4, 4.0), (5, 8.0), (6, 8.0), (10_000, 8.0)]
)
def test_without_a_word_the_wait_is_anything_up_to_a_bound_that_doubles(
    repeat: int, most: float, said: float | None
) -> None:
    random = Random(2)
    waits = [wait_before(repeat, retry_after=said, random=random) or 0.0 for _ in range(1000)]
    assert all(0.0 <= wait <= most for wait in waits)
    assert min(waits) < 0.05 * most
    assert max(waits) > 0.95 * most
