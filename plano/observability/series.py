"""Counters, gauges and histograms that cost a request next to nothing.

Their values are plain numbers that the thread of one event loop writes and a scrape reads. Where worker processes
count together, `flush` brings prometheus-client's shared values up to date. That takes several times as long as
counting, so it is done once a second and not for every request.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from threading import Lock
from typing import Any, Generic, Literal, TypeAlias, TypeVar

from msgspec import Struct
from prometheus_client import values
from prometheus_client.metrics_core import Metric as Collected
from prometheus_client.samples import Sample
from prometheus_client.utils import floatToGoString

Key: TypeAlias = tuple[str, ...]
Kind: TypeAlias = Literal["counter", "gauge", "histogram"]

_goes: Any = floatToGoString

_FILLING = Lock()


class Metric(Struct, frozen=True, kw_only=True):
    """The row of one metric.

    Attributes:
        name: the name in a scrape; a histogram's without `_bucket`.
        unit: the unit of its value.
        meaning: its description.
        axes: the axes that its labels come from. An axis has one label, or several that belong together.
        bounds: a histogram's upper bounds, without +Inf.
        mode: for a gauge, how the values of several processes become one: prometheus-client's `multiprocess_mode`.
    """

    name: str
    kind: Kind
    unit: str
    meaning: str
    axes: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()
    mode: str = "livesum"

    @property
    def lines(self) -> int:
        """The lines of a scrape for each set of label values."""
        return len(self.bounds) + 3 if self.kind == "histogram" else 1


class Axis:
    """The values that one label, or several together, can have. Any other value becomes `other`."""

    def __init__(self, values: Iterable[Key], other: Key) -> None:
        self.other = other
        self.values = {*values, other}

    def closed(self, value: Key) -> Key:
        """The value itself if it is allowed, else `other`."""
        return value if value in self.values else self.other


class Number:
    """One series of a counter or a gauge."""

    __slots__ = ("_reported", "_shared", "value")

    def __init__(self) -> None:
        self.value = 0.0
        self._reported = 0.0
        self._shared: Any = None

    def inc(self, amount: float = 1.0) -> None:
        """Adds to the value."""
        self.value += amount

    def set(self, value: float) -> None:
        """Replaces the value, also that of a counter whose total is kept elsewhere."""
        self.value = value

    def share(self, family: Family[Any], key: Key) -> None:
        """Shares the value with other processes from now on, at each `flush`."""
        metric = family.metric
        options = {"multiprocess_mode": metric.mode} if metric.kind == "gauge" else {}
        self._shared = _shared(family, metric.name, family.labels, key, **options)
        if metric.kind == "gauge":
            self._shared.set(self.value)

    def flush(self) -> None:
        """Brings the shared value up to date."""
        value = self.value
        if value != self._reported:
            self._shared.inc(value - self._reported)
            self._reported = value

    def samples(self, name: str, labels: dict[str, str]) -> Iterator[Sample]:
        """The lines of a scrape."""
        yield Sample(name, labels, self.value)


class Distribution:
    """One series of a histogram: the counts of its bins, and the sum of its values.

    Attributes:
        observe: takes a value and keeps it. `fill_bins` sorts the kept values into bins, many at once, because that
            takes a third of the time. Reading the series calls it; a caller of `observe` must also call it now and
            then, or the kept values grow without bound.
    """

    __slots__ = ("_bounds", "_counts", "_new", "_reported", "_reported_sum", "_shared", "_sum", "observe")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0
        self._reported = [0] * len(self._counts)
        self._reported_sum = 0.0
        self._shared: list[Any] = []
        self._new: list[float] = []
        self.observe: Callable[[float], None] = self._new.append

    def fill_bins(self) -> None:
        """Sorts the observed values into their bins."""
        if not self._new:
            return
        with _FILLING:  # a scrape may run in another thread than the one that observes
            new = self._new[:]
            del self._new[: len(new)]
            self._sum = sum(new, self._sum)
            new.sort()
            before = 0
            for at, bound in enumerate(self._bounds):
                up_to = bisect_right(new, bound, before)
                self._counts[at] += up_to - before
                before = up_to
            self._counts[-1] += len(new) - before

    def share(self, family: Family[Any], key: Key) -> None:
        """Shares the value with other processes from now on, at each `flush`."""
        self._shared = [_shared(family, f"{family.metric.name}_sum", family.labels, key)]
        labels = (*family.labels, "le")
        self._shared += [_shared(family, f"{family.metric.name}_bucket", labels, (*key, bound)) for bound in family.les]

    def flush(self) -> None:
        """Brings the shared values up to date."""
        self.fill_bins()
        total, counts = self._sum, self._counts.copy()
        if counts == self._reported:
            return
        self._shared[0].inc(total - self._reported_sum)
        for shared, count, reported in zip(self._shared[1:], counts, self._reported, strict=True):
            if count != reported:
                shared.inc(count - reported)
        self._reported, self._reported_sum = counts, total

    def samples(self, name: str, labels: dict[str, str]) -> Iterator[Sample]:
        """The lines of a scrape."""
        self.fill_bins()
        counts = self._counts.copy()
        les = [*map(_goes, self._bounds), "+Inf"]
        for le, count in zip(les, accumulate(counts), strict=True):
            yield Sample(f"{name}_bucket", {**labels, "le": le}, count)
        yield Sample(f"{name}_count", labels, sum(counts))
        yield Sample(f"{name}_sum", labels, self._sum)


S = TypeVar("S", Number, Distribution)


class Family(dict[Key, S], Generic[S]):
    """One metric: its series by label values, in the order of the axes. A series is made when it is first used.

    A key whose values are all allowed costs one look-up in a dictionary. Any other key leads to the series of `other`
    and is not kept.

    Args:
        metric: its row.
        labels: the names of its labels.
        axes: the values that the labels can have, and how many labels each axis has.
        shared: other processes count in this metric too.
    """

    def __init__(
        self, metric: Metric, labels: Sequence[str], axes: Sequence[tuple[Axis, int]], *, shared: bool = False
    ) -> None:
        super().__init__()
        self.metric = metric
        self.labels = tuple(labels)
        self.les = [*map(_goes, metric.bounds), "+Inf"]
        self._axes = axes
        self._is_shared = shared

    @property
    def stem(self) -> str:
        """The metric's name in prometheus-client: a counter has no ending there."""
        return self.metric.name.removesuffix("_total") if self.metric.kind == "counter" else self.metric.name

    def __missing__(self, key: Key) -> S:
        closed: Key = ()
        for axis, width in self._axes:
            closed += axis.closed(key[len(closed) : len(closed) + width])
        if closed != key:
            return self[closed]
        made: Any = Distribution(self.metric.bounds) if self.metric.kind == "histogram" else Number()
        if self._is_shared:
            made.share(self, key)
        self[key] = made
        return made  # type: ignore[no-any-return]

    def flush(self) -> None:
        """Brings the values that other processes read up to date."""
        if self._is_shared:
            for series in list(self.values()):
                series.flush()

    def collect(self) -> Iterator[Collected]:
        """Returns the metric with its samples, as `prometheus_client.registry.Collector` defines it."""
        found = self._empty()
        for key, series in list(self.items()):
            found.samples += series.samples(self.metric.name, dict(zip(self.labels, key, strict=True)))
        yield found

    def describe(self) -> Iterator[Collected]:
        """Returns the metric without samples, as `prometheus_client.registry.Collector` defines it."""
        yield self._empty()

    def _empty(self) -> Collected:
        return Collected(self.stem, self.metric.meaning, self.metric.kind)

    def __hash__(self) -> int:  # type: ignore[override]  # a registry keeps its collectors in a dictionary
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other


def _shared(family: Family[Any], name: str, labels: Key, key: Key, **options: str) -> Any:
    make: Any = values.ValueClass
    return make(family.metric.kind, family.stem, name, labels, key, family.metric.meaning, **options)
