"""Several worker processes: any scrape shows what all of them counted, and none outlives their parent."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from prometheus_client.mmap_dict import MmapedDict

from plano.testing import FakeProvider, serve
from tests.scraping import Scrape
from tests.servers import free_port, wait_until

PLANO = str(Path(sys.executable).parent / "plano")
CONFIG = """\
model_providers:
- {{model: demo/echo, default: true}}
- {{model: slow/m, base_url: "{slow}", provider_interface: openai, access_key: sk-slow-0123456789}}
state_storage: {{type: none}}
metrics: {{{metrics}}}
"""


@contextmanager
def workers(folder: Path, *, slow: str = "http://127.0.0.1:9", metrics: str = "") -> Iterator[str]:
    """A gateway of two workers; yields its URL."""
    with parent_of_workers(folder, slow=slow, metrics=metrics) as (process, url):
        yield url
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0


@contextmanager
def parent_of_workers(
    folder: Path, *, slow: str = "http://127.0.0.1:9", metrics: str = ""
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process that keeps two workers running, and their URL."""
    (folder / "plano_config.yaml").write_text(CONFIG.format(slow=slow, metrics=metrics))
    command = [PLANO, "up", "--workers", "2", "--port", "0"]
    environment = {**os.environ, "TMPDIR": str(folder)}
    log = (folder / "log").open("w")
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True
    )
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        yield process, said.split()[-1]
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        log.close()


def ask(url: str, model: str = "demo/echo", *, stream: bool = False) -> Any:
    asked = {"model": model, "stream": stream, "messages": [{"role": "user", "content": "Hello"}]}
    if stream:
        asked["stream_options"] = {"include_usage": True}
    headers = {"content-type": "application/json", "connection": "close"}
    request = urllib.request.Request(f"{url}/v1/chat/completions", json.dumps(asked).encode(), headers)
    with urllib.request.urlopen(request, timeout=20) as answer:
        text = answer.read().decode()
    return json.loads(re.findall(r"data: (\{.*\})", text)[-1]) if stream else json.loads(text)


def scraped(url: str) -> Scrape:
    with urllib.request.urlopen(f"{url}/metrics", timeout=20) as answer:
        return Scrape(answer.read().decode())


def access_lines(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "log").read_text().rpartition("\n")[0].splitlines()  # the last may be half written
    return [line for line in map(json.loads, lines) if line["logger"] == "plano.access"]


def counted(folder: Path, kind: str, name: str) -> dict[int, float]:
    """What each worker wrote down under a name, by its process id."""
    found: dict[int, float] = {}
    for file in folder.glob(f"plano-metrics-*/{kind}_*.db"):
        values = MmapedDict.read_all_values_from_file(str(file))
        pid = int(file.stem.rpartition("_")[2])
        found[pid] = sum(value for key, value, *_ in values if json.loads(key)[1] == name)
    return found


def load(url: str, requests: int) -> tuple[int, int]:
    """Ask from eight threads; gives the input and output tokens that the replies said."""
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda number: ask(url, stream=number % 2 == 1), range(requests)))
    usages = [reply["usage"] for reply in replies]
    return sum(u["prompt_tokens"] for u in usages), sum(u["completion_tokens"] for u in usages)


def test_one_scrape_adds_up_what_two_workers_served(tmp_path: Path) -> None:
    with workers(tmp_path) as url:
        read, written = load(url, 200)
        wait_until(lambda: scraped(url).of("plano_requests_total") >= 200)
        found = scraped(url)
        each = counted(tmp_path, "counter", "plano_requests_total")
        assert len(each) == 2, each
        assert all(each.values()), each
        assert found.of("plano_requests_total", status="2xx", outcome="completed") == 200
        assert found.of("plano_requests_total", stream="true") == 100
        assert found.of("gen_ai_server_request_duration_seconds_count") == 200
        assert found.of("gen_ai_server_request_duration_seconds_bucket", le="+Inf") == 200
        assert found.of("gen_ai_server_time_to_first_token_seconds_count") == 100
        tokens = "gen_ai_client_token_usage_sum"
        assert found.of(tokens, gen_ai_token_type="input", estimated="false") == read
        assert found.of(tokens, gen_ai_token_type="output", estimated="false") == written
        assert found.of("plano_requests_in_flight") == 0
        assert found.types["plano_requests"] == "counter"
        wait_until(lambda: len(access_lines(tmp_path)) == 200)
    assert list(tmp_path.glob("plano-metrics-*")) == []


def test_a_worker_that_died_leaves_its_counts_and_not_its_gauges(tmp_path: Path) -> None:
    port = free_port()
    metrics = f"http://127.0.0.1:{port}"
    with (
        serve(FakeProvider(delay=60)) as slow,
        workers(tmp_path, slow=f"{slow}/v1", metrics=f"port: {port}") as url,
    ):
        load(url, 40)
        threading.Thread(target=hang, args=(url,), daemon=True).start()
        wait_until(lambda: scraped(metrics).of("plano_requests_in_flight") == 1)
        wait_until(lambda: scraped(metrics).of("plano_requests_total") == 40)
        busy = [pid for pid, count in counted(tmp_path, "gauge_livesum", "plano_requests_in_flight").items() if count]
        assert len(busy) == 1
        os.kill(busy[0], signal.SIGKILL)
        wait_until(lambda: scraped(metrics).of("plano_requests_in_flight") == 0)
        found = scraped(metrics)
        assert found.of("plano_requests_total") == 40
        assert found.of("plano_build_info") == 1
        wait_until(lambda: re.search(r"worker \d+ listens", (tmp_path / "log").read_text()))
        load(url, 20)
        wait_until(lambda: scraped(metrics).of("plano_requests_total") == 60)


def test_workers_whose_parent_was_killed_answer_what_they_were_asked_and_end(tmp_path: Path) -> None:
    provider = FakeProvider(delay=1.0)
    with serve(provider) as slow, parent_of_workers(tmp_path, slow=f"{slow}/v1") as (parent, url):
        children = psutil.Process(parent.pid).children(recursive=True)
        assert len(children) >= 2
        with ThreadPoolExecutor(1) as pool:
            reply = pool.submit(ask, url, "slow/m")
            wait_until(lambda: len(provider.requests) == 1)
            parent.kill()
            assert reply.result(20)["choices"][0]["finish_reason"] == "stop"
        wait_until(lambda: all(map(gone, children)))
        with socket.create_server(("127.0.0.1", int(url.rpartition(":")[2]))):
            pass  # the port is free


def gone(process: psutil.Process) -> bool:
    """Ended, whether its new parent has noticed (a container's first process may not) or not."""
    with suppress(psutil.NoSuchProcess):
        return process.status() == psutil.STATUS_ZOMBIE
    return True


def hang(url: str) -> None:
    """A request whose worker is going to be killed."""
    try:
        ask(url, "slow/m")
    except OSError:
        return
    raise AssertionError("nobody can have answered this")


def test_one_process_serves_metrics_on_a_port_of_their_own_as_well(tmp_path: Path) -> None:
    port, metrics = free_port(), free_port()
    (tmp_path / "plano_config.yaml").write_text(CONFIG.format(slow="http://127.0.0.1:9", metrics=f"port: {metrics}"))
    command = [PLANO, "up", "--port", str(port)]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=subprocess.STDOUT)
        try:
            wait_until(lambda: f"http://127.0.0.1:{port}" in (tmp_path / "log").read_text())
            ask(f"http://127.0.0.1:{port}")
            assert scraped(f"http://127.0.0.1:{metrics}").of("plano_requests_total") == 1
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=20) == 0
        finally:
            process.kill()
            process.wait()


@pytest.mark.parametrize("count", ["1", "2"])
def test_a_port_for_metrics_that_is_taken_is_an_error(count: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (tmp_path / "plano_config.yaml").write_text(CONFIG.format(slow="http://127.0.0.1:9", metrics=f"port: {port}"))
        command = [PLANO, "up", "--workers", count, "--port", str(free_port())]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=20)
    assert done.returncode == 1
    assert done.stdout == ""
    assert f"error: metrics.port: nothing can listen on 127.0.0.1 port {port}: " in done.stderr
    assert "Traceback" not in done.stderr


def test_check_says_how_many_series_there_can_be(tmp_path: Path) -> None:
    (tmp_path / "plano_config.yaml").write_text(CONFIG.format(slow="http://127.0.0.1:9", metrics=""))
    said = subprocess.run([PLANO, "check"], cwd=tmp_path, capture_output=True, text=True, timeout=20, check=True).stdout
    assert re.search(r"^metrics:\n  /metrics, for anybody who reaches it; at most \d{4,5} series$", said, re.MULTILINE)
