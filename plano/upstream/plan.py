"""The order in which the candidates of one request are tried."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import NamedTuple, Protocol

from plano.candidates import Candidate, Group
from plano.errors import UpstreamFailure
from plano.limits.settings import Budget
from plano.provider import Target
from plano.routing.policy import CALLERS, POLICIES
from plano.routing.settings import ANY
from plano.upstream.breaker import Tiers
from plano.upstream.waits import wait_before
from plano.upstream.windows import larger


class Choices(Protocol):
    """Chooses among targets by their health and load; see `plano.upstream.choosing.Choosing`."""

    def tiers(self, groups: Sequence[Group]) -> list[Tiers]: ...

    def order(self, group: Group, tiers: Tiers) -> list[Candidate]: ...

    def cause(self, group: Group) -> UpstreamFailure: ...

    def keys(self, candidate: Candidate) -> list[Target]: ...

    def may_repeat(self, target: Target) -> bool: ...


class Step(NamedTuple):
    """One try.

    Attributes:
        candidate: the candidate that is tried.
        target: its target, with a key.
        wait: seconds to wait first.
        because: the failure that led here; None for the first try.
        again: whether this target was tried with this key before.
        over: the spent budget that this is charged to all the same, as its fallback.
    """

    candidate: Candidate
    target: Target
    wait: float = 0.0
    because: UpstreamFailure | None = None
    again: bool = False
    over: Budget | None = None


class _Choice:
    """A candidate, and what became of it.

    Attributes:
        group: the number of its group.
        keys: the target with the keys that were not tried yet, best first; None before it was looked at.
        tried: the target with the key that was tried last.
        failure: the latest failure.
        tries: the number of tries.
    """

    def __init__(self, candidate: Candidate, group: int, over: Budget | None = None) -> None:
        self.candidate = candidate
        self.group = group
        self.over = over
        self.keys: list[Target] | None = None
        self.tried: Target | None = None
        self.failure: UpstreamFailure | None = None
        self.asked_wait: float | None = None
        self.tries = 0
        self.repeated = 0
        self.skipped = False


class Plan:
    """The tries of one request.

    After a failure, other keys of the target come first, then the targets that were not tried, in order, and only then
    those that may be asked again; see `plano.routing.policy`.

    Args:
        groups: the groups of candidates: primaries, then fallbacks.
        choices: chooses among them.
        wanted: tells whether a candidate of a fallback may be used by the caller and is large enough.
        random: the source of jitter.
    """

    def __init__(
        self,
        groups: Sequence[Group],
        choices: Choices,
        *,
        wanted: Callable[[Candidate], bool],
        random: Random,
    ) -> None:
        self._groups = groups
        self._by = choices
        self._tiers = choices.tiers(groups)
        self._wanted = wanted
        self._random = random
        self._entered = 0
        self._choices: list[_Choice] = []
        self._places: set[tuple[str, str]] = set()
        self._current: _Choice | None = None
        self._rounds = 0

    def first(self) -> Step | None:
        """The first try; None if no candidate may be tried, because all of its keys rest."""
        self._enter()
        return self._another(None if self._choices else self._by.cause(self._groups[0]))

    def began(self, candidate: Candidate) -> None:
        """Notes a first try that was made without a plan, at the only primary target."""
        choice = _Choice(candidate, 0)
        choice.tried, choice.tries, choice.keys = candidate.keys[0], 1, []
        self._places.add((candidate.target.place, candidate.target.model))
        self._choices.append(choice)
        self._entered, self._current = 1, choice

    def other(self) -> Step | None:
        """A target that was not tried yet, to be asked at the same time as the one that is; None if there is none."""
        current = self._current
        step = self._another("timeout")
        self._current = current
        return step

    def leave_out(self, step: Step) -> None:
        """Notes that a target of `other` cannot be tried."""
        self._choice_of(step).skipped = True

    def failed(self, step: Step, failure: UpstreamFailure, *, asked_wait: float | None = None) -> None:
        """Notes the failure of a try. `asked_wait` is the seconds that the upstream asked to wait for."""
        choice = self._choice_of(step)
        choice.failure, choice.asked_wait = failure, asked_wait

    def after(self, step: Step, failure: UpstreamFailure) -> Step | None:
        """The try after a failure; None if there is none."""
        choice = self._current = self._choice_of(step)
        policy = POLICIES[failure]
        if policy.next_key and choice.keys:
            return self._use(choice, choice.keys.pop(0), failure)
        if policy.next_target:
            another = self._another(failure)
            if another is not None:
                return another
        return None if failure in CALLERS else self._again()

    def skip(self, step: Step, because: UpstreamFailure | None) -> Step | None:
        """The try in place of one that cannot be made, such as one that a limit refuses."""
        choice = self._choice_of(step)
        choice.skipped = True
        self._current = choice
        return self._another(because)

    def go_to(self, groups: Sequence[Group], over: Budget) -> None:
        """Adds the groups of a budget's fallback; they are charged to that budget."""
        for group, tiers in zip(groups, self._by.tiers(groups), strict=True):
            self._choices += self._made(group, tiers, 0, over)

    def _choice_of(self, step: Step) -> _Choice:
        return next(choice for choice in self._choices if choice.tried is step.target)

    def _another(self, failure: UpstreamFailure | None) -> Step | None:
        """A target that was not tried, which takes requests after this failure."""
        for choice in self._untried(failure):
            if choice.keys is None:
                choice.keys = self._by.keys(choice.candidate)
            if choice.keys:
                return self._use(choice, choice.keys.pop(0), failure)
            choice.skipped = True
        return None

    def _untried(self, failure: UpstreamFailure | None) -> Iterator[_Choice]:
        here = -1 if self._current is None else self._current.group
        while True:
            for choice in self._choices:
                if choice.tries or choice.skipped:
                    continue
                if choice.over is not None or failure is None or self._takes(choice, failure, here):
                    yield choice
            if self._entered == len(self._groups):
                return
            self._enter()

    def _enter(self) -> None:
        """Adds the candidates of the next group."""
        number = self._entered
        self._entered += 1
        self._choices += self._made(self._groups[number], self._tiers[number], number, None)

    def _made(self, group: Group, tiers: Tiers, number: int, over: Budget | None) -> Iterator[_Choice]:
        for candidate in self._by.order(group, tiers):
            place = candidate.target.place, candidate.target.model
            if place not in self._places and ((number == 0 and over is None) or self._wanted(candidate)):
                self._places.add(place)
                yield _Choice(candidate, number, over)

    def _takes(self, choice: _Choice, failure: UpstreamFailure, here: int) -> bool:
        """Whether a candidate takes a request after a failure at another one."""
        conditions = self._groups[choice.group].conditions
        if choice.group != here and conditions is not None:
            return failure in conditions
        if failure == "context_window":
            assert self._current is not None
            assert self._current.tried is not None, "a failure comes from a try"
            return larger(choice.candidate.target, self._current.tried)
        return failure in ANY

    def _again(self) -> Step | None:
        """A target that failed and may be asked again, after a wait."""
        for choice in sorted(self._choices, key=lambda choice: choice.repeated):
            if choice.failure is None or choice.tried is None or choice.skipped:
                continue
            again = POLICIES[choice.failure].again
            if again == "never" or (again == "once" and choice.repeated):
                continue
            wait = wait_before(self._rounds, retry_after=choice.asked_wait, random=self._random)
            if wait is None or not self._by.may_repeat(choice.tried):
                continue
            self._rounds += 1
            choice.repeated += 1
            return self._use(choice, choice.tried, choice.failure, wait)
        return None

    def _use(self, choice: _Choice, target: Target, because: UpstreamFailure | None, wait: float = 0.0) -> Step:
        again = choice.tried is target
        choice.tries += 1
        choice.tried = target
        self._current = choice
        return Step(choice.candidate, target, wait, because, again, choice.over)
