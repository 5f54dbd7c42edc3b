"""`docs/configuration.md` says of every key what the schema says."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from plano import Plano
from plano.config import load
from plano.config.document import parse
from plano.config.keys import Key, paths
from plano.config.problems import Problems
from plano.config.schema import ROOT
from plano.errors import ConfigError
from plano.providers import CATALOGUE
from plano.routing.settings import CONDITIONS
from tests.asgi import ask
from tests.documents import examples

PAGE = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `([^`]+)` \| ([a-z ]+) \| ([^|]+) \| (.+) \|$", re.MULTILINE)


def default(key: Key) -> str:
    if key.required:
        return "required"
    if key.default is None or key.default == () or key.default == {}:
        return "–"
    if key.kind == "duration":
        return f"`{key.default:g}s`"
    return f"`{str(key.default).lower() if key.kind == 'boolean' else key.default}`"


def kind(key: Key) -> str:
    if key.kind == "either":
        assert key.item is not None, "there is something else than a mapping"
        return f"{kind(key.item)} or mapping"
    return {"object": "mapping"}.get(key.kind, key.kind) + (" or false" if key.or_off else "")


def test_every_key_is_documented_with_its_type_and_default_and_no_other() -> None:
    documented = {path: (said, value) for path, said, value, _ in ROW.findall(PAGE)}
    # `llm_providers` has the keys of `model_providers`, which the page says once.
    schema = {path: (kind(key), default(key)) for path, key in paths(ROOT) if not path.startswith("llm_providers[]")}
    assert documented == schema


def test_every_choice_is_named() -> None:
    meanings = {path: meaning for path, _, _, meaning in ROW.findall(PAGE)}
    for path, key in paths(ROOT):
        for choice in key.choices if path in meanings else ():
            assert f"`{choice}`" in meanings[path], path


def test_every_condition_is_explained() -> None:
    """Here, or as a class of failure in the guide that the page links to."""
    guide = (Path(__file__).parents[2] / "docs" / "resilience.md").read_text(encoding="utf-8")
    tables = (PAGE.partition("| Word in `conditions` |")[2], guide.partition("| Class | Told by |")[2])
    words = [re.findall(r"^\| `(\w+)` \|", table.partition("\n\n")[0], re.MULTILINE) for table in tables]
    assert {*words[0], *words[1]} == set(CONDITIONS)
    assert {word for word in CONDITIONS if CONDITIONS[word] != {word}} == set(words[0])


def test_what_has_no_effect_or_is_refused_says_so() -> None:
    meanings = {path: meaning for path, _, _, meaning in ROW.findall(PAGE)}
    whole_blocks = {"state_storage"}  # the page says it of these below their table
    for path, key in paths(ROOT):
        if path in meanings and path not in whole_blocks:
            assert "No effect" in meanings[path] or key.effect != "none", path
            assert ("Refused" in meanings[path]) == (key.effect == "refused"), path


def test_the_pages_example_loads(tmp_path: Path) -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    path = tmp_path / "plano_config.yaml"
    path.write_text(example)
    config = load(path, {"OPENAI_API_KEY": "a", "ANTHROPIC_API_KEY": "b"})
    assert config.warnings == ()
    assert parse(example, Problems("x")) is not None


@pytest.mark.parametrize(("model", "status"), [("fast-model", 200), ("demo/echo", 403)])
async def test_the_filter_guides_example_lets_through_what_it_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, status: int
) -> None:
    code = next(code for code in examples("docs/filters.md", "python") if "class OnlyModels" in code)
    (tmp_path / "my_filters.py").write_text(code)
    monkeypatch.delitem(sys.modules, "my_filters", raising=False)  # another document has one too
    monkeypatch.syspath_prepend(str(tmp_path))
    path = tmp_path / "plano_config.yaml"
    models = "model_providers: [{model: demo/echo}]\nmodel_aliases: {fast-model: {target: demo/echo}}\n"
    path.write_text(models + examples("docs/filters.md", "yaml")[0])
    body = {"model": model, "messages": [{"role": "user", "content": "Hi"}]}
    assert (await ask(Plano(path), "POST", "/v1/chat/completions", body)).status == status


@pytest.mark.parametrize(("document", "number"), [("README.md", 1), ("docs/filters.md", 0)])
def test_a_documents_filter_runs_because_a_listener_names_it(tmp_path: Path, document: str, number: int) -> None:
    text = "model_providers: [{model: demo/echo}]\n" + examples(document, "yaml")[number]
    path = tmp_path / "plano_config.yaml"
    path.write_text(text)
    assert len(load(path, {}).filters) == 1
    path.write_text(re.sub(r" *input_filters: .*\n", "", text))
    with pytest.raises(ConfigError, match="never runs: add `"):
        load(path, {})


def test_the_usual_variables_are_the_catalogues() -> None:
    listed = dict(re.findall(r"^\| (\w+) \| (`[A-Z_`, ]+`) \|$", PAGE, re.MULTILINE))
    assert {name: tuple(said.strip("`").split("`, `")) for name, said in listed.items()} == {
        row.name: row.key_variables for row in CATALOGUE.values() if row.key_variables and row.base_url
    }
