"""Every command and every example of the README."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from plano import Plano
from plano.config import load
from plano.testing import FakeHosts, FakeProvider, serve
from tests.asgi import ask
from tests.documents import ROOT, examples

README = "README.md"
KEYS = {"OPENAI_API_KEY": "sk-1", "ANTHROPIC_API_KEY": "sk-2", "APP_KEY": "sk-3"}
HELLO = {"messages": [{"role": "user", "content": "My number is 123-45-6789."}]}


@pytest.fixture(scope="module")
def gateway() -> Iterator[str]:
    with serve(Plano(ROOT / "config" / "plano_config.yaml")) as url:
        yield url


def run_python(code: str, cwd: Path, **environment: str) -> str:
    """What a program prints; its own warnings are errors."""
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:__main__", "-c", code],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_make_run_in_a_fresh_clone_and_the_first_curl(tmp_path: Path) -> None:
    """From nothing to the first answer: a clone, `make run`, and the README's curl."""
    make, curl = examples(README, "sh")[:2]
    clone = tmp_path / "plano"
    ignored = shutil.ignore_patterns(".venv*", ".git", "*.egg-info", ".*_cache", ".hypothesis", "__pycache__")
    shutil.copytree(ROOT, clone, symlinks=True, ignore=ignored)
    config = clone / "config" / "plano_config.yaml"
    config.write_text(config.read_text().replace("port: 12000", "port: 0"))
    server = subprocess.Popen(make, shell=True, cwd=clone, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        assert server.stdout is not None
        told = ""
        for line in server.stdout:
            told += line
            if "-d '" in line:
                break
        address = re.search(r"listens on (http://127\.0\.0\.1:\d+)", told)
        assert address, told
        assert "fast-model" in told
        theirs = told[told.index("curl") :]
        for command in (curl.replace("http://127.0.0.1:12000", address[1]), theirs):
            answer = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=20, check=True).stdout
            assert "You said: Hello" in answer
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(20)
    assert server.stdout is not None
    server.stdout.close()


@pytest.mark.parametrize("number", [0, 1])
def test_the_sdk_examples(number: int, gateway: str, tmp_path: Path) -> None:
    code = examples(README, "python")[number].replace("http://127.0.0.1:12000", gateway)
    assert "You said: Tell me a joke" in run_python(code, tmp_path)


def test_a_conversation_goes_on(gateway: str, tmp_path: Path) -> None:
    code = examples(README, "python")[5].replace("http://127.0.0.1:12000", gateway)
    assert run_python(code, tmp_path).strip() == "['message', 'message', 'message']"


def test_the_config_with_real_providers_and_plano_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "plano_config.yaml").write_text(examples(README, "yaml")[0])
    command = next(block for block in examples(README, "sh") if "check" in block)
    done = subprocess.run(
        f"{Path(sys.executable).parent}/{command}", shell=True, cwd=tmp_path, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stderr
    for words in ("openai/gpt-4o", "smart-model", "anthropic/claude-sonnet-4-5", "auth -> alias"):
        assert words in done.stdout
    assert not any(key in done.stdout + done.stderr for key in KEYS.values())


async def test_the_config_reaches_each_provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    path = tmp_path / "plano_config.yaml"
    path.write_text(examples(README, "yaml")[0])
    provider = FakeProvider()
    gateway = Plano(path, transport=provider)
    key = {"authorization": "Bearer sk-3"}
    assert (await ask(gateway, "POST", "/v1/chat/completions", HELLO)).status == 401
    for model, url in {
        "smart-model": "https://api.anthropic.com/v1/messages",
        "fast-model": "http://127.0.0.1:11434/v1/chat/completions",
        "groq/llama-3.3-70b-versatile": "https://api.groq.com/openai/v1/chat/completions",
        "": "https://api.openai.com/v1/chat/completions",
    }.items():
        assert (await ask(gateway, "POST", "/v1/chat/completions", HELLO | {"model": model}, key)).status == 200
        assert provider.last.url == url


def test_mounting_into_fastapi(tmp_path: Path) -> None:
    shutil.copy(ROOT / "config" / "plano_config.yaml", tmp_path)
    code = examples(README, "python")[2] + (
        "\nfrom starlette.testclient import TestClient\n"
        "answer = TestClient(app).post('/llm/v1/responses', json={'model': 'fast-model', 'input': 'Hello'})\n"
        "print(answer.json()['output'][0]['content'][0]['text'])\n"
    )
    assert "You said: Hello" in run_python(code, tmp_path)


def test_asking_in_process_without_a_socket(tmp_path: Path) -> None:
    assert "You said: Hello" in run_python(examples(README, "python")[3], tmp_path)


async def test_a_filter_from_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(ROOT / "config" / "plano_config.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Plano] = {}
    exec(examples(README, "python")[4], names)
    for stream in (False, True):
        answer = await ask(names["app"], "POST", "/v1/chat/completions", HELLO | {"stream": stream})
        assert b"***" in answer.body
        assert b"6789" not in answer.body


async def test_a_filter_from_the_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = examples(README, "python")[4]
    monkeypatch.delitem(sys.modules, "my_filters", raising=False)  # another document has one too
    (tmp_path / "my_filters.py").write_text(code[: code.index("app =")])
    monkeypatch.syspath_prepend(str(tmp_path))
    path = tmp_path / "config.yaml"
    path.write_text("model_providers: [{model: demo/echo, default: true}]\n" + examples(README, "yaml")[1])
    gateway = Plano(load(path))
    assert [link.name for link in gateway.pipeline].count("redact") == 1
    answer = await ask(gateway, "POST", "/v1/chat/completions", HELLO)
    assert b"***" in answer.body


async def test_another_model_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    said = examples(README, "yaml")
    path = tmp_path / "config.yaml"
    path.write_text(said[0][: said[0].index("model_aliases")] + said[2])
    hosts = FakeHosts("api.openai.com", "api.anthropic.com")
    hosts["api.openai.com"].fail(500)
    gateway = Plano(path, transport=hosts)
    answer = await ask(gateway, "POST", "/v1/chat/completions", HELLO | {"model": "smart-model"})
    assert (answer.status, answer.headers["x-plano-fallback"]) == (200, "server")
    assert answer.headers["x-plano-model"] == "anthropic/claude-sonnet-4-5"
    assert answer.headers["x-ratelimit-limit-tokens"] == "100000"


@pytest.mark.parametrize("document", [README, *(str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md"))])
def test_links_between_documents_lead_somewhere(document: str) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", (ROOT / document).read_text()):
        assert ((ROOT / document).parent / target).exists(), f"{document} points at {target}"
