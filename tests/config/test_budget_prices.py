"""Budgets in dollars need prices; see also `errors.txt`."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from plano.config import load
from plano.config.budget_prices import check_prices
from plano.config.document import from_python
from plano.config.names import Names
from plano.config.problems import Problems
from plano.config.reading import Reader
from plano.config.schema import ROOT
from plano.observability.prices import Price


@pytest.mark.parametrize(("model", "errors"), [("demo/known", 0), ("demo/*", 0), ("demo/other", 1)])
def test_a_packages_prices_count(model: str, errors: int) -> None:
    budget = {"name": "n", "selector": {"by": "tenant"}, "limit": {"dollars": 5, "unit": "day"}}
    said = {"model_providers": [{"model": model}], "budgets": [budget]}
    config = load(said | {"prices": {"models": {model: {"input": 1}}}}, {})
    section = Reader(problems := Problems("config"), {}).section(
        {"budgets": ROOT["budgets"], "model_providers": ROOT["model_providers"]},
        from_python(said),
        "",
    )
    names = Names(config.providers, section["model_providers"], set())
    package = {("demo", "known"): Price(input=1.0)}
    check_prices(
        section["budgets"],
        section["model_providers"],
        replace(config, prices={}),
        names,
        lambda provider, model: package.get((provider, model)),
        problems,
    )
    assert len([problem for problem in problems.found if problem.severity == "error"]) == errors
