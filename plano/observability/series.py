"""Counters, gauges and histograms that cost a request next to nothing.

What is counted is plain numbers, written by the thread of one event loop. A scrape reads them; where worker processes
count together, `flush` brings prometheus-client's shared values up to date, which takes several times as long as
counting does, and so is done once a second instead of for every request.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from threading import Lock
from typing import Any, Generic, Literal, TypeAlias, TypeVar

from prometheus_client import values
from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample
from prometheus_client.utils import floatToGoString

Key: TypeAlias = tuple[str, ...]
Kind: TypeAlias = Literal["counter", "gauge", "histogram"]

_goes: Any = floatToGoString

_FOLDING = Lock()


class Axis:
    """The values that one label, or several together, can have. What is none of them becomes `other`."""

    def __init__(self, values: Iterable[Key], other: Key) -> None:
        self.other = other
        self.values = {*values, other}

    def closed(self, value: Key) -> Key:
        return value if value in self.values else self.other


class Number:
    """A counter's or gauge's one series."""

    __slots__ = ("_shared", "_told", "value")

    def __init__(self) -> None:
        self.value = 0.0
        self._told = 0.0
        self._shared: Any = None

    def inc(self, amount: float = 1.0) -> None:
        self.value += amount

    def set(self, value: float) -> None:
        self.value = value

    def share(self, family: Family[Any], key: Key) -> None:
        """Have it written down for other processes from now on."""
        options = {"multiprocess_mode": family.mode} if family.kind == "gauge" else {}
        self._shared = _shared(family, family.name, family.labels, key, **options)
        if family.kind == "gauge":
            self._shared.set(self.value)

    def flush(self) -> None:
        value = self.value
        if value != self._told:
            self._shared.inc(value - self._told)
            self._told = value

    def samples(self, name: str, labels: dict[str, str]) -> Iterator[Sample]:
        yield Sample(name, labels, self.value)


class Distribution:
    """A histogram's one series: how many values there were up to each bound, and their sum.

    Attributes:
        observe: takes a value. They are put in their bins many at once, which takes a third of the time: by who reads
            them, and by `fold`, which whoever observes has to call now and then.
    """

    __slots__ = ("_bounds", "_counts", "_new", "_shared", "_sum", "_told", "_told_sum", "observe")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0
        self._told = [0] * len(self._counts)
        self._told_sum = 0.0
        self._shared: list[Any] = []
        self._new: list[float] = []
        self.observe: Callable[[float], None] = self._new.append

    def fold(self) -> None:
        """Put what was observed in its bins."""
        if not self._new:
            return
        with _FOLDING:  # a scrape may be read in another thread than the one that observes
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
        """Have it written down for other processes from now on."""
        self._shared = [_shared(family, f"{family.name}_sum", family.labels, key)]
        labels = (*family.labels, "le")
        self._shared += [_shared(family, f"{family.name}_bucket", labels, (*key, bound)) for bound in family.les]

    def flush(self) -> None:
        self.fold()
        total, counts = self._sum, self._counts.copy()
        if counts == self._told:
            return
        self._shared[0].inc(total - self._told_sum)
        for shared, count, told in zip(self._shared[1:], counts, self._told, strict=True):
            if count != told:
                shared.inc(count - told)
        self._told, self._told_sum = counts, total

    def samples(self, name: str, labels: dict[str, str]) -> Iterator[Sample]:
        self.fold()
        counts = self._counts.copy()
        les = [*map(_goes, self._bounds), "+Inf"]
        for le, count in zip(les, accumulate(counts), strict=True):
            yield Sample(f"{name}_bucket", {**labels, "le": le}, count)
        yield Sample(f"{name}_count", labels, sum(counts))
        yield Sample(f"{name}_sum", labels, self._sum)


S = TypeVar("S", Number, Distribution)


class Family(dict[Key, S], Generic[S]):
    """One metric: its series by their label values, in the order of its axes; each made when first asked for.

    A key whose values are all allowed costs one look-up in a dictionary. One that is not is never kept, and leads
    to the series of `other`.

    Args:
        axes: what the labels can be, and how many labels each axis has.
        bounds: a histogram's upper bounds, without +Inf.
        mode: how processes' gauges become one: prometheus-client's `multiprocess_mode`.
        shared: whether other processes count in this metric too.
    """

    def __init__(
        self,
        name: str,
        kind: Kind,
        meaning: str,
        labels: Sequence[str],
        axes: Sequence[tuple[Axis, int]],
        *,
        bounds: Sequence[float] = (),
        mode: str = "livesum",
        shared: bool = False,
    ) -> None:
        super().__init__()
        self.name = name
        self.kind = kind
        self.meaning = meaning
        self.labels = tuple(labels)
        self.les = [*map(_goes, bounds), "+Inf"]
        self.mode = mode
        self._axes = axes
        self._bounds = bounds
        self._is_shared = shared

    @property
    def stem(self) -> str:
        """What prometheus-client calls the metric: a counter without its ending."""
        return self.name.removesuffix("_total") if self.kind == "counter" else self.name

    def __missing__(self, key: Key) -> S:
        closed: Key = ()
        for axis, width in self._axes:
            closed += axis.closed(key[len(closed) : len(closed) + width])
        if closed != key:
            return self[closed]
        made: Any = Distribution(self._bounds) if self.kind == "histogram" else Number()
        if self._is_shared:
            made.share(self, key)
        self[key] = made
        return made  # type: ignore[no-any-return]

    def flush(self) -> None:
        """Bring what is shared up to date."""
        if self._is_shared:
            for series in list(self.values()):
                series.flush()

    def collect(self) -> Iterator[Metric]:
        """See `prometheus_client.registry.Collector`."""
        metric = Metric(self.stem, self.meaning, self.kind)
        for key, series in list(self.items()):
            metric.samples += series.samples(self.name, dict(zip(self.labels, key, strict=True)))
        yield metric

    def describe(self) -> Iterator[Metric]:
        """See `prometheus_client.registry.Collector`."""
        yield Metric(self.stem, self.meaning, self.kind)

    def __hash__(self) -> int:  # type: ignore[override]  # a registry keeps its collectors in a dictionary
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other


def _shared(family: Family[Any], name: str, labels: Key, key: Key, **options: str) -> Any:
    make: Any = values.ValueClass
    return make(family.kind, family.stem, name, labels, key, family.meaning, **options)
