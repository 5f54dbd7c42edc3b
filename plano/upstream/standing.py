"""The standing of a target with one of its keys, and the trials that make it.

A target has a circuit (`plano.upstream.circuit`), which counts the failures of its server. Each of its keys has a
standing, which rests after a failure that the key or its account had:

    failure                       effect
    connect, timeout, server,     hurts the circuit
    overloaded, protocol,
    broken_stream
    rate_limit                    the key rests as long as the upstream says; if it does not say, 1 s, doubling to 60 s
    quota, credential             the key rests for 5 minutes
    no_model                      an alarm; requests still go there
    any other                     nothing
"""

from __future__ import annotations

from collections.abc import Callable, MutableSet
from math import inf
from typing import Literal, TypeAlias, get_args

from msgspec import Struct

from plano.errors import UpstreamFailure
from plano.provider import Target
from plano.upstream.circuit import Circuit

State: TypeAlias = Literal["in", "ejected", "probing", "ramping", "resting", "no_model"]
"""The state of a target with one of its keys. `in` and `no_model` get requests, `ramping` some of them, `ejected` and
`resting` none, `probing` has the one that it gets."""

STATES: tuple[State, ...] = get_args(State)

HURTS: frozenset[UpstreamFailure] = frozenset(
    ("connect", "timeout", "server", "overloaded", "protocol", "broken_stream")
)
"""The failures for which the target's server is to blame."""

RESTS: frozenset[UpstreamFailure] = frozenset(("rate_limit", "quota", "credential"))
"""The failures for which the key or its account is to blame."""

KEY_REST = 300.0
"""Seconds for which a key without quota or with a wrong credential rests."""

FIRST_REST, LONGEST_DOUBLED = 1.0, 60.0
"""Seconds for which a key rests after a rate limit without a time, and the most to which they double."""

LONGEST_REST = 3600.0
"""The most seconds for which an upstream's word makes a key rest."""

TOLD_REST = 10.0
"""The least seconds of a rest that is worth a line in the log."""


class Standing:
    """The standing of a target with one of its keys.

    Args:
        clock: monotonic seconds.
        troubled: the set that holds the standing while its key rests.
        on_change: called when requests are kept from it, when its model is unknown, and when it is back; not for rests
            of a few seconds.

    Attributes:
        target: the target with that key.
        circuit: the circuit that it shares with the target's other keys.
        in_flight: the requests that are open with this key.
        rests_for: the class of the failure for which the key rested last.
        rests_until: when that rest is over, on the health's clock.
        spotted: whether there is a rest or an alarm that a success would end.
    """

    def __init__(
        self,
        target: Target,
        circuit: Circuit,
        *,
        clock: Callable[[], float],
        troubled: MutableSet[object],
        on_change: Callable[[Standing], None],
    ) -> None:
        self.target = target
        self.circuit = circuit
        self.in_flight = 0
        self.rests_for: UpstreamFailure | None = None
        self.rests_until = 0.0
        self.spotted = False
        self._rested_at = -inf
        self._rests = 0
        self._alarm = False
        self._told = False
        self._clock = clock
        self._troubled = troubled
        self._on_change = on_change

    def begin(self) -> Trial:
        """Counts a request that is sent now; its outcome belongs to the trial."""
        circuit = self.circuit
        circuit.asked = now = self._clock()
        self.in_flight += 1
        circuit.in_flight += 1
        return Trial(self, now, circuit.phase == "ejected" and circuit.probes(now))

    @property
    def idle(self) -> bool:
        """Whether nothing would be lost with it."""
        return not self.in_flight and not self.spotted and self.circuit.phase == "in"

    @property
    def state(self) -> State:
        """The state now."""
        if self._clock() < self.rests_until:
            return "resting"
        if self.circuit.phase != "in":
            return "probing" if self.circuit.probing else self.circuit.phase
        return "no_model" if self._alarm else "in"

    @property
    def why(self) -> UpstreamFailure | None:
        """The class of the failure that led to the state; None if that is `in`."""
        state = self.state
        if state == "resting":
            return self.rests_for
        if state == "no_model":
            return "no_model"
        return None if state == "in" else self.circuit.why

    @property
    def until(self) -> float | None:
        """When the rest or the ejection is over, on the health's clock; None if there is neither."""
        state = self.state
        return self.rests_until if state == "resting" else self.circuit.until if state == "ejected" else None

    @property
    def left(self) -> float | None:
        """Seconds until the rest or the ejection is over; None if there is neither."""
        until = self.until
        return None if until is None else max(0.0, until - self._clock())

    def fail(self, failure: UpstreamFailure, retry_after: float | None) -> None:
        """Takes in a failure for which the key, its account or the configuration is to blame."""
        if failure == "no_model":
            self._alarm = self.spotted = True
            self._tell()
        elif failure in RESTS and not self.target.passthrough_auth:  # else it is the caller's account
            self._rest(failure, retry_after)

    def _rest(self, failure: UpstreamFailure, retry_after: float | None) -> None:
        now = self._clock()
        resting = now < self.rests_until
        if failure != "rate_limit":
            seconds = KEY_REST
        elif retry_after is not None and retry_after > 0:
            seconds = min(LONGEST_REST, retry_after)
        elif resting:
            return  # it was sent before, together with the one that was refused first
        else:
            seconds = min(LONGEST_DOUBLED, FIRST_REST * 2.0 ** min(self._rests, 16))
        if not resting:
            self._rests += 1
            self._rested_at = now
        if now + seconds > self.rests_until:
            self.rests_for, self.rests_until = failure, now + seconds
        self.spotted = True
        self._troubled.add(self)
        if seconds >= TOLD_REST:
            self._tell()

    def clear(self, began: float) -> None:
        """A request that began at `began` succeeded. It ends a rest and an alarm, unless it is older than they are."""
        if began < self._rested_at:
            return
        self.rests_until, self._rests = 0.0, 0
        self._alarm = self.spotted = False
        self._troubled.discard(self)
        if self._told:
            self._told = False
            self._on_change(self)

    def _tell(self) -> None:
        if not self._told:
            self._told = True
            self._on_change(self)

    def turned(self) -> None:
        """Its circuit has ejected the target, or has let it back in."""
        self._on_change(self)


class Trial(Struct, eq=False):
    """One request at a target. It ends with one of `succeeded`, `failed` and `cancelled`; those that come after the
    first are left out.

    Attributes:
        standing: the standing that it counts for.
        since: when it began, on the health's clock.
        probe: it shows whether a target that was ejected answers again.
        open: it has not ended.
    """

    standing: Standing
    since: float
    probe: bool = False
    open: bool = True

    def begun(self, seconds: float) -> None:
        """The first output came after `seconds`. The request stays open, but a probe has passed."""
        if self.open:
            self.standing.circuit.note_first_output(seconds)
            if self.probe:
                self._pass()

    def succeeded(self, seconds: float | None = None) -> None:
        """The reply came whole; `seconds` is the time to its first output, where `begun` has not told it."""
        if not self.open:
            return
        self.open = False
        standing = self.standing
        circuit = standing.circuit
        standing.in_flight -= 1
        circuit.in_flight -= 1
        if seconds is not None:
            circuit.note_first_output(seconds)
        if self.probe:
            self._pass()
        circuit.succeeded(self.since)
        if standing.spotted:
            standing.clear(self.since)

    def failed(self, failure: UpstreamFailure, retry_after: float | None = None) -> None:
        """The request failed; `retry_after` is the seconds for which the upstream wants to be left alone."""
        if not self._close():
            return
        standing = self.standing
        if failure in HURTS:
            if standing.circuit.failed(failure, self.since, probe=self.probe):
                standing.turned()
            return
        if self.probe:  # a server that refuses a request is there
            self._pass()
        standing.fail(failure, retry_after)

    def cancelled(self) -> None:
        """The client left, or another target was faster: nobody knows how it would have ended."""
        if self._close() and self.probe:
            self.standing.circuit.dropped()

    def _close(self) -> bool:
        was, self.open = self.open, False
        if was:
            self.standing.in_flight -= 1
            self.standing.circuit.in_flight -= 1
        return was

    def _pass(self) -> None:
        self.probe = False
        if self.standing.circuit.passed():
            self.standing.turned()
