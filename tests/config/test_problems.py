"""What is wrong with a configuration is said with its line, its key, and what would be right."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest
from _pytest.mark import ParameterSet

from plano.config import load
from plano.errors import ConfigError

ENVIRON = {"KEY": "sk-planted-0123456789"}


def written(tmp_path: Path, text: str) -> str:
    path = tmp_path / "plano_config.yaml"
    path.write_text(dedent(text), encoding="utf-8")
    return str(path)


def errors(tmp_path: Path, text: str) -> list[str]:
    """The problems, without the folder in front of the file's name."""
    with pytest.raises(ConfigError) as caught:
        load(written(tmp_path, text), ENVIRON)
    return [problem.replace(f"{tmp_path}/", "") for problem in caught.value.problems]


def warnings(tmp_path: Path, text: str) -> list[str]:
    return [str(problem).replace(f"{tmp_path}/", "") for problem in load(written(tmp_path, text), ENVIRON).warnings]


def cases(name: str) -> list[ParameterSet]:
    """The cases of a file: a title, and a configuration in which `#!` says what is wrong with its line."""
    blocks = (Path(__file__).parent / name).read_text(encoding="utf-8").split("---\n")
    return [pytest.param(body, id=title.strip("# ")) for title, _, body in (block.partition("\n") for block in blocks)]


def marks(text: str) -> list[str]:
    lines = (line.partition("  #! ") for line in text.splitlines())
    return [f"plano_config.yaml:{number}: {said}" for number, (_, mark, said) in enumerate(lines, 1) if mark]


@pytest.mark.parametrize("text", cases("errors.txt"))
def test_a_problem_is_said_with_its_line_and_key(tmp_path: Path, text: str) -> None:
    (found,), (said,) = errors(tmp_path, text), marks(text)
    assert found.startswith(said)


@pytest.mark.parametrize("text", cases("warnings.txt"))
def test_what_does_nothing_or_not_what_was_meant_is_a_warning(tmp_path: Path, text: str) -> None:
    (found,), (said,) = warnings(tmp_path, text), marks(text)
    assert found.startswith(said)


DEEP = "[" * 60 + "%s" + "]" * 60
"""Deep enough by way of anchors only."""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ":1: model_providers: at least one entry is needed"),
        ("# nothing\n", ":1: model_providers: at least one entry is needed"),
        ("version: v0.4.0\n", ":1: model_providers: at least one entry is needed"),
        ("- a\n", ":1: must be a mapping, not a list"),
        ("hello\n", ":1: must be a mapping, not `hello`"),
        ("a: [1\nb: 2\n", ":2: is not YAML: "),
        (
            "a: 1\n\tb: 2\n",
            ":2: is not YAML: column 1: while scanning for the next token, found character",
        ),
        ("a: !what b\n", ":1: is not YAML: "),
        ("a: 2026-99-99\n", ":1: a: has a date or a number that cannot be read"),
        ("a: b\x00\n", ":1: is not YAML: column 5: has the character U+0000, which YAML does not allow"),
        ("filters: &a\n- *a\n", ":1: filters[0]: refers to itself"),
        ("? [a]\n: 1\n", ":1: has a key that is not a plain word"),
        ("null\n", ":1: must be a mapping, not nothing"),
        ("# nothing\n~\n", ":2: must be a mapping, not nothing"),
        ("a:\n " + "[" * 5000 + "]" * 5000, ":2: is nested too deeply; 100 levels are the most"),
        ("[" * 5000, ":1: is nested too deeply"),
        ("{a: " * 1500 + "1" + "}" * 1500, ":1: is nested too deeply"),
        ("\n".join(" " * n + "a:" for n in range(1500)), ":101: is nested too deeply"),
        ("a: &a " + DEEP % 1 + "\nb: &b " + DEEP % "*a" + "\nc: " + DEEP % "*b", ":1: is nested too deeply"),
        (f"limits: {{max_body_bytes: {'9' * 5000}}}\n", ":1: limits.max_body_bytes: has a date or a number"),
    ],
)
def test_a_document_that_cannot_be_a_configuration_is_one_problem(tmp_path: Path, text: str, said: str) -> None:
    (found,) = errors(tmp_path, text)
    assert found.startswith(f"plano_config.yaml{said}")


@pytest.mark.parametrize(
    "value",
    [
        "2024-99-45",
        "2024-01-01",
        "9" * 5000,
        "[" * 5000,
        "[80]",
        "{a: b}",
        "'80",
        "!what 80",
        "",
        "null",
        "a: b: c",
        ".inf",
    ],
    ids=lambda value: value[:12],
)
def test_a_variable_that_holds_no_number_is_said_with_its_line_and_key(tmp_path: Path, value: str) -> None:
    path = written(
        tmp_path, "model_providers: [{model: demo/a}]\nlisteners:\n- {type: model, name: a,\n   port: '${X}'}\n"
    )
    with pytest.raises(ConfigError) as caught:
        load(path, {"X": value})
    assert caught.value.problems == [f"{path}:4: listeners[0].port: must be a whole number, not `${{X}}`"]


@pytest.mark.parametrize(
    "written_as", ["0x" + "f" * 5000, "0b" + "1" * 20000, "1" + "0" * 400], ids=["hexadecimal", "binary", "decimal"]
)
@pytest.mark.parametrize("key", ["max_body_bytes", "body_seconds"])
def test_a_number_beyond_all_bounds_is_a_problem(tmp_path: Path, key: str, written_as: str) -> None:
    (found,) = errors(tmp_path, f"model_providers: [{{model: demo/a}}]\nlimits:\n  {key}: {written_as}\n")
    assert found.startswith(f"plano_config.yaml:3: limits.{key}: must be a")
    assert len(found) < 150


def test_everything_wrong_is_said_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    found = errors(
        tmp_path,
        """\
        log_level: loud
        model_providers:
        - model: openai/gpt-4o
          access_key: $NO_SUCH
        - model: nobody/x
        - model: demo/echo
          default: true
        model_aliases:
          a: {target: a}
        auth:
          keys:
          - name: x
        surprise: 1
        """,
    )
    assert [problem.split(": ")[:2] for problem in found] == [
        ["plano_config.yaml:1", "log_level"],
        ["plano_config.yaml:4", "model_providers[0].access_key"],
        ["plano_config.yaml:5", "model_providers[1].model"],
        ["plano_config.yaml:9", "model_aliases.a.target"],
        ["plano_config.yaml:12", "auth.keys[0].key"],
        ["plano_config.yaml:13", "surprise"],
    ]


def test_a_wrong_entry_does_not_make_its_aliases_wrong_as_well(tmp_path: Path) -> None:
    found = errors(
        tmp_path, "model_providers:\n- model: openai/gpt-4o\n  default: 7\nmodel_aliases:\n  a: {target: gpt-4o}\n"
    )
    assert len(found) == 1


def test_a_dictionary_has_keys_and_no_lines() -> None:
    with pytest.raises(ConfigError) as caught:
        load({"model_providers": [{"model": "demo/echo", "defualt": True}]}, {})
    assert caught.value.problems == [
        "config: model_providers[0].defualt: is not a valid key here. Did you mean `default`?"
    ]


def test_a_file_that_is_not_there_is_a_problem_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "none.yaml")
    assert caught.value.problems == [f"{tmp_path}/none.yaml: there is no such file"]


def test_a_folder_and_bytes_that_are_no_text_are_problems(tmp_path: Path) -> None:
    (tmp_path / "bytes.yaml").write_bytes(b"a: \xff\xfe")
    for path, said in ((tmp_path, "cannot be read"), (tmp_path / "bytes.yaml", "is not UTF-8 text")):
        with pytest.raises(ConfigError, match=said):
            load(path)


PLANTED = "sk-planted-0123456789abcdef0123456789abcdef"

MISPLACED = [
    "model_providers: KEY",
    "model_providers: [KEY]",
    "model_providers: [{model: KEY}]",
    "model_providers: [{model: openai/a, access_key: [KEY]}]",
    "model_providers: [{model: openai/a, base_url: KEY}]",
    "model_providers: [{model: openai/a, default: KEY}]",
    "model_providers: [{model: openai/a, provider_interface: KEY}]",
    "model_providers: [{model: openai/a, base_url: 'https://KEY@host'}]",
    "model_providers: [{model: openai/a, proxy: KEY}]",
    'model_providers: [{model: openai/a, headers: {X-Key: "KEY\\n"}}]',
    'model_providers: [{model: openai/a, access_key: "KEY\\nKEY"}]',
    'auth: {keys: [{name: a, key: "KEY\\0"}]}',
    "model_providers: [{model: openai/a, access_key: KEY, access_key: KEY}]",
    "auth: {keys: [{name: a, key: KEY, models: [KEY]}, {name: b, key: KEY}]}\nmodel_providers: [{model: demo/a}]",
    "auth: KEY",
    "auth: {keys: [KEY]}",
    "log_level: KEY",
    "limits: {max_body_bytes: KEY, body_seconds: KEY}",
    "model_aliases: {a: {target: KEY}}\nmodel_providers: [{model: demo/a}]",
    "state_storage: {type: KEY, url: KEY}",
    "filters: [{id: a, use: KEY}]",
    'auth: "KEY',
    "auth: !KEY KEY",
    "auth: *KEY",
    "auth: &KEY [*KEY]",
    "KEY",
    "- KEY",
]


@pytest.mark.parametrize("key", [PLANTED, "sk-short-1"])
@pytest.mark.parametrize("text", MISPLACED)
def test_no_message_shows_a_key_wherever_it_was_put(tmp_path: Path, text: str, key: str) -> None:
    found = errors(tmp_path, text.replace("KEY", key))
    assert found
    assert "sk-" not in "\n".join(found)
