"""The budgets: the cost that plano is allowed, beside the cost that was measured."""

from __future__ import annotations

from math import isnan

from benchmarks.report import Figure, Table, rounded
from benchmarks.scenarios import DELTAS, Bench

MISSING = Figure()


def table(bench: Bench) -> Table:
    """Budget beside measured; `–` where this run did not measure it."""
    found = bench.found
    busy, paced = f"s-{DELTAS}-0", f"s-{DELTAS}-5"
    at = 16 if "plano cpu 16" in found else bench.effort.concurrencies[-1]
    request = found.get(f"plano cpu {at}", MISSING)
    chunk, nginx = found.get(f"plano, chat {busy}", MISSING), found.get(f"nginx {busy}", MISSING)
    worst = _worst(bench, busy)
    result = Table("Budgets", ("", "budget", "measured", "met"))

    def line(name: str, budget: str, value: Figure, limit: float, unit: str = "") -> None:
        met = "–" if isnan(value.median) else "yes" if value.median <= limit else "no"
        result.add(name, budget, f"{value} {unit}".strip(), met)

    line("not streamed, 0.3 KB, CPU per request", "90 µs", request, 90, "µs")
    line("the same, × uvicorn alone", "3.5", _over(request, found.get(f"uvicorn alone cpu {at}")), 3.5)
    line("LiteLLM's CPU per request, × plano's", "at least 100", _less(found.get(f"LiteLLM cpu {at}"), request), -100)
    line("Portkey's CPU per request, × plano's", "at least 10", _less(found.get(f"Portkey cpu {at}"), request), -10)
    line("stream, per delta, as fast as they come", "7 µs", chunk, 7, "µs")
    line("the same, × nginx", "1.6", _over(chunk, nginx), 1.6)
    line(
        "stream, per delta, one each 5 ms, × nginx",
        "1.6",
        _over(found.get(f"plano, chat {paced}", MISSING), found.get(f"nginx {paced}")),
        1.6,
    )
    line("translated, per delta, the dearest pair", "12 µs", worst, 12, "µs")
    line("the same, × passthrough", "2", _over(worst, chunk), 2)
    line("added latency, one at a time, p50", "300 µs", found.get("plano p50 1", MISSING), 300, "µs")
    line("added latency, one at a time, p99", "800 µs", found.get("plano p99 1", MISSING), 800, "µs")
    line("memory of an idle worker", "60 MB", found.get("plano idle", MISSING), 60, "MB")
    line("1 500 bodies of 150 KB at once, peak", "1,000 MB", found.get("plano peak", MISSING), 1000, "MB")
    line("after them, above idle", "20 MB", found.get("plano after", MISSING), 20, "MB")
    line("`import plano`", "300 ms", found.get("import plano", MISSING), 300, "ms")
    line("`from plano import Plano`", "300 ms", found.get("from plano import Plano", MISSING), 300, "ms")
    line("growth from a tenth to the end", "none (2 MB)", found.get("growth not streamed", MISSING), 2, "MB")
    return result


def _worst(bench: Bench, model: str) -> Figure:
    pairs = [figure for name, figure in bench.found.items() if " over " in name and name.endswith(f" {model}")]
    return max(pairs, key=lambda figure: figure.median, default=MISSING)


def _over(figure: Figure, base: Figure | None) -> Figure:
    if base is None or isnan(base.median):
        return MISSING
    return Figure([float(rounded(figure.median / base.median).replace(",", ""))]) if figure.values else MISSING


class _AtLeast(Figure):
    """A figure of which more is better, so it compares the other way round."""

    @property
    def median(self) -> float:
        return -super().median

    def __str__(self) -> str:
        return rounded(self.values[0]) if self.values else "–"


def _less(peer: Figure | None, own: Figure) -> Figure:
    if peer is None or isnan(peer.median) or isnan(own.median):
        return MISSING
    return _AtLeast([peer.median / own.median])
