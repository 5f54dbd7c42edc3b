"""The command line, as a person or a script uses it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from plano.testing import FakeProvider, Reply, serve
from tests.documents import ROOT

PLANO = str(Path(sys.executable).parent / "plano")
DEMO = "model_providers: [{model: demo/echo, default: true}]\n"
BARE = {name: value for name, value in os.environ.items() if not name.endswith(("_KEY", "_TOKEN"))}


def plano(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [PLANO, *arguments]
    return subprocess.run(command, cwd=cwd, env={**BARE, **environment}, capture_output=True, text=True, timeout=30)


@contextmanager
def up(*arguments: str, cwd: Path, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """A running gateway: its process, its URL, and what it said until it was there."""
    command = [PLANO, "up", *arguments, "--port", "0"]
    process = subprocess.Popen(
        command, cwd=cwd, env={**BARE, **environment}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        assert process.stdout is not None
        said = ""
        while "-d '" not in said:
            line = process.stdout.readline()
            assert line, said
            said += line
        address = re.search(r"listens on (http://\S+)", said)
        assert address, said
        yield process, address[1], said
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=20)


def ask(url: str, body: dict[str, Any], path: str = "/v1/chat/completions") -> Any:
    data = json.dumps({"messages": [{"role": "user", "content": "Hello"}]} | body).encode()
    request = urllib.request.Request(url + path, data, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)


@pytest.mark.parametrize("name", ["plano_config.yaml", "config.yaml"])
def test_up_finds_the_usual_files_and_says_where_it_listens(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(DEMO)
    with up(cwd=tmp_path) as (_, url, said):
        assert "models: demo/echo" in said
        assert "WARNING" not in said
        assert ask(url, {})["model"] == "echo"


def test_up_without_a_file_offers_what_the_environment_has(tmp_path: Path) -> None:
    with up(cwd=tmp_path, GROQ_API_KEY="sk-groq") as (_, url, said):
        assert "demo/" in said
        assert "groq/" in said
        assert "sk-groq" not in said
        assert "You said: Hello" in ask(url, {"model": "demo/echo"})["choices"][0]["message"]["content"]


def test_up_lets_running_requests_end_and_exits_with_success(tmp_path: Path) -> None:
    provider = FakeProvider()
    provider.script(Reply("slow", delay=1.0))
    with serve(provider) as upstream:
        entry = f"{{model: openai/m, base_url: '{upstream}', access_key: k, default: true}}"
        (tmp_path / "plano_config.yaml").write_text(f"model_providers: [{entry}]\n")
        with up(cwd=tmp_path) as (process, url, _):
            answers: list[Any] = []
            thread = threading.Thread(target=lambda: answers.append(ask(url, {})))
            thread.start()
            deadline = time.monotonic() + 10
            while not provider.requests and time.monotonic() < deadline:
                time.sleep(0.01)
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
            thread.join(10)
            assert answers[0]["choices"][0]["message"]["content"] == "slow"


def test_up_lets_running_streams_end_and_logs_them(tmp_path: Path) -> None:
    provider = FakeProvider()
    provider.script(Reply("one two three four five", pause=0.2))
    body = {"messages": [{"role": "user", "content": "Hello"}], "stream": True}
    with serve(provider) as upstream:
        entry = f"{{model: openai/m, base_url: '{upstream}', access_key: k, default: true}}"
        (tmp_path / "plano_config.yaml").write_text(f"model_providers: [{entry}]\n")
        with up(cwd=tmp_path) as (process, url, _):
            request = urllib.request.Request(
                f"{url}/v1/chat/completions", json.dumps(body).encode(), {"content-type": "application/json"}
            )
            with urllib.request.urlopen(request, timeout=20) as answer:
                first = answer.readline()
                process.send_signal(signal.SIGTERM)
                rest = answer.read()
            assert first.startswith(b"data: {")
            assert rest.endswith(b"data: [DONE]\n\n")
            assert rest.count(b'"content"') > 3
            assert process.wait(20) == 0
            assert process.stdout is not None
            lines = [json.loads(line) for line in process.stdout.read().splitlines() if line.startswith("{")]
    asked = [line for line in lines if line.get("path") == "/v1/chat/completions"]
    assert [(line["stream"], line["outcome"]) for line in asked] == [(True, "completed")]


def test_up_stops_on_ctrl_c_with_success(tmp_path: Path) -> None:
    (tmp_path / "plano_config.yaml").write_text(DEMO)
    with up(cwd=tmp_path) as (process, _, _):
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0


def test_up_with_workers_serves_from_several_processes(tmp_path: Path) -> None:
    (tmp_path / "plano_config.yaml").write_text(DEMO + "state_storage: {type: none}\n")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [PLANO, "up", "--port", str(port), "--workers", "2"],
        cwd=tmp_path,
        env=BARE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        answer = None
        deadline = time.monotonic() + 20
        while answer is None and time.monotonic() < deadline:
            try:
                answer = ask(f"http://127.0.0.1:{port}", {})
            except OSError:
                time.sleep(0.1)
        assert answer is not None
        assert answer["model"] == "echo"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=20)


def test_up_with_workers_wants_a_store_that_they_can_share(tmp_path: Path) -> None:
    (tmp_path / "plano_config.yaml").write_text(DEMO)
    done = plano("up", "--port", "0", "--workers", "2", cwd=tmp_path)
    assert done.returncode == 1
    for word in ("--workers 2", "memory", "sqlite", "redis", "postgres", "none"):
        assert word in done.stderr
    assert "Traceback" not in done.stderr


def test_up_warns_loudly_when_anybody_can_reach_it(tmp_path: Path) -> None:
    (tmp_path / "plano_config.yaml").write_text(DEMO)
    with up("--host", "0.0.0.0", cwd=tmp_path) as (_, _, said):
        assert "WARNING: listening on 0.0.0.0 without any caller keys" in said
    (tmp_path / "plano_config.yaml").write_text(DEMO + "auth: {keys: [{name: app, key: sk-app}]}\n")
    with up("--host", "0.0.0.0", cwd=tmp_path) as (_, _, said):
        assert "WARNING" not in said
        assert "sk-app" not in said


@pytest.mark.parametrize("command", ["up", "check", "models"])
def test_everything_wrong_is_said_at_once_with_file_line_and_key(command: str, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text(
        "model_providers:\n"
        "  - model: openai/gpt-4o\n"
        "    access_key: $NO_SUCH_KEY\n"
        "  - modle: openai/o3\n"
        "model_aliases:\n"
        "  fast: {target: nothing/there}\n"
    )
    done = plano(command, "bad.yaml", cwd=tmp_path)
    assert done.returncode == 1
    assert "bad.yaml:3" in done.stderr
    assert "NO_SUCH_KEY" in done.stderr
    assert "bad.yaml:4" in done.stderr
    assert "model" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    done = plano("check", "missing.yaml", cwd=tmp_path)
    assert done.returncode == 1
    assert "missing.yaml" in done.stderr


def test_check_says_what_would_happen(tmp_path: Path) -> None:
    (tmp_path / "plano_config.yaml").write_text(
        "model_providers:\n"
        "  - {model: openai/gpt-4o, access_key: sk-literal}\n"
        "  - {model: azure_openai/gpt-4o, access_key: sk-literal, base_url: 'https://acme.openai.azure.com'}\n"
        "model_aliases:\n"
        "  fast: {target: openai/gpt-4o}\n"
    )
    done = plano("check", cwd=tmp_path)
    assert done.returncode == 0
    for words in ("openai/gpt-4o", "chat, responses", "fast", "auth -> alias", "`gpt-4o` is a name of"):
        assert words in done.stdout
    assert "sk-literal" not in done.stdout + done.stderr


@pytest.mark.parametrize("command", ["up", "check", "models"])
def test_a_configuration_of_litellm_is_told_in_one_problem(command: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(
        "model_list:\n  - {model_name: a, litellm_params: {model: openai/a, api_key: os.environ/KEY}}\n"
        "litellm_settings: {drop_params: true}\n"
    )
    done = plano(command, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == (
        "error: config.yaml:1: is a configuration of LiteLLM, not of plano; in plano's form it begins with:\n"
        "model_providers:\n  - {model: openai/a, access_key: $KEY}\n"
    )


WARNED = DEMO + "log_level: info\ntracing: {trace_arch_internal: true}\n"
WRONG = DEMO + "log_level: loud\nfilters:\n- {id: f, use: 'no_such_module:Thing'}\n"


@pytest.mark.parametrize(
    ("text", "arguments", "status"),
    [
        (DEMO, [], 0),
        (DEMO, ["--strict"], 0),
        (WARNED, [], 0),
        (WARNED, ["--strict"], 1),
        (WRONG, [], 1),
        (WRONG, ["--strict"], 1),
        (DEMO, ["--stricter"], 2),
        (DEMO, ["--format", "xml"], 2),
    ],
)
def test_checks_exit_status_tells_what_it_found(text: str, arguments: list[str], status: int, tmp_path: Path) -> None:
    (tmp_path / "plano_config.yaml").write_text(text)
    done = plano("check", *arguments, cwd=tmp_path)
    assert done.returncode == status
    assert "Traceback" not in done.stderr
    if arguments == ["--strict"]:
        assert ("error: plano_config.yaml:" in done.stderr) == (status == 1)


@pytest.mark.parametrize(
    ("text", "arguments", "valid", "problems"),
    [
        (DEMO, [], True, []),
        (WARNED, [], True, [(3, 11, "tracing.trace_arch_internal", "warning")]),
        (WARNED, ["--strict"], False, [(3, 11, "tracing.trace_arch_internal", "warning")]),
        (WRONG, [], False, [(2, 1, "log_level", "error"), (4, 11, "filters[0].use", "error")]),
        (DEMO + "log_level: [\n", [], False, [(3, 1, "", "error")]),
        (
            "ui: 3\n" + WARNED,
            [],
            False,
            [(1, 1, "ui", "error"), (4, 11, "tracing.trace_arch_internal", "warning")],
        ),
        (DEMO + "filters:\n- {id: f, use: 'no_such_module:Thing'}\n", [], False, [(3, 11, "filters[0].use", "error")]),
    ],
)
def test_check_says_it_in_one_json_object(
    text: str, arguments: list[str], valid: bool, problems: list[tuple[int, int, str, str]], tmp_path: Path
) -> None:
    (tmp_path / "plano_config.yaml").write_text(text)
    done = plano("check", "--format", "json", *arguments, cwd=tmp_path)
    said = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (0 if valid else 1, "")
    assert list(said) == ["file", "valid", "problems"]
    assert (said["file"], said["valid"]) == ("plano_config.yaml", valid)
    keys = ["line", "column", "key", "severity", "message"]
    assert [list(problem) for problem in said["problems"]] == [keys] * len(problems)
    assert [tuple(problem[key] for key in keys[:4]) for problem in said["problems"]] == problems
    assert all(problem["message"] for problem in said["problems"])


def test_very_many_problems_are_bounded_on_a_terminal_and_complete_in_json(tmp_path: Path) -> None:
    callers = ", ".join(f"{{name: n{n}, key: 0123456789abcdef{n}, models: [gone-{n}]}}" for n in range(500))
    (tmp_path / "plano_config.yaml").write_text(DEMO + f"auth: {{keys: [{callers}]}}\n")
    done = plano("check", cwd=tmp_path)
    lines = done.stderr.splitlines()
    assert (len(lines), lines[-1]) == (51, "error: and 450 more")
    assert max(map(len, lines)) < 200
    assert len(json.loads(plano("check", "--format", "json", cwd=tmp_path).stdout)["problems"]) == 500


def test_very_many_callers_are_described_in_bounded_lines(tmp_path: Path) -> None:
    models = ", ".join(f"demo/m{n}" for n in range(20))
    callers = ", ".join(f"{{name: n{n}, key: 0123456789abcdef{n}, models: [{models}]}}" for n in range(500))
    text = f"model_providers: [{{model: demo/*}}]\nauth: {{keys: [{callers}]}}\n"
    (tmp_path / "plano_config.yaml").write_text(text)
    done = plano("check", cwd=tmp_path)
    lines = done.stdout.splitlines()
    assert done.returncode == 0
    assert lines[lines.index("callers:") + 1].endswith("demo/m17 and 10 more)")
    assert "  and 450 more" in lines
    assert max(map(len, lines)) < 400


def test_models_prints_one_name_a_line(tmp_path: Path) -> None:
    (tmp_path / "plano_config.yaml").write_text(DEMO + "model_aliases: {fast: {target: demo/echo}}\n")
    done = plano("models", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "demo/echo\tdemo/echo\necho\tdemo/echo\nfast\tdemo/echo\n")


def test_models_asks_for_what_wildcards_cover(tmp_path: Path) -> None:
    with serve(FakeProvider(models=("llama-9",))) as url:
        entry = f"{{model: acme/*, provider_interface: openai, base_url: '{url}'}}"
        (tmp_path / "plano_config.yaml").write_text(f"model_providers: [{entry}]\n")
        done = [plano("models", *options, cwd=tmp_path) for options in ((), ("--ask",))]
    assert [each.returncode for each in done] == [0, 0], done[1].stderr
    assert done[0].stdout == "acme/*\tacme/*\n"
    assert done[1].stdout == "acme/llama-9\tacme/llama-9\nllama-9\tacme/llama-9\n"


def test_a_filter_of_ones_own_is_found_where_the_command_is_given(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("async def look(request, call_next):\n    return await call_next(request)\n")
    (tmp_path / "plano_config.yaml").write_text(DEMO + "filters: [{id: look, type: python, use: 'mine:look'}]\n")
    done = plano("check", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "auth -> look -> alias" in done.stdout
    (tmp_path / "plano_config.yaml").write_text(DEMO + "filters: [{id: look, type: python, use: 'mine:gone'}]\n")
    done = plano("check", cwd=tmp_path)
    assert done.returncode == 1
    assert "look" in done.stderr


OLD_PYTHON = f"""\
#!/bin/sh
exec {sys.executable} -c 'import sys; sys.version_info = (3, 10, 13); exec(sys.argv[1])' "$2"
"""


def test_make_with_a_python_that_is_too_old_says_so_and_leaves_nothing_behind(tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    python = tmp_path / "python3.10"
    python.write_text(OLD_PYTHON)
    python.chmod(0o755)
    command = ["make", "run", f"PYTHON={python}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30)
    assert done.returncode != 0
    assert f"plano needs Python 3.11 or later; {python} is 3.10." in done.stderr
    assert not (tmp_path / ".venv").exists()
