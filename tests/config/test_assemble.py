"""From names to filters and providers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from plano.config import load
from plano.config.assemble import build_filters, build_models
from plano.errors import ConfigError

MODULE = """
class Redact:
    def __init__(self, pattern="x", key=None):
        if pattern == "(":
            raise ValueError(f"pattern {pattern} and key {key}")
        self.pattern = pattern

    async def __call__(self, request, call_next):
        return await call_next(request)

    class Inner:
        async def __call__(self, request, call_next):
            return await call_next(request)


async def plain(request, call_next):
    return await call_next(request)


def make(*, name):
    async def made(request, call_next):
        return await call_next(request)
    made.made_for = name
    return made


def sync(request, call_next):
    return None


async def short(request):
    return None


word = "not callable"
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of an importable module with filters in it."""
    (tmp_path / "acme_filters.py").write_text(MODULE)
    (tmp_path / "acme_broken.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return "acme_filters"


def built(*filters: dict[str, Any]) -> list[Any]:
    return build_filters(load({"model_providers": [{"model": "demo/echo"}], "filters": list(filters)}, {}))


def test_a_class_is_constructed_a_function_is_used_and_a_factory_is_called(module: str) -> None:
    links = built(
        {"id": "a", "type": "python", "use": f"{module}:Redact", "options": {"pattern": "y"}},
        {"id": "b", "use": f"{module}:Redact"},
        {"id": "c", "use": f"{module}:plain"},
        {"id": "d", "use": f"{module}:make", "options": {"name": "z"}},
        {"id": "e", "use": f"{module}:Redact.Inner"},
    )
    assert [link.name for link in links] == ["a", "b", "c", "d", "e"]
    assert (links[0].filter.pattern, links[1].filter.pattern, links[3].filter.made_for) == ("y", "x", "z")
    assert links[2].filter.__name__ == "plain"


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"use": "acme_no_such:X"}, "cannot import `acme_no_such:X`: ModuleNotFoundError: No module named"),
        ({"use": "acme_filters:Nope"}, "cannot import `acme_filters:Nope`: AttributeError: "),
        ({"use": "acme_broken:X"}, "cannot import `acme_broken:X`: ZeroDivisionError: division by zero"),
        (
            {"use": "acme_filters:Redact", "options": {"patern": "x"}},
            "cannot be constructed with these options: TypeError: ",
        ),
        ({"use": "acme_filters:Redact", "options": {"pattern": "("}}, "ValueError: pattern ( and key None"),
        ({"use": "acme_filters:word"}, "`acme_filters:word`: a str, which is not callable"),
        ({"use": "acme_filters:sync"}, "`acme_filters:sync`: a plain function; write `async def`"),
        ({"use": "acme_filters:short"}, "`acme_filters:short`: it takes (request), and is called with two arguments"),
    ],
)
def test_a_filter_that_fails_is_named(module: str, said: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        built({"id": "mine"} | said)
    (line,) = caught.value.problems
    assert line.startswith("config: filters[0].use: filter `mine`: ")
    assert problem in line


def test_all_filters_that_fail_are_named_at_once_and_with_their_line(module: str, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(
        "model_providers: [{model: demo/a}]\nfilters:\n- {id: a, use: 'acme_no:X'}\n- {id: b, use: 'acme_no:Y'}\n"
    )
    with pytest.raises(ConfigError) as caught:
        build_filters(load(path, {}))
    assert [line.split(": filter ")[0] for line in caught.value.problems] == [
        f"{path}:3: filters[0].use",
        f"{path}:4: filters[1].use",
    ]


def test_what_an_exception_quotes_of_the_options_is_hidden(module: str) -> None:
    with pytest.raises(ConfigError) as caught:
        built({"id": "a", "use": "acme_filters:Redact", "options": {"pattern": "(", "key": "hunter2-hunter2"}})
    assert "hunter2" not in caught.value.message
    assert "key ***" in caught.value.message


@pytest.mark.parametrize(
    ("entry", "url", "headers"),
    [
        (
            {"model": "acme/m", "base_url": "http://vllm:8000", "provider_interface": "openai"},
            "http://vllm:8000/v1/chat/completions",
            "bearer",
        ),
        (
            {"model": "acme/m", "base_url": "http://a/x", "provider_interface": "claude"},
            "http://a/x/v1/messages",
            "x-api-key",
        ),
        (
            {"model": "acme/m", "base_url": "http://a", "provider_interface": "groq"},
            "http://a/openai/v1/chat/completions",
            "bearer",
        ),
        (
            {"model": "acme/m", "base_url": "http://a", "provider_interface": "perplexity"},
            "http://a/v1/responses",
            "bearer",
        ),
        (
            {"model": "groq/m", "access_key": "k", "provider_interface": "openai"},
            "https://api.groq.com/v1/chat/completions",
            "bearer",
        ),
        (
            {
                "model": "mine/d",
                "base_url": "https://r.openai.azure.com/openai/deployments",
                "provider_interface": "azure_openai",
            },
            "https://r.openai.azure.com/openai/deployments/d/chat/completions?api-version=2025-01-01-preview",
            "api-key",
        ),
    ],
)
def test_any_other_name_speaks_as_its_interface_does(entry: dict[str, Any], url: str, headers: str) -> None:
    target = build_models(load({"model_providers": [entry]}, {})).resolve(entry["model"])
    dialect = target.dialects[0]
    assert target.endpoints[dialect, "create"].url == url
    assert target.provider.auth_for(dialect) == headers
    assert target.provider.name == entry["model"].partition("/")[0]


def test_a_server_of_ones_own_does_not_claim_the_names_of_its_interface() -> None:
    models = build_models(
        load({"model_providers": [{"model": "acme/*", "base_url": "http://a", "provider_interface": "openai"}]}, {})
    )
    assert [info.id for info in models.listing()] == ["acme/*"]
    assert models.resolve("acme/gpt-4o").model == "gpt-4o"
