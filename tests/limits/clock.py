"""A clock that a test moves."""

from __future__ import annotations

START = 1_795_988_000.0
"""2026-11-29 21:33:20 UTC, a Sunday."""


class Clock:
    def __init__(self, now: float = START) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds
