"""Effort words and thinking budgets."""

from __future__ import annotations

import pytest

from plano.capabilities.efforts import BUDGETS, EFFORTS, LEAST_BUDGET, budget_of, clamped, effort_of


@pytest.mark.parametrize(("effort", "budget"), BUDGETS.items())
def test_a_word_and_its_budget_are_each_other_s_translation(effort: str, budget: int) -> None:
    assert budget_of(effort, None) == budget
    assert effort_of(budget) == effort


@pytest.mark.parametrize(
    ("budget", "effort"),
    [
        (0, "none"),
        (-1, "none"),
        (1, "minimal"),
        (1025, "low"),
        (2049, "medium"),
        (10000, "high"),
        (16385, "xhigh"),
        (24577, "max"),
        (999999, "max"),
    ],
)
def test_a_budget_between_two_words_is_the_greater(budget: int, effort: str) -> None:
    assert effort_of(budget) == effort


@pytest.mark.parametrize(
    ("effort", "max_tokens", "budget"),
    [
        ("high", 16385, 16384),
        ("high", 16384, 16383),
        ("high", 1025, 1024),
        ("high", 1024, None),
        ("minimal", 1, None),
        ("none", None, None),
        ("no such word", None, None),
    ],
)
def test_a_budget_stays_below_max_tokens_or_there_is_none(effort: str, max_tokens: int, budget: int | None) -> None:
    assert budget_of(effort, max_tokens) == budget


def test_a_budget_below_the_least_is_raised_to_it() -> None:
    assert clamped(10, None) == LEAST_BUDGET


def test_the_words_go_from_none_to_max() -> None:
    assert EFFORTS[0] == "none"
    assert EFFORTS[-1] == "max"
    assert list(BUDGETS.values()) == sorted(BUDGETS.values())
