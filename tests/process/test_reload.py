"""SIGHUP: a valid file is served to the requests that begin then, and a wrong file changes nothing."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil
import pytest

from plano.config import Config
from plano.process.launch import Launch, Source
from plano.process.reload import reload
from plano.testing import FakeProvider, Reply, serve
from tests.process.gateway import NUMBERS, plano_up
from tests.servers import wait_until

OLD = "model_providers: [{model: demo/old, default: true}]\nstate_storage: {type: none}\n"
NEW = "model_providers: [{model: demo/new, default: true}]\nstate_storage: {type: none}\n"
WRONG = "model_providers: [{modle: demo/new}]\nlog_level: loud\n"


@NUMBERS
def test_a_file_that_is_right_is_served(workers: str, tmp_path: Path) -> None:
    with plano_up(tmp_path, OLD, "--workers", workers) as gateway:
        assert gateway.models() == ["demo/old"]
        gateway.configure(NEW)
        gateway.signal(signal.SIGHUP)
        wait_until(lambda: all(gateway.models() == ["demo/new"] for _ in range(10)))
        wait_until(lambda: any("reloaded: " in message for message in gateway.messages))
        assert gateway.process.poll() is None


@NUMBERS
def test_a_file_that_is_wrong_changes_nothing_and_the_log_says_every_problem(workers: str, tmp_path: Path) -> None:
    with plano_up(tmp_path, OLD, "--workers", workers) as gateway:
        gateway.configure(WRONG)
        gateway.signal(signal.SIGHUP)
        wait_until(lambda: "goes on" in gateway.log)
        problems = [message for message in gateway.messages if message.startswith("not reloaded: plano_config.yaml:")]
        assert [problem.split(": ")[1:3] for problem in problems] == [
            ["plano_config.yaml:1", "model_providers[0].modle"],
            ["plano_config.yaml:2", "log_level"],
        ]
        assert {tuple(gateway.models()) for _ in range(5)} == {("demo/old",)}
        gateway.configure(NEW)
        gateway.signal(signal.SIGHUP)
        wait_until(lambda: all(gateway.models() == ["demo/new"] for _ in range(10)))


def test_a_worker_that_is_started_anew_serves_what_the_others_serve_although_the_file_is_broken(tmp_path: Path) -> None:
    with plano_up(tmp_path, OLD, "--workers", "2") as gateway:
        gateway.configure(WRONG)
        for worker in workers_of(gateway.process.pid):
            os.kill(worker.pid, signal.SIGKILL)
        wait_until(lambda: sum(message.endswith(" listens") for message in gateway.messages) == 2)
        assert sum("takes its place" in message for message in gateway.messages) == 2
        assert {tuple(gateway.models()) for _ in range(5)} == {("demo/old",)}


def test_a_worker_that_is_started_anew_serves_what_was_reloaded(tmp_path: Path) -> None:
    with plano_up(tmp_path, OLD, "--workers", "2") as gateway:
        gateway.configure(NEW)
        gateway.signal(signal.SIGHUP)
        wait_until(lambda: "reloaded: " in gateway.log)
        gateway.configure(OLD)
        for worker in workers_of(gateway.process.pid):
            os.kill(worker.pid, signal.SIGKILL)
        wait_until(lambda: sum(message.endswith(" listens") for message in gateway.messages) == 2)
        assert {tuple(gateway.models()) for _ in range(5)} == {("demo/new",)}


@NUMBERS
def test_a_stream_that_runs_is_not_touched(workers: str, tmp_path: Path) -> None:
    provider = FakeProvider()
    provider.script(Reply("one two three four five", pause=0.3))
    with serve(provider) as upstream:
        entry = f"{{model: openai/m, base_url: '{upstream}', access_key: k}}"
        old = f"model_providers: [{entry}]\nstate_storage: {{type: none}}\n"
        with plano_up(tmp_path, old, "--workers", workers) as gateway:
            asked = {"model": "openai/m", "stream": True, "messages": [{"role": "user", "content": "Hello"}]}
            answer = gateway.post("/v1/chat/completions", asked)
            assert answer.readline().startswith(b"data: {")
            gateway.configure(NEW)
            gateway.signal(signal.SIGHUP)
            wait_until(lambda: "reloaded: " in gateway.log)
            wait_until(lambda: gateway.models() == ["demo/new"])
            rest = answer.read()
            assert b"five" in rest
            assert rest.endswith(b"data: [DONE]\n\n")


@NUMBERS
def test_the_log_names_settings_that_wait_for_the_next_start(workers: str, tmp_path: Path) -> None:
    with plano_up(tmp_path, OLD, "--workers", workers, "--host", "127.0.0.1") as gateway:
        gateway.configure(NEW + "ui: false\nlog: {access: false}\n")
        gateway.signal(signal.SIGHUP)
        wait_until(lambda: "reloaded: " in gateway.log)
        waiting = [message for message in gateway.messages if "next start" in message]
        assert waiting == [f"`{key}` has changed, which takes effect at the next start" for key in ("log", "ui")]


@pytest.mark.parametrize("key", ["sk-new-key-0123456789"])
def test_a_new_key_is_masked_in_the_log(key: str, tmp_path: Path) -> None:
    with plano_up(tmp_path, OLD) as gateway:
        gateway.configure(
            NEW + f"auth: {{keys: [{{name: app, key: {key}}}]}}\nfilters: [{{id: f, use: 'mine:look'}}]\n"
        )
        (tmp_path / "mine.py").write_text(
            "import logging\n\n\nasync def look(request, call_next):\n"
            f"    logging.getLogger('mine').warning('saw %s', {key!r})\n    return await call_next(request)\n"
        )
        gateway.signal(signal.SIGHUP)
        wait_until(lambda: "reloaded: " in gateway.log)
        connection = gateway.connection()
        connection.request("GET", "/v1/models", headers={"authorization": f"Bearer {key}"})
        assert connection.getresponse().status == 200
        wait_until(lambda: "saw ***" in gateway.log)
        assert key not in gateway.log


KEYS = "auth: {keys: [{name: app, key: sk-app-0123456789}]}\n"


@pytest.mark.parametrize(("host", "keys", "warns"), [("0.0.0.0", "", 1), ("0.0.0.0", KEYS, 0), ("127.0.0.1", "", 0)])
def test_a_file_without_keys_is_warned_of_where_other_machines_can_ask(
    host: str, keys: str, warns: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "plano_config.yaml"
    file.write_text(OLD + KEYS)
    launch = Launch(source=Source.of(file), host=host)
    file.write_text(NEW + keys)
    served: list[Config] = []
    assert reload(launch, lambda config: served.append(config) or ()) is not launch
    assert [entry.name for entry in served[0].providers] == ["demo/new"]
    assert caplog.text.count(f"listening on {host} without any caller keys") == warns


def workers_of(pid: int) -> list[psutil.Process]:
    children = psutil.Process(pid).children()
    return [child for child in children if "resource_tracker" not in " ".join(child.cmdline())]
