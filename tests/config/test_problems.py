"""What is wrong with a configuration is said with its line, its key, and what would be right."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest
from _pytest.mark import ParameterSet

from plano.config import Problem, load
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
    lines = enumerate(text.splitlines(), 1)
    return [f"plano_config.yaml:{number}: {said}" for number, line in lines for said in line.split("  #! ")[1:]]


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


def test_every_kind_of_mistake_is_said_at_once_and_none_twice(tmp_path: Path) -> None:
    text = (Path(__file__).parent / "everything_wrong.yaml").read_text(encoding="utf-8")
    found, said = errors(tmp_path, text), marks(text)
    assert [problem[: len(mark)] for problem, mark in zip(found, said, strict=True)] == said


ONE_MISTAKE = [
    pytest.param(body, id=title)
    for title, body in {
        "a misspelt key of an entry": """\
            model_providers:
            - modle: openai/gpt-4o  #! model_providers[0].modle: is not a valid key here. Did you mean `model`?
            model_aliases: {a: {target: gpt-4o}}
            """,
        "a misspelt block of entries": """\
            model_provider:  #! model_provider: is not a valid key here. Did you mean `model_providers`?
            - model: demo/echo
            model_aliases: {a: {target: echo}}
            """,
        "another tool's word for entries": """\
            providers:  #! providers: is not a valid key here. Did you mean `model_providers`?
            - model: demo/echo
            model_aliases: {a: {target: echo}}
            """,
        "a misspelt block of aliases": """\
            model_providers: [{model: demo/echo}]
            model_alias: {fast: {target: echo}}  #! model_alias: is not a valid key here. Did you mean `model_aliases`?
            auth: {keys: [{name: a, key: 0123456789abcdef, models: [fast]}]}
            """,
        "a bare id": """\
            model_providers:
            - model: gpt-4o  #! model_providers[0].model: must be `provider/model-id`
            model_aliases: {a: {target: gpt-4o}, b: {target: openai/gpt-4o}}
            """,
        "an unknown provider": """\
            model_providers:
            - model: nosuch/foo  #! model_providers[0].model: no provider is called `nosuch`
            - model: demo/echo
            model_aliases: {a: {target: nosuch/foo}, b: {target: foo}}
            auth: {keys: [{name: a, key: 0123456789abcdef, models: [foo]}]}
            prices: {models: {nosuch/foo: {input: 1}}}
            """,
        "a wildcard with a wrong key": """\
            model_providers:
            - model: mistral/*
              default: yes please  #! model_providers[0].default: must be true or false
            model_aliases: {a: {target: mistral/any}, b: {target: mistral-large-latest}}
            """,
        "an entry with a name": """\
            model_providers:
            - name: mine  #! model_providers[0].model: is missing (for `mine`)
            model_aliases: {a: {target: mine}}
            """,
        "a model that a missing variable names": """\
            model_providers:
            - model: openai/$NO_SUCH  #! model_providers[0].model: the environment variable `NO_SUCH` is not set
            model_aliases: {a: {target: gpt-4o}}
            """,
        "entries that are no list": """\
            model_providers: gpt-4o  #! model_providers: must be a list, not `gpt-4o`
            model_aliases: {a: {target: gpt-4o}}
            """,
        "two blocks of entries": """\
            model_providers: [{model: demo/echo}]
            model_providers: [{model: demo/other}]  #! model_providers: is given twice; the first is on line 1
            model_aliases: {a: {target: echo}, b: {target: other}}
            """,
        "an alias that leads to a wrong one": """\
            model_providers: [{model: demo/echo}]
            model_aliases:
              first: {target: second}
              second: {target: gone}  #! model_aliases.second.target: no model is called `gone`
            """,
        "an alias that leads to a cycle": """\
            model_providers: [{model: demo/echo}]
            model_aliases:
              a: {target: b}
              b: {target: c}  #! model_aliases.b.target: leads back to itself: b -> c -> b
              c: {target: b}
            """,
        "an alias without a target": """\
            model_providers: [{model: demo/echo}]
            model_aliases:
              a: {}  #! model_aliases.a.target: is missing
              b: {target: a}
            auth: {keys: [{name: a, key: 0123456789abcdef, models: [a]}]}
            """,
        "a pattern as alias": """\
            model_providers: [{model: demo/echo}]
            model_aliases:
              claude-*: {target: echo}  #! model_aliases.claude-*: must be a plain name. For every model of a provider
            """,
        "an alias for everything": """\
            model_providers: [{model: demo/echo}]
            model_aliases:
              "*": {target: echo}  #! model_aliases.*: must be a plain name. For every model of a provider
            """,
        "a wildcard as target": """\
            model_providers: [{model: demo/*}]
            model_aliases:
              a: {target: demo/*}  #! model_aliases.a.target: no model is called `demo/*`; `*` stands for models in
            """,
        "a wrong port of metrics": """\
            model_providers: [{model: demo/echo}]
            metrics:
              address: 127.0.0.1
              port: http  #! metrics.port: must be a whole number, not `http`
            """,
        "a wrong URL with a host": """\
            model_providers:
            - model: openai/a
              base_url: ftp://a  #! model_providers[0].base_url: must be a URL with scheme and host
              http_host: b
              access_key: k
            """,
        "filters that are no list": """\
            model_providers: [{model: demo/echo}]
            filters: [{id: a, use: 'tests.config.passing:first'}]
            listeners:
            - {type: model, name: a, input_filters: a}  #! listeners[0].input_filters: must be a list, not `a`
            """,
        "a store with a wrong URL": """\
            model_providers: [{model: demo/echo}]
            state_storage:
              type: redis
              url: http://a  #! state_storage.url: it begins with none of
            """,
        "a list item on its own line": """\
            model_providers: [{model: demo/echo}]
            auth:
              keys:
              - name: a
                key: 0123456789abcdef
                models:
                - echo
                - ecko  #! auth.keys[0].models[1]: no model is called `ecko`. Did you mean `echo`?
            """,
        "no blank after a colon": """\
            model_providers:
            - {model: demo/echo, base_url:http}  #! model_providers[0].base_url:http: is not a valid key here. Write a
            """,
        "an address that is none": """\
            model_providers: [{model: demo/echo}]
            listeners:
            - {type: model, name: a, address: 1.2.3.4.5}  #! listeners[0].address: must be an IP address or a host name
            """,
        "a misspelt entry that an alias, a rule and a budget name": """\
            model_providers:
            - {model: demo/echo, nmae: a}  #! model_providers[0].nmae: is not a valid key here. Did you mean `name`?
            model_aliases: {fast: {targets: [{model: demo/echo}], fallbacks: [echo]}}
            ratelimits: [{model: echo, selector: {by: entry, value: a}, limit: {in_flight: 1}}]
            budgets: [{name: b, model: demo/echo, selector: {by: caller}, limit: {dollars: 1, unit: day}}]
            """,
        "a wrong price that a budget needs": """\
            model_providers: [{model: demo/echo}]
            prices:
              models:
                demo/echo: {output: 1}  #! prices.models.demo/echo.input: is missing
            budgets: [{name: b, selector: {by: caller}, limit: {dollars: 1, unit: day}}]
            """,
        "a wrong file of prices that a budget needs": """\
            model_providers: [{model: demo/echo}]
            prices: {file: no-such-prices.yaml}  #! prices.file: no-such-prices.yaml: cannot be read
            budgets: [{name: b, selector: {by: caller}, limit: {dollars: 1, unit: day}}]
            """,
        "a wrong limit of a rule": """\
            model_providers: [{model: demo/echo}]
            ratelimits:
            - selector: {by: caller}
              limit: {requests: many, unit: minute}  #! ratelimits[0].limit.requests: must be a whole number, not `many`
            """,
        "a wrong number of attempts": """\
            model_providers: [{model: demo/echo}]
            resilience: {max_attempts: 2.5, hedge: 3s}  #! resilience.max_attempts: must be a whole number, not `2.5`
            """,
        "a wrong alias that a fallback names": """\
            model_providers: [{model: demo/echo}, {model: demo/other}]
            model_aliases:
              fast: {traget: echo}  #! model_aliases.fast.traget: is not a valid key here. Did you mean `target`?
              slow: {target: other, fallbacks: [fast]}
            """,
        "a wrong type of shared state": """\
            model_providers: [{model: demo/echo}]
            shared_state: {type: reddis}  #! shared_state.type: must be `memory` or `redis`, not `reddis`
            """,
        "an address of the older form": """\
            model_providers: [{model: demo/echo}]
            listeners: {egress_traffic: {address: "127.0.0.1:12000"}}  #! listeners.egress_traffic.address: must be an
            """,
    }.items()
]


@pytest.mark.parametrize("text", ONE_MISTAKE)
def test_one_mistake_is_one_problem_though_other_keys_refer_to_it(tmp_path: Path, text: str) -> None:
    text = dedent(text)
    (found,), (said,) = errors(tmp_path, text), marks(text)
    assert found.startswith(said)


@pytest.mark.parametrize("address", ["0.0.0.0", "127.0.0.1", "::", "::1", "[::1]", "localhost", "gateway.acme.example"])
def test_an_address_or_a_hosts_name_can_be_listened_on(address: str) -> None:
    listener = {"type": "model", "name": "a", "address": address}
    loaded = load({"model_providers": [{"model": "demo/a"}], "listeners": [listener]}, {})
    assert loaded.listener.address == address.strip("[]")


def test_several_missing_variables_are_all_named(tmp_path: Path) -> None:
    found = errors(
        tmp_path,
        """\
        model_providers:
        - model: openai/a
          access_key: $NO_A
          base_url: https://$NO_B/${NO_C}
          headers: {x-org: $NO_D, x-fine: $KEY}
        filters: [{id: f, use: 'tests.config.passing:first', options: {deep: [{key: $NO_E}]}}]
        """,
    )
    assert [(problem.split(":")[1], problem.split("`")[1]) for problem in found] == [
        ("3", "NO_A"), ("4", "NO_B"), ("4", "NO_C"), ("5", "NO_D"), ("6", "NO_E"),
    ]  # fmt: skip


def test_filters_that_cannot_be_imported_are_said_with_everything_else(tmp_path: Path) -> None:
    found = errors(
        tmp_path,
        """\
        log_level: loud
        model_providers: [{model: gpt4}]
        model_aliases: {dead: {target: nothing/here}}
        listeners: [{name: a, type: model, input_filters: [f]}]
        filters:
        - id: f
          use: no_such_module:Thing
        """,
    )
    assert [problem.split(": ")[:2] for problem in found] == [
        ["plano_config.yaml:1", "log_level"],
        ["plano_config.yaml:2", "model_providers[0].model"],
        ["plano_config.yaml:3", "model_aliases.dead.target"],
        ["plano_config.yaml:7", "filters[0].use"],
    ]


@pytest.mark.parametrize(
    ("text", "line", "column", "path"),
    [
        ("model_providers:\n- model: demo/a\n  nmae: b\n", 3, 3, "model_providers[0].nmae"),
        ("model_providers:\n  - {model: demo/a, name: [b]}\n", 2, 21, "model_providers[0].name"),
        ("model_providers:\n  - name: b\n", 2, 5, "model_providers[0].model"),
        ("model_providers: [{model: demo/a}]\nlog_level: loud\n", 2, 1, "log_level"),
        ("model_providers: [{model: demo/a}]\nfilters: [{id: a, use: 'no_such:A'}]\nui: 3\n", 2, 19, "filters[0].use"),
        ("model_providers:\n  - {model: [a}\n", 2, 15, ""),
        ("model_providers: [{model: demo/a}]\nlog_level: info\nlog_level: info\n", 3, 1, "log_level"),
    ],
)
def test_a_problem_has_the_column_of_its_key(tmp_path: Path, text: str, line: int, column: int, path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(written(tmp_path, text), {})
    first = caught.value.found[0]
    assert isinstance(first, Problem)
    assert (first.line, first.column, first.path) == (line, column, path)


def test_keys_that_an_alias_of_yaml_takes_over_are_not_given_twice(tmp_path: Path) -> None:
    text = "a: &a {model: demo/a}\nmodel_providers:\n- &b {<<: *a, model: demo/b}\n- {<<: *b, model: demo/c}\n- *b\n"
    assert not [problem for problem in errors(tmp_path, text) if "twice" in problem]


NOT_YAML = [
    ("a:\n\tb: 1\n", "2: is not YAML: column 1: ", "Indent with blanks, because YAML takes no tabs"),
    ('a: 1\nb: "x\nc: 2\n', "2: is not YAML: column 4: ", "The quote that opens here is never closed"),
    ("a: 1\nb: 'x\nc: 2\n", "2: is not YAML: column 4: ", "The quote that opens here is never closed"),
    ("a: 'it's'\n", "1: is not YAML: column 8: ", "Check the quotes, and the indentation against that of line 1"),
    ("a:\n  b: 1\n c: 2\n", "3: is not YAML: column 2: ", "expected the end of the block, but found a key."),
    ("a: 1\n  b: 2\n", "2: is not YAML: column 4: ", "Check the indentation, the blank after a colon"),
    ("a: b: c\n", "1: is not YAML: column 5: ", "put a value with `: ` in quotes"),
    ("a: [1\nb: 2\n", "2: is not YAML: column 2: ", "expected ',' or ']', but got ':'. Check that the bracket that"),
    ("a: {b: 1\nc: 2\n", "2: is not YAML: column 2: ", "expected ',' or '}', but got ':'. Check that the bracket that"),
    ("a: *\n", "1: is not YAML: column 5: ", "Put a value that begins with `*` or `&` in quotes"),
    ("a: *b\n", "1: is not YAML: column 4: ", "Put a value that begins with `*` in quotes"),
    ("a: @b\n", "1: is not YAML: column 4: ", "Put a value that begins with this character in quotes"),
    ("a: !b c\n", "1: is not YAML: column 4: ", "Put a value that begins with `!` in quotes"),
    ("a: 1\n---\nb: 2\n", "2: is not YAML: column 1: ", "take out the `---` in the middle"),
    ('a: "\\q"\n', "1: is not YAML: column 4: ", "In double quotes a backslash begins an escape"),
]


@pytest.mark.parametrize(("text", "place", "hint"), NOT_YAML)
def test_an_error_of_syntax_has_its_place_and_a_hint(tmp_path: Path, text: str, place: str, hint: str) -> None:
    (found,) = errors(tmp_path, text)
    assert found.startswith(f"plano_config.yaml:{place}")
    assert hint in found


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


PLANTED = (
    "sk-planted-0123456789abcdef0123456789abcdef",
    "sk-short-1",
    "AIzaSyPlanted0123456789",
    "0123456789abcdef0123456789abcdef",
    "00112233-4455-6677-8899-aabbccddeeff",
    "gsk_Planted0123456789",
    "eyJhbGciOiJIUzI1NiJ9.planted",
)

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
    "model_providers: [{name: KEY, model: ''}]",
    "model_providers: [{model: demo/a, access_key:KEY}]",
    "model_providers: [{model: demo/a, KEY: x}]",
    "model_providers: [{model: demo/a}]\nmodel_aliases: {KEY: {target: b}}",
    "model_providers: [{model: demo/a}]\nmodel_aliases: {KEY: {target: KEY}}",
    "model_providers: [{model: demo/a}]\nmodel_aliases: {b: {target: 'https://user:KEY@host'}}",
    "model_providers: [{model: demo/a}]\ntracing: {opentracing_grpc_endpoint: 'http://u:KEY@h'}",
    "auth: {keys: [{name: KEY, key: a}, {name: KEY, key: a}]}\nmodel_providers: [{model: demo/a}]",
    "model_list: [{model_name: KEY, litellm_params: {model: openai/a, api_key: KEY, api_base: 'http://h?k=KEY'}}]",
    "providers: {openai: {keys: [{name: k, value: KEY, models: [gpt-4o]}]}}",
    "listeners: [{type: model, name: a, address: KEY}]",
    "model_providers: [{model: openai/a, access_keys: KEY}]",
    "model_providers: [{model: openai/a, access_keys: [[KEY]]}]",
    'model_providers: [{model: openai/a, access_keys: ["KEY\\nKEY"]}]',
    "model_providers: [{model: openai/a, access_keys: [{key: KEY, weight: KEY}]}]",
    "model_providers: [{model: openai/a, access_key: KEY, access_keys: [KEY]}]",
    "model_providers: [{model: demo/a, defaults: {model: KEY}, timeout: KEY}]",
    "model_providers: [{model: demo/a}]\nmodel_aliases: {b: {target: a, fallbacks: [KEY, {target: KEY}]}}",
    "model_providers: [{model: demo/a}]\nmodel_aliases: {KEY: {target: a, fallbacks: [KEY]}}",
    "model_providers: [{model: demo/a}]\nmodel_aliases: {b: {targets: [{model: a}, {model: KEY, endpoint: KEY}]}}",
    "model_providers: [{model: demo/a}]\nmodel_aliases: {b: {targets: [{model: a, endpoint: 'http://KEY@h'}]}}",
    "model_providers: [{model: demo/a}]\nmodel_aliases: {KEY: {target: a}, b: {targets: [{model: KEY}, {model: a}]}}",
    "model_providers: [{model: demo/a}]\nratelimits: [{model: KEY, selector: {by: entry, value: KEY}, limit: {}}]",
    "model_providers: [{model: demo/a}]\nratelimits: [{selector: {key: 'KEY='}, limit: {requests: KEY}}]",
    "model_providers: [{model: demo/a}]\nbudgets: [{name: KEY, fallback: KEY}, {name: KEY}]",
    "shared_state: {type: redis, url: 'KEY://KEY', on_failure: KEY}",
    "resilience: {keepalive: KEY, hedge: [KEY], minimum_rate: KEY}",
]


@pytest.mark.parametrize("key", PLANTED)
@pytest.mark.parametrize("text", MISPLACED)
def test_no_message_shows_a_key_wherever_it_was_put(tmp_path: Path, text: str, key: str) -> None:
    found = errors(tmp_path, text.replace("KEY", key))
    assert found
    assert key not in "\n".join(found)
