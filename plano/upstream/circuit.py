"""The circuit of one target: whether its server is well enough to be sent requests.

    phase     event                                            next phase
    in        5 failures in a row, or half of 20 in 30 s       ejected, for 10 s
    ejected   the time is over, and a request begins           ejected; that request is the probe
    ejected   the probe fails                                  ejected, for twice as long, at most 5 min
    ejected   the probe is answered                            ramping
    ramping   as in `in`                                       ejected, for twice as long
    ramping   10 s are over, and a request succeeds            in

Envoy's outlier detection is the model, with two changes: a request is a probe before a target is back in full, and
the times are those of vendors' outages rather than of a cluster's hosts. A request that began before an ejection says
nothing about the time after it, so its outcome is left out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, MutableSet
from math import exp, inf
from random import Random
from typing import Literal, TypeAlias

from plano.errors import UpstreamFailure
from plano.upstream.retry_budget import RetryBudget

Phase: TypeAlias = Literal["in", "ejected", "ramping"]

IN_A_ROW = 5
"""The failures in a row that eject a target."""

WINDOW = 30.0
"""Seconds over which the share of failures is taken."""

SLICE = 1.0
"""Seconds by which that time may be wrong."""

FEWEST = 20
"""The least requests within `WINDOW` of which a share is taken."""

SHARE = 0.5
"""The share of failures that ejects a target."""

FIRST_EJECTION, LONGEST_EJECTION = 10.0, 300.0
"""Seconds of the first ejection, and the most to which they double."""

SPREAD = 0.2
"""The share by which an ejection is shorter or longer, so that several gateways do not probe at the same moment."""

RAMP = 10.0
"""Seconds in which the share of a target that is back grows from nothing to all."""

PROBE_PATIENCE = 300.0
"""Seconds after which another request may probe, even if the last one has not ended."""

WEIGHT = 0.3
"""The weight of the newest time to first output in the average."""

FORGETTING = 60.0
"""Seconds without a request in which the average falls to a third. Otherwise a target that was slow once would never
be asked again, and so never be seen to be fast."""


class Circuit:
    """Counts the outcomes of one target's requests with all of its keys.

    Args:
        clock: monotonic seconds.
        random: spreads the times of ejection.
        troubled: the set that holds the circuit while it is not `in`.

    Attributes:
        phase: see the module.
        why: the class of the failure that ejected it last.
        since: when that was.
        until: when its ejection is over.
        in_flight: the requests that are open at it.
        asked: when the last request began.
        picked: the number of its last turn (`plano.routing.balance`).
        budget: its repeats.
    """

    def __init__(self, clock: Callable[[], float], random: Random, troubled: MutableSet[object]) -> None:
        self._clock = clock
        self._random = random
        self._troubled = troubled
        self.phase: Phase = "in"
        self.why: UpstreamFailure | None = None
        self.since = -inf
        self.until = 0.0
        self.in_flight = 0
        self.asked = 0.0
        self.picked = 0
        self.budget = RetryBudget(clock)
        self._row = 0
        self._outcomes = Outcomes()
        self._ejections = 0
        self._probe_at: float | None = None
        self._ramp_from = 0.0
        self._first_output: float | None = None

    def probes(self, now: float) -> bool:
        """Whether a request that begins now is the probe, which it is from then on."""
        due = self.due(now)
        if due:
            self._probe_at = now
        return due

    def due(self, now: float) -> bool:
        """Whether a request that begins now would be the probe."""
        if self.phase != "ejected" or now < self.until:
            return False
        return self._probe_at is None or now - self._probe_at >= PROBE_PATIENCE

    @property
    def probing(self) -> bool:
        """Whether a probe is in flight."""
        return self._probe_at is not None

    def share(self, now: float) -> float:
        """The share of its requests that it is given."""
        if self.phase == "ramping":
            return min(1.0, (now - self._ramp_from) / RAMP)
        return 1.0 if self.phase == "in" else 0.0

    def succeeded(self, began: float) -> None:
        """A request that began at `began` succeeded."""
        if began < self.since or self.phase == "ejected":  # only a probe ends an ejection
            return
        now = self._clock()
        self._row = 0
        outcomes = self._outcomes
        if now >= outcomes.ends:
            outcomes.turn(now)
        outcomes.last[1] += 1
        if self.phase == "ramping" and now - self._ramp_from >= RAMP:
            self.phase = "in"
            self._ejections = 0
            self._troubled.discard(self)

    def passed(self) -> bool:
        """The probe was answered. Returns whether the target was ejected until now."""
        if self.phase != "ejected":  # a second probe was faster
            return False
        self.phase = "ramping"
        self._probe_at = None
        self._ramp_from = self._clock()
        return True

    def dropped(self) -> None:
        """The probe ended without telling anything; the next request is the probe."""
        self._probe_at = None

    def failed(self, failure: UpstreamFailure, began: float, *, probe: bool) -> bool:
        """A request failed in a way that hurts. Returns whether that ejected a target which was not ejected before."""
        if began < self.since:
            return False
        now = self._clock()
        if self.phase == "ejected":
            if probe:
                self._eject(failure, now)
            return False
        self._row += 1
        if not self._outcomes.tripped(now) and self._row < IN_A_ROW:
            return False
        self._eject(failure, now)
        return True

    def _eject(self, failure: UpstreamFailure, now: float) -> None:
        seconds = min(LONGEST_EJECTION, FIRST_EJECTION * 2.0 ** min(self._ejections, 16))
        self._ejections += 1
        self.phase, self.why = "ejected", failure
        self.since = now
        self.until = now + seconds * self._random.uniform(1 - SPREAD, 1 + SPREAD)
        self._probe_at = self._first_output = None
        self._row = 0
        self._outcomes = Outcomes()
        self._troubled.add(self)

    def note_first_output(self, seconds: float) -> None:
        """Takes the time to a request's first output into the average."""
        known = self._first_output
        self._first_output = seconds if known is None else known + WEIGHT * (seconds - known)

    def expected(self) -> float:
        """Seconds to the first output, as far as they are known; 0 if it should be found out, infinite while it is
        being found out."""
        if self._first_output is None:
            return inf if self.in_flight else 0.0
        return self._first_output * exp((self.asked - self._clock()) / FORGETTING)


class Outcomes:
    """Successes and failures of the last `WINDOW` seconds, in slices of about a second: `[end, successes, failures]`.

    Attributes:
        last: the present slice.
        ends: the time from which `turn` must be called before anything is counted.
    """

    def __init__(self) -> None:
        self._slices: deque[list[float]] = deque()
        self.last: list[float] = []
        self.ends = -inf

    def turn(self, now: float) -> None:
        """Begins a slice, and forgets those that are too old."""
        self.ends = now + SLICE
        self.last = [self.ends, 0, 0]
        self._slices.append(self.last)
        while self._slices[0][0] <= now - WINDOW:
            self._slices.popleft()

    def tripped(self, now: float) -> bool:
        """Counts a failure. Returns whether so many have failed that the target should be ejected."""
        if now >= self.ends:
            self.turn(now)
        self.last[2] += 1
        failed = sum(each[2] for each in self._slices)
        total = failed + sum(each[1] for each in self._slices)
        return total >= FEWEST and failed >= SHARE * total
