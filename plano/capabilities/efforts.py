"""Reasoning efforts, converted between words and numbers of tokens.

chat (`reasoning_effort`) and responses (`reasoning.effort`) take a word; messages takes a word
(`output_config.effort`) or a number of tokens (`thinking.budget_tokens`). No vendor publishes the tokens that belong
to its words. The table here is this project's own, and `docs/translation.md` promises it.
"""

from __future__ import annotations

LEAST_BUDGET = 1024
"""Thinking tokens. The messages API refuses a smaller `budget_tokens`."""

BUDGETS: dict[str, int] = {
    "minimal": 1024,
    "low": 2048,
    "medium": 8192,
    "high": 16384,
    "xhigh": 24576,
    "max": 32768,
}
"""Thinking tokens for each word but `none`, smallest first."""

EFFORTS = ("none", *BUDGETS)
"""Every word, from the least effort to the most."""

NOT_THINKING = "an effort is how hard to think, and thinking is disabled"
"""The reason to drop an effort on the way to chat and responses, if a messages client asks for it without thinking."""


def budget_of(effort: str, max_tokens: int | None) -> int | None:
    """Thinking tokens for `effort`, fewer than `max_tokens` (output tokens, thinking included) if that is given.

    None if there can be no thinking: the effort is `none` or unknown, or `max_tokens` leaves no room for the
    least budget.
    """
    budget = BUDGETS.get(effort)
    return None if budget is None else clamped(budget, max_tokens)


def clamped(budget: int, max_tokens: int | None) -> int | None:
    """`budget` as the messages API takes it, at least `LEAST_BUDGET` and less than `max_tokens`; None if both cannot
    be."""
    if max_tokens is not None:
        budget = min(budget, max_tokens - 1)
        if budget < LEAST_BUDGET:
            return None
    return max(budget, LEAST_BUDGET)


def effort_of(budget: int) -> str:
    """The smallest effort whose budget is at least `budget` thinking tokens; `none` for no tokens."""
    if budget <= 0:
        return "none"
    for effort, tokens in BUDGETS.items():
        if budget <= tokens:
            return effort
    return "max"
