"""An alias that loads can be followed, and one that cannot be followed does not load; see also `errors.txt`."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from plano.config import load
from plano.config.aliases import models_of, reached
from plano.config.assemble import build_models
from plano.errors import ConfigError
from plano.routing.settings import ANY, AliasEntry, AliasFallback, AliasTarget

ENTRIES: dict[str, Any] = {"model_providers": [{"model": "demo/m"}, {"model": "demo/n"}]}
ALIASES = ("a", "b", "c", "d")
NAME = st.sampled_from([*ALIASES, "m", "n", "m", "n", "unknown"])
SAID = st.dictionaries(
    st.sampled_from(ALIASES), st.tuples(st.lists(NAME, min_size=1, max_size=2), st.lists(NAME, max_size=2)), max_size=4
)
"""Targets and fallbacks by alias."""


@given(said=SAID)
def test_aliases_load_if_and_only_if_they_can_be_followed(said: dict[str, tuple[list[str], list[str]]]) -> None:
    aliases = {
        alias: {"targets": [{"model": name} for name in targets], "fallbacks": fallbacks}
        for alias, (targets, fallbacks) in said.items()
    }
    entries = {
        alias: AliasEntry(
            targets=tuple(AliasTarget(model=name) for name in targets),
            fallbacks=tuple(AliasFallback(target=name, conditions=ANY) for name in fallbacks),
        )
        for alias, (targets, fallbacks) in said.items()
    }
    try:
        models = build_models(replace(load(ENTRIES, {}), aliases=entries))
    except ConfigError:
        with pytest.raises(ConfigError):
            load(ENTRIES | {"model_aliases": aliases}, {})
        return
    assert load(ENTRIES | {"model_aliases": aliases}, {}).aliases == entries
    for alias in said:
        first, *_ = groups = models.groups(alias)
        assert [member.target.model for member in first.members] == models_of(alias, entries)
        assert {member.target.model for group in groups for member in group.members} == reached(alias, entries)


def test_a_long_chain_of_aliases_is_read_at_once() -> None:
    aliases = {f"a{n}": {"target": f"a{n + 1}"} for n in range(200)} | {"a200": {"target": "m"}}
    config = load(ENTRIES | {"model_aliases": aliases}, {})
    assert models_of("a0", config.aliases) == ["m"]
    assert build_models(config).resolve("a0").name == "demo/m"
