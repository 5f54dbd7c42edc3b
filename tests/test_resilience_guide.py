"""Every example of the guide to resilience: its configuration loads, its commands run, and show what stands there."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from plano import Plano
from plano.config import load
from plano.routing.policy import POLICIES
from plano.routing.settings import ANY
from plano.testing import Failure, FakeClock, FakeHosts, Reply, Usage, ask, serve
from plano.upstream.standing import HURTS, RESTS
from tests.documents import ROOT, examples

GUIDE = "docs/resilience.md"
KEYS = {
    "OPENAI_API_KEY": "sk-of-openai-1",
    "OPENAI_API_KEY_2": "sk-of-openai-2",
    "ANTHROPIC_API_KEY": "sk-of-anthropic",
    "AZURE_OPENAI_API_KEY": "sk-of-azure",
    "GROQ_API_KEY": "sk-of-groq",
    "APP_KEY": "sk-of-the-application",
    "REDIS_URL": "redis://127.0.0.1:1/0",
}
OPENAI, ANTHROPIC, AZURE, GROQ = (
    "api.openai.com",
    "api.anthropic.com",
    "my-resource.openai.azure.com",
    "api.groq.com",
)
HOSTS = (OPENAI, ANTHROPIC, AZURE, GROQ)
_HEADING = re.compile(r"^## (.*)$", re.MULTILINE)
Script = Callable[[FakeHosts], None]


class Console:
    """A console example: commands, each with the lines that it shows."""

    def __init__(self, text: str) -> None:
        parts = re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]
        self.commands = [
            (command, shown.splitlines()) for command, _, shown in (each.partition("\n") for each in parts)
        ]


def section(title: str) -> str:
    text = (ROOT / GUIDE).read_text()
    begin = text.index(f"## {title}\n")
    end = _HEADING.search(text, begin + 3)
    return text[begin : end.start() if end else len(text)]


def blocks(title: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", section(title), re.MULTILINE | re.DOTALL)


class Scene:
    """A console example of a section, and what must be so for it to be true.

    Args:
        title: the section; its first configuration is in force, unless `of` names another section.
        number: the number of the example within the section.
        script: tells the providers how to answer.
        change: parts of the configuration to replace.
        before: the times that the first command was run before.
    """

    def __init__(
        self,
        title: str,
        number: int,
        script: Script,
        *,
        of: str | None = None,
        change: tuple[str, str] = ("", ""),
        before: int = 0,
    ) -> None:
        self.title = title
        self.console = Console(blocks(title, "console")[number])
        self.config = blocks(of or title, "yaml")[0]
        assert change[0] in self.config
        self.config = self.config.replace(*change)
        self.script = script
        self.before = before
        self.name = f"{title} {number}"


def _fails_once(hosts: FakeHosts) -> None:
    hosts[OPENAI].fails(1, 500)
    hosts[OPENAI].reply("Hello!")


def _openai_fails(hosts: FakeHosts) -> None:
    hosts[OPENAI].fail(500)
    hosts[ANTHROPIC].reply("Hello!")


def _all_fail(hosts: FakeHosts) -> None:
    for host in hosts:
        hosts[host].fail(500, "The server had an error.")


def _breaks_after_output(hosts: FakeHosts) -> None:
    hosts[OPENAI].breaks_after(4, how=Failure(529, "The model is overloaded."))


def _one_key_is_at_its_limit(hosts: FakeHosts) -> None:
    hosts[OPENAI].fails(1, 429)
    hosts[OPENAI].reply("Hello!")


def _keys_are_refused(hosts: FakeHosts) -> None:
    hosts[OPENAI].fail(401)


def _openai_is_down(hosts: FakeHosts) -> None:
    hosts.down.add(OPENAI)
    hosts[AZURE].reply("Hello!")


def _openai_is_silent(hosts: FakeHosts) -> None:
    hosts[OPENAI].script(Reply("late", delay=300))
    hosts[ANTHROPIC].reply("Hello!")


def _openai_is_slow(hosts: FakeHosts) -> None:
    hosts[OPENAI].script(Reply("Hello!", delay=40))


def _all_is_well(hosts: FakeHosts) -> None:
    for host in hosts:
        hosts[host].reply("Hello!")


def _500_dollars(hosts: FakeHosts) -> None:
    hosts[OPENAI].reply("Hello!", usage=Usage(input_tokens=10, output_tokens=50_000_000))
    hosts[GROQ].reply("Hello!")


SCENES = [
    Scene("The same model again", 0, _fails_once),
    Scene("Another model", 0, _openai_fails),
    Scene("Another model", 1, _all_fail),
    Scene("Another model", 2, _openai_fails),
    Scene("Before and after the first output", 0, _breaks_after_output, of="Another model"),
    Scene("Several keys", 0, _one_key_is_at_its_limit),
    Scene("Several keys", 1, _keys_are_refused),
    Scene("Several targets", 0, _openai_is_down, change=("weight: 20", "weight: 0")),
    Scene("Slow models", 0, _openai_is_silent),
    Scene("Silence", 0, _openai_is_slow),
    Scene("Limits", 0, _all_is_well),
    Scene("Budgets", 0, _500_dollars, before=1),
    Scene("Budgets", 1, _500_dollars, change=("    fallback: cheap-model\n", ""), before=1),
]
EVERY_SCENE = pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)


def written(config: str, folder: Path) -> Path:
    """The configuration and the file that the commands send, in a folder."""
    (folder / "hello.json").write_text(examples(GUIDE, "json")[0])
    path = folder / "plano_config.yaml"
    path.write_text(config)
    return path


def run(command: str, folder: Path, url: str) -> list[str]:
    """The lines that a command shows."""
    command = command.replace("localhost:12000", url)
    done = subprocess.run(command, shell=True, cwd=folder, capture_output=True, text=True, timeout=60, check=True)
    return [line.rstrip("\r") for line in done.stdout.split("\n")]


def missing(expected: Sequence[str], seen: Sequence[str]) -> list[str]:
    """The lines that were not seen; `…` stands for anything."""
    patterns = {line: re.escape(line).replace("…", ".*") for line in expected}
    return [line for line, pattern in patterns.items() if not any(re.fullmatch(pattern, each) for each in seen)]


@EVERY_SCENE
def test_an_example_shows_what_clients_see(scene: Scene, tmp_path: Path) -> None:
    clock = FakeClock()
    hosts = FakeHosts(*HOSTS, clock=clock)
    scene.script(hosts)
    gateway = Plano(load(written(scene.config, tmp_path)), transport=hosts, clock=clock)
    with serve(gateway) as url:
        for _ in range(scene.before):
            run(scene.console.commands[0][0], tmp_path, url)
        for command, expected in scene.console.commands:
            seen = run(command, tmp_path, url)
            assert missing(expected, seen) == [], "\n".join(seen)


def test_a_crowd_is_told_to_come_back(tmp_path: Path) -> None:
    title = "Admission"
    hosts = FakeHosts(*HOSTS)
    hosts[OPENAI].reply("late", delay=30)
    config = blocks(title, "yaml")[0].replace(": 500, queue: 200", ": 1, queue: 0").replace(": 250", ": 1")
    (command, expected), *_ = Console(blocks(title, "console")[0]).commands
    with serve(Plano(load(written(config, tmp_path)), transport=hosts)) as url:
        first = subprocess.Popen(command.replace("localhost:12000", url), shell=True, cwd=tmp_path)
        try:
            while not hosts[OPENAI].requests:
                assert first.poll() is None
            seen = run(command, tmp_path, url)
        finally:
            first.kill()
            first.wait(20)
    assert missing(expected, seen) == [], "\n".join(seen)
    assert {"retry-after: 1", "retry-after: 2", "retry-after: 3"} & set(seen)


@pytest.mark.parametrize("number", range(len(examples(GUIDE, "yaml"))))
def test_a_configuration_loads_without_a_warning(number: int, tmp_path: Path) -> None:
    config = load(written(examples(GUIDE, "yaml")[number], tmp_path))
    assert not config.warnings


def rows(title: str, columns: int) -> list[list[str]]:
    """The rows of the first table of a section, without its head."""
    lines = [line.strip("| ").split(" | ") for line in section(title).splitlines() if line.startswith("|")]
    return [row for row in lines[2:] if len(row) == columns]


def test_the_table_of_failures_is_the_one_that_holds() -> None:
    again = {"–": "never", "after a wait": "backoff", "after its wait": "after_wait", "once": "once"}
    found = {row[0].strip("`"): row[2:] for row in rows("Failures", 6)}
    assert set(found) == set(POLICIES) - {"broken_stream"}
    for failure, (key, same, target, health) in found.items():
        policy = POLICIES[failure]  # type: ignore[index]
        assert (key == "yes") == policy.next_key, failure
        assert again[same] == policy.again, failure
        assert (target != "–") == policy.next_target, failure
        assert (target == "yes") == (failure in ANY), failure
        assert (health == "hurt") == (failure in HURTS), failure
        assert ("rests" in health) == (failure in RESTS), failure


@pytest.mark.parametrize("row", rows("Shared state", 3), ids=lambda row: str(row[0]).strip("`"))
async def test_what_holds_without_redis(row: list[str], tmp_path: Path) -> None:
    """Nobody listens at the address of the example's Redis."""
    config = blocks("Shared state", "yaml")[0].replace("local", row[0].strip("`")).replace("600", "2")
    hosts = FakeHosts(*HOSTS)
    gateway = Plano(load(written(config, tmp_path)), transport=hosts)
    answers = [await ask(gateway, "chat", "Hello", model="smart-model") for _ in range(3)]
    refused = {"local": (200, 200, 429), "open": (200, 200, 200), "closed": (503, 503, 503)}
    assert tuple(answer.status for answer in answers) == refused[row[0].strip("`")]
    assert not any("x-ratelimit-limit-requests" in answer.headers for answer in answers)
    await gateway.aclose()
