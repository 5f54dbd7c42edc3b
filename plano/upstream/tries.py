"""One try at a target, from its request to the first output of its reply, and two at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from time import perf_counter
from typing import NamedTuple, Protocol

from plano.attempt import Attempt
from plano.conversation import Usage
from plano.errors import CallerError, PlanoError, UpstreamError, UpstreamFailure, UpstreamTimeout, UpstreamUnavailable
from plano.journal import Journal
from plano.limits.admission import Slots
from plano.observability.usage import estimate_input
from plano.pipeline import CallNext
from plano.request import Request
from plano.response import Response
from plano.upstream.patience import Patience
from plano.upstream.plan import Step
from plano.upstream.standing import Trial


class Grant(Protocol):
    """The part of limits and budgets that a try holds."""

    @property
    def holds(self) -> bool: ...

    @property
    def reserves(self) -> bool: ...

    def settle(self, usage: Usage | None) -> None: ...

    async def release(self) -> None: ...


class Hold:
    """Everything that a try holds until it is over: its part in the target's health, a slot, and reservations."""

    def __init__(self, trial: Trial, slots: Slots | None, grant: Grant | None) -> None:
        self._trial = trial
        self._slots = slots
        self._grant = grant

    async def failed(self, failure: UpstreamFailure | None, attempt: Attempt | None) -> None:
        """Lets go after a failure; None if nothing was sent."""
        if failure is None:
            self._trial.cancelled()
        else:
            self._trial.failed(failure, None if attempt is None else attempt.retry_after)
        await self._free(attempt)

    async def abandoned(self, attempt: Attempt | None) -> None:
        """Lets go of a try that was broken off, because its client left or another one was faster."""
        self._trial.cancelled()
        await self._free(attempt)

    def answered(self, journal: Journal, attempt: Attempt | None, *, whole: bool) -> None:
        """Lets go when the reply is over, which a whole one is."""
        grant = self._grant
        if grant is not None and grant.reserves:
            journal.closers += (partial(_settle, grant, attempt),)
        seconds = None if attempt is None or attempt.sent is None else perf_counter() - attempt.sent
        if whole:
            self._trial.succeeded(seconds)
            if self._slots is not None:
                self._slots.release()
            if grant is not None and grant.holds:
                journal.releases += (grant.release,)
            return
        if seconds is not None:
            self._trial.begun(seconds)
        journal.releases += (partial(self._over, journal, attempt),)

    async def _over(self, journal: Journal, attempt: Attempt | None) -> None:
        if attempt is not None and attempt.failure == "broken_stream":
            self._trial.failed("broken_stream")
        elif journal.outcome == "aborted":
            self._trial.cancelled()
        else:
            self._trial.succeeded()
        if self._slots is not None:
            self._slots.release()
        if self._grant is not None:
            await self._grant.release()

    async def _free(self, attempt: Attempt | None) -> None:
        if self._slots is not None:
            self._slots.release()
        if self._grant is not None:
            self._grant.settle(None if attempt is None else attempt.usage)
            await self._grant.release()


def _settle(grant: Grant, attempt: Attempt | None, request: Request) -> None:
    grant.settle(None if attempt is None else attempt.usage)


class Try(NamedTuple):
    """A try that is over, or whose reply has begun.

    Attributes:
        response: its answer; None where it raised.
        error: what it raised.
        attempt: its record; None if nothing was sent.
        filtered: whether a filter of the provider's ended the reply before any output.
    """

    step: Step
    hold: Hold
    response: Response | None
    error: PlanoError | None
    attempt: Attempt | None
    filtered: bool = False

    async def drop(self) -> None:
        """Close a reply that began and is not wanted, because another one was faster."""
        if self.answers and self.response is not None:
            _charge(self.attempt, self.response.request)
            await self.hold.abandoned(self.attempt)
            await self.response.aclose()

    @property
    def answers(self) -> bool:
        """Whether its reply is the client's."""
        return self.response is not None and self.response.status < 400 and not self.filtered

    @property
    def failure(self) -> UpstreamFailure | None:
        """The class of its failure; None where the request could not be sent to this target."""
        return "content_filter" if self.filtered else None if self.attempt is None else self.attempt.failure

    @property
    def unsent(self) -> bool:
        """Whether it is certain that the upstream has not seen the request."""
        return self.attempt is None or (
            isinstance(self.error, UpstreamUnavailable | UpstreamTimeout) and not self.error.sent
        )


async def refused(step: Step, hold: Hold, error: PlanoError) -> Try:
    """A try that was not made, because its target cannot take the request."""
    await hold.abandoned(None)
    return Try(step, hold, None, error, None)


async def made(
    step: Step,
    hold: Hold,
    request: Request,
    call_next: CallNext,
    patience: float | None,
    *,
    filtered: bool,
) -> Try:
    """A try, up to the first output of a stream.

    Args:
        call_next: asks the target.
        patience: seconds in which a stream must bring its first output; None for a whole reply.
        filtered: whether a reply that the provider's filter ended before any output is a failure.
    """
    before, response = len(request.journal.attempts), None
    try:
        if patience is None:
            response = await call_next(request)
        else:
            with Patience(patience):
                response = await call_next(request)
                if response.ok:
                    await response.begun()
    except BaseException as raised:
        return await over(step, hold, request, response, raised, filtered=filtered, before=before)
    return await over(step, hold, request, response, None, filtered=filtered, before=before)


async def over(
    step: Step,
    hold: Hold,
    request: Request,
    response: Response | None,
    raised: BaseException | None,
    *,
    filtered: bool,
    before: int,
) -> Try:
    """A try that was made.

    Args:
        response: its answer, also one whose stream has failed before any output.
        raised: what ended it; it is raised again if it is no failure of the target's.
        filtered: as in `made`.
        before: the number of attempts before this one.
    """
    attempt = _attempt_of(step, request, before)
    error: PlanoError | None = None
    if isinstance(raised, TimeoutError):
        error = UpstreamTimeout("The upstream gave no output in time.")
        error.__cause__ = raised
    elif isinstance(raised, UpstreamError | CallerError):
        error = raised
    elif raised is not None:
        _charge(attempt, request)
        await hold.abandoned(attempt)
        if response is not None:
            await response.aclose()
        try:
            raise raised
        finally:
            del raised  # otherwise this frame would hold the error that holds the frame
    if attempt is not None:
        attempt.pause = step.wait
        if isinstance(error, UpstreamTimeout):
            attempt.fail("timeout")
            if error.sent:
                _charge(attempt, request)
    done = Try(step, hold, response if error is None else None, error, attempt)
    if filtered and done.answers and response is not None and response.filtered:
        done = done._replace(filtered=True)
    if not done.answers:
        await hold.failed(done.failure, attempt)
        if response is not None and (error is not None or done.filtered):
            await response.aclose()
    return done


def _attempt_of(step: Step, request: Request, known: int) -> Attempt | None:
    """The record of a try; None if nothing was sent."""
    return next((each for each in request.journal.attempts[known:] if each.target is step.target), None)


def _charge(attempt: Attempt | None, request: Request) -> None:
    """Estimates what a try cost that was broken off: the upstream has read the request."""
    if attempt is not None and attempt.usage is None:
        attempt.usage = attempt.said() or Usage(
            input_tokens=estimate_input(request.raw), output_tokens=0, estimated=("input", "output")
        )


async def hedged(
    first: Awaitable[Try], second: Callable[[], Awaitable[Awaitable[Try] | None]], after: float
) -> list[Try]:
    """Two tries at once, the second one if the first has not answered in time.

    Args:
        second: makes the second try; None if there is none.
        after: seconds.

    Returns:
        The tries that are over, in order; if one answers, it is the last. The other one was broken off then.
    """
    running = {asyncio.ensure_future(first)}
    over: list[Try] = []
    try:
        done, running = await asyncio.wait(running, timeout=after)
        if not done:
            other = await second()
            if other is not None:
                running.add(asyncio.ensure_future(other))
        while running and not done:
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            over += [task.result() for task in done if not task.result().answers]
            done = {task for task in done if task.result().answers}
        answers = [task.result() for task in done]
        for late in answers[1:]:
            await late.drop()
        return [*over, *answers[:1]]
    finally:
        for task in running:
            task.cancel()
        for task in running:
            with suppress(asyncio.CancelledError):
                await (await task).drop()
