"""The loop that tries the candidates of a request: the only place where plano repeats a request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from copy import copy
from functools import cached_property
from random import Random
from time import perf_counter
from typing import Protocol

from msgspec.structs import replace

from plano.candidates import Candidate, Group
from plano.dialects.signatures import holds_maker
from plano.errors import BudgetSpent, GatewayBusy, PermissionDenied, PlanoError, RateLimited
from plano.journal import Journal
from plano.limits.admission import Slots, busy
from plano.limits.settings import Budget
from plano.pipeline import CallNext
from plano.provider import Target
from plano.request import Request
from plano.response import Response
from plano.routing.policy import CALLERS, usefulness
from plano.runtime.clock import REAL, Clock
from plano.upstream.choosing import Choosing
from plano.upstream.final import NO_RETRY, final
from plano.upstream.keepalive import kept_alive
from plano.upstream.moving import marked, moved
from plano.upstream.pace import Pace
from plano.upstream.plan import Plan, Step
from plano.upstream.repeatable import may_hedge, only_there, repeatable
from plano.upstream.settings import MOST_ATTEMPTS, Resilience
from plano.upstream.tries import Grant, Hold, Try, hedged, made, over, refused
from plano.upstream.windows import fits

_NO_FALLBACK = b"x-plano-no-fallback"


_REFUSALS = (RateLimited, BudgetSpent, PermissionDenied, GatewayBusy)
"""The refusals of one target, by limits of the gateway's own."""


class TargetLimits(Protocol):
    """The limits and budgets that are judged for the target which is about to be asked."""

    def concerns(self, target: Target) -> bool:
        """Whether any may apply to it."""

    def for_target(self, request: Request, target: Target, *, over: Budget | None = None) -> Awaitable[Grant]:
        """Reserves what a try may use. Raises RateLimited or BudgetSpent."""


class Attempts:
    """Tries the candidates of a request, until one answers or no other try may be made.

    A request whose name has one target with one key, of which nothing is limited and nothing to be repeated, passes.

    Args:
        settings: how often and how long is tried.
        choices: chooses among targets by health and load.
        limits: limits and budgets of targets; None for none.
        queue_wait: the most seconds to wait for a slot of the only target that is left.
        groups_of: the groups of a name, for the fallback of a budget.
        clock: decides when the waits and the deadline are over.
        random: the source of jitter.
    """

    def __init__(
        self,
        settings: Resilience,
        *,
        choices: Choosing,
        limits: TargetLimits | None = None,
        queue_wait: float = 2.0,
        groups_of: Callable[[str], Sequence[Group]],
        clock: Clock = REAL,
        random: Random | None = None,
    ) -> None:
        self._alone = settings.max_attempts or 1
        self.most = settings.max_attempts or MOST_ATTEMPTS
        self.settings = settings
        self.choices = choices
        self.limits = limits
        self.queue_wait = queue_wait
        self.groups_of = groups_of
        self.clock = clock
        self.random = random or Random()

    def __call__(self, request: Request, call_next: CallNext) -> Awaitable[Response]:
        target = request.target or request.require_target()
        candidates = request.candidates
        if candidates is not None and candidates.first is not target:  # a filter has chosen another target
            candidates, request = None, replace(request, candidates=None)
        free = target.max_in_flight is None and (self.limits is None or not self.limits.concerns(target))
        if candidates is None and free and self._alone == 1:
            if not request.stream or self.settings.keepalive is None:
                return call_next(request)
            return kept_alive(request, _begun(request, call_next), self.settings.keepalive, self.clock)
        most = self._alone if candidates is None else self.most
        if (
            free
            and self.settings.hedge is None
            and (candidates is None or candidates.simple)
            and self._is_usual(request)
        ):
            answer = self._at_once(request, call_next, target, most)
        else:
            answer = _Run(self, request, call_next, most, self.clock.now(), len(request.journal.attempts)).answer()
        if not request.stream or self.settings.keepalive is None:
            return answer
        return kept_alive(request, answer, self.settings.keepalive, self.clock)

    def _is_usual(self, request: Request) -> bool:
        """Whether all targets are well, can take the request as it is, and were not asked for it before."""
        return self.choices.all_well and not request.journal.attempts and not holds_maker(request.raw)

    async def _at_once(self, request: Request, call_next: CallNext, target: Target, most: int) -> Response:
        """The answer of the only primary target, which nothing limits. The tries are planned only if it fails."""
        journal, began = request.journal, self.clock.now()
        trial = self.choices.begin(target, again=False)
        response = raised = None
        try:
            if not request.stream or most == 1:
                response = await call_next(request)
            else:
                async with self.patience(request, target, began):
                    response = await call_next(request)
                    if response.ok:
                        await response.begun()
        except BaseException as error:
            raised = error
        if raised is not None or response is None or response.status >= 400:
            run = _Run(self, request, call_next, most, began, 0)
            try:
                return await run.after(Hold(trial, None, None), response, raised)
            finally:
                raised = None  # otherwise this frame would hold the error that holds the frame
        journal.told = (*journal.told, _attempts_of(len(journal.attempts)))  # two where a server lacks an API
        if response.pieces is None:
            trial.succeeded()
            return response
        journal.committed = perf_counter()
        Hold(trial, None, None).answered(response, response.attempt)
        return self.paced(response)

    def patience(self, request: Request, target: Target, began: float) -> AbstractAsyncContextManager[object]:
        """The limit of the time in which a stream must bring its first output, for a request that began at `began`."""
        settings, own, now = self.settings, target.first_output, self.clock.now
        if own is None:
            own = settings.first_output_reasoning if _reasons(request) else settings.first_output
        return self.clock.timeout(max(0.0, min(own, began + settings.deadline - now())))

    def paced(self, response: Response) -> Response:
        """A response whose stream is broken off if it becomes too slow."""
        least = self.settings.minimum_rate
        if least is None or response.pieces is None:
            return response
        now, journal = self.clock.now, response.journal
        return response.through(Pace(least, lambda: now() - journal.sending))  # the client may be slow to read


class _Run:
    """The tries of one request.

    Args:
        most: the most attempts.
        began: when the request came.
        before: the number of its attempts before these.
    """

    # Few requests touch these, so their defaults stay on the class.
    _refusal: PlanoError | None = None
    _full: PlanoError | None = None
    _busy: Step | None = None
    _patient = False
    _second: Step | None = None
    _origin: Candidate | None = None
    _planned: Plan | None = None
    _failed: Sequence[Try] = ()

    def __init__(
        self, by: Attempts, request: Request, call_next: CallNext, most: int, began: float, before: int
    ) -> None:
        self._by = by
        self._request = request
        self._call_next = call_next
        self._most = most
        self._now = by.clock.now
        self._began = began
        self._due = began + by.settings.deadline
        self._before = before
        if before:
            _forget(request.journal)

    @cached_property
    def _groups(self) -> Sequence[Group]:
        """The candidates, as far as they may answer this request."""
        candidates, target = self._request.candidates, self._request.require_target()
        if candidates is None:
            return (Group((Candidate(target.name, (target,)),)),)
        primary = candidates.groups[0]
        if only_there(self._request):
            return (Group(primary.members[:1]),)
        return candidates.groups if self._takes_fallbacks else (primary,)

    @property
    def _takes_fallbacks(self) -> bool:
        """Whether the client is content with another model's answer."""
        return (self._request.headers.find(_NO_FALLBACK) or b"").lower() != b"true"

    async def after(self, hold: Hold, response: Response | None, raised: BaseException | None) -> Response:
        """The answer after the first try, which was made without a plan, failed."""
        self._origin = origin = self._groups[0].members[0]
        step = Step(origin, self._request.require_target())
        tried = await over(step, hold, self._request, response, raised, filtered=False, before=self._before)
        return await self._go_on(self._next([tried]))

    @property
    def _plan(self) -> Plan:
        if self._planned is None:
            self._planned = Plan(self._groups, self._by.choices, wanted=self._wanted, random=self._by.random)
            if self._origin is not None:
                self._planned.began(self._origin)
        return self._planned

    async def answer(self) -> Response:
        """The reply of the target that answered, or the most useful error.

        Raises:
            PlanoError: no target answered, and the most useful failure is not a response.
        """
        return await self._go_on(self._begin())

    async def _go_on(self, step: Step | None) -> Response:
        while step is not None:
            if step.wait and not await self._waited(step.wait):
                break
            try:
                hold = self._hold(step) if self._is_free(step.target) else await self._admitted(step)
            except _REFUSALS as why:
                step = self._instead(step, why)
                continue
            tries = [await self._try(step, hold)] if self._by.settings.hedge is None else await self._made(step, hold)
            if tries[-1].answers:
                return self._told(tries[-1])
            step = self._next(tries)
        return self._given_up()

    def _next(self, failed: Sequence[Try]) -> Step | None:
        """Notes tries that failed, and gives the one that follows; None if there is none."""
        self._failed = (*self._failed, *failed)
        for done in failed:
            if done.failure is not None:
                asked = None if done.attempt is None else done.attempt.retry_after
                self._plan.failed(done.step, done.failure, asked_wait=asked)
        return self._following(failed[-1])

    def _begin(self) -> Step:
        """The first try. Raises the error to tell if there is none, because all keys rest."""
        choices, members = self._by.choices, self._groups[0].members
        if len(members) == 1 and len(members[0].keys) == 1 and choices.all_well:
            self._origin = candidate = members[0]
            return Step(candidate, candidate.keys[0])
        step = self._plan.first()
        if step is None:
            raise choices.refusal(self._groups)
        self._origin = step.candidate if step.because is None else None
        return step

    def _wanted(self, candidate: Candidate) -> bool:
        """Whether a fallback may be used by this caller and is large enough for the request."""
        caller, target = self._request.caller, candidate.target
        allowed = caller.models is None or caller.may_use(candidate.name) or caller.may_use(target.name)
        return allowed and fits(self._request, target)

    async def _waited(self, seconds: float) -> bool:
        """Waits before a repetition. Returns False if there is no time for it."""
        if self._now() + seconds >= self._due:
            return False
        await self._by.clock.sleep(seconds)
        self._request.journal.waited += seconds
        return True

    def _is_free(self, target: Target) -> bool:
        """Whether nothing limits requests to a target."""
        limits = self._by.limits
        return target.max_in_flight is None and (limits is None or not limits.concerns(target))

    def _hold(self, step: Step, slots: Slots | None = None, grant: Grant | None = None) -> Hold:
        return Hold(self._by.choices.begin(step.target, again=step.again), slots, grant)

    async def _admitted(self, step: Step) -> Hold:
        """Takes what a try needs: a slot of the target, and the amounts of its limits and budgets.

        Raises:
            RateLimited: a limit refuses it.
            BudgetSpent: a budget refuses it.
            PermissionDenied: a budget has to pay for a target without a price.
            GatewayBusy: the target has as many requests as it may have.
        """
        target, limits = step.target, self._by.limits
        slots = self._by.choices.slots.of(target)
        if slots is not None and not slots.try_take():
            until = self._now() + self._by.queue_wait
            if not (self._patient and await slots.wait(min(until, self._due))):
                raise busy()
        grant = None
        try:
            if limits is not None and limits.concerns(target):
                grant = await limits.for_target(self._request, target, over=step.over)
        except BaseException:
            if slots is not None:
                slots.release()
            raise
        return self._hold(step, slots, grant)

    def _instead(self, step: Step, refused: PlanoError) -> Step | None:
        """The try in place of one that a limit of the gateway refused."""
        if isinstance(refused, GatewayBusy):
            self._request.journal.limit("max_in_flight", "target_full")
            self._busy, self._full = self._busy or step, refused
            instead = self._plan.skip(step, "overloaded")
            if instead is None and not self._failed and not self._patient:
                self._patient, instead = True, self._busy
            return instead
        self._refusal = self._refusal or refused
        if not isinstance(refused, BudgetSpent):
            return self._plan.skip(step, "rate_limit")
        budget = refused.budget
        assert isinstance(budget, Budget), "the judge raises it"
        if budget.fallback is not None and self._takes_fallbacks and not only_there(self._request):
            self._plan.go_to(self._by.groups_of(budget.fallback), budget)
        return self._plan.skip(step, "quota")

    async def _made(self, step: Step, hold: Hold) -> list[Try]:
        """One try, or two at once; if one answers, it is the last."""
        after = self._by.settings.hedge
        if after is None or self._left() < 2 or not may_hedge(self._request):
            return [await self._try(step, hold)]
        self._second = None
        tries = await hedged(self._try(step, hold), self._hedge, after, self._by.clock)
        won = tries[-1].answers and tries[-1].step is self._second
        self._request.journal.hedges += ("unneeded" if self._second is None else "won" if won else "lost",)
        return tries

    async def _hedge(self) -> Awaitable[Try] | None:
        """The second of two tries at once; None if there is none."""
        step = self._plan.other()
        if step is None or self._left() < 1:
            return None
        try:
            hold = await self._admitted(step)
        except PlanoError:  # the first one goes on
            self._plan.leave_out(step)
            return None
        self._second = step
        return self._try(step, hold)

    def _try(self, step: Step, hold: Hold) -> Awaitable[Try]:
        request, target = self._request, step.target
        try:
            onward = moved(request if target is request.target else replace(request, target=target), target)
        except Exception as error:  # it refers to what another vendor has stored, or cannot be read
            return refused(step, hold, error)
        held = request.stream and self._most > 1  # nothing is held back where no other attempt is possible
        patience = self._by.patience(request, target, self._began) if held else None
        return made(step, hold, onward, self._call_next, patience, filtered=self._lists_filters)

    @property
    def _lists_filters(self) -> bool:
        """Whether a fallback is there for a reply that the provider's content filter ended."""
        return self._request.candidates is not None and self._request.candidates.filters

    def _left(self) -> int:
        """The attempts that may still be made."""
        return self._most - (len(self._request.journal.attempts) - self._before)

    def _following(self, done: Try) -> Step | None:
        """The try after one that failed; None if there is none."""
        failure = done.failure
        if failure is None:  # this target cannot say the request
            return self._plan.skip(done.step, None)
        if self._left() < 1 or self._now() >= self._due or failure in ("invalid", "broken_stream"):
            return None
        if not done.unsent and repeatable(self._request) == "unsent":
            return None
        return self._plan.after(done.step, failure)

    def _told(self, done: Try) -> Response:
        journal, response = self._request.journal, done.response
        assert response is not None, "it answers"
        journal.committed = perf_counter()
        if done.step.over is not None:
            journal.moved = "budget"
        elif done.step.candidate is not self._origin:
            journal.moved = self._failed[0].failure if self._failed else done.step.because
        self._tell(journal)
        done.hold.answered(response, done.attempt)
        return self._by.paced(marked(self._request, response, done.step.target))

    def _tell(self, journal: Journal) -> None:
        journal.told = (*journal.told, _attempts_of(len(journal.attempts) - self._before))
        if journal.moved is not None:
            journal.told = (*journal.told, (b"x-plano-fallback", journal.moved.encode()))

    def _given_up(self) -> Response:
        """The answer after the last try failed: the error of the most useful class."""
        journal, failed = self._request.journal, self._failed
        self._tell(journal)
        best = min(failed, key=lambda done: usefulness(done.failure), default=None)
        refusal = self._refusal or (self._full if best is None else None)
        if refusal is not None and (best is None or best.failure not in CALLERS):
            raise copy(refusal)
        assert best is not None, "something was tried or refused"
        if self._most > 1 and best.failure is not None:
            return final(self._request, best, self._by.choices.health.back_in(self._groups))
        if best.response is not None:
            return best.response
        assert best.error is not None, "it failed"
        raise copy(best.error)


async def _begun(request: Request, call_next: CallNext) -> Response:
    """The reply of the only target there is, once it has begun."""
    response = await call_next(request)
    return await response.begun() if response.ok else response


def _forget(journal: Journal) -> None:
    """Forgets the headers about earlier tries, because a filter asks again."""
    journal.told = tuple(header for header in journal.told if header[0] not in _OURS)
    journal.moved = None


def _attempts_of(count: int) -> tuple[bytes, bytes]:
    """The header that tells the number of attempts."""
    return _AT_ONCE if count == 1 else (b"x-plano-attempts", b"%d" % count)


_AT_ONCE = (b"x-plano-attempts", b"1")
_OURS = (b"x-plano-attempts", b"x-plano-fallback", NO_RETRY[0])


def _reasons(request: Request) -> bool:
    """Whether a request asks the model to reason before it answers, or may do so."""
    return request.raw.find(b'"reasoning') >= 0 or request.raw.find(b'"thinking"') >= 0
