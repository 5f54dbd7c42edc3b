"""A scrape, read by Prometheus's own parser."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.asgi import ask

Series = frozenset[tuple[str, str]]


class Scrape:
    """What one scrape says.

    Attributes:
        types: metric name (a counter's without `_total`) to its type.
        samples: sample name and labels to value.
    """

    def __init__(self, text: str) -> None:
        families = list(text_string_to_metric_families(text))
        self.text = text
        self.types = {family.name: family.type for family in families}
        self.samples: dict[tuple[str, Series], float] = {}
        for family in families:
            assert family.documentation, family.name
            for sample in family.samples:
                key = (sample.name, frozenset(sample.labels.items()))
                assert key not in self.samples, f"a second {key}"
                self.samples[key] = sample.value

    def of(self, name: str, **labels: str) -> float:
        """The sum of all samples of that name with these labels among theirs."""
        wanted = set(labels.items())
        return sum(value for (found, has), value in self.samples.items() if found == name and wanted <= has)

    def labels(self, name: str) -> list[Mapping[str, str]]:
        """Of each sample of that name that is not zero."""
        return [dict(has) for (found, has), value in self.samples.items() if found == name and value]


async def scrape(app: Any, headers: dict[str, str] | None = None) -> Scrape:
    answer = await ask(app, "GET", "/metrics", b"", headers)
    assert answer.status == 200, answer.body
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return Scrape(answer.body.decode())
