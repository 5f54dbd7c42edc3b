"""The end of `plano up`: new requests while it drains, running ones until the timeout, and their last events."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from plano.dialects import client_codec
from plano.testing import FakeProvider, Reply, serve
from plano.types import CLIENT_DIALECTS, ClientDialect
from tests.process.gateway import NUMBERS, Gateway, plano_fails, plano_up
from tests.servers import wait_until
from tests.test_pairs import PATHS
from tests.test_vendor_rules import asked_in

DEMO = "model_providers: [{model: demo/echo, default: true}]\nstate_storage: {type: none}\n"


@contextmanager
def before(folder: Path, reply: Reply, *arguments: str, more: str = "") -> Iterator[tuple[Gateway, FakeProvider]]:
    """A gateway in front of an upstream that always gives this reply."""
    provider = FakeProvider()
    provider.script(*[reply] * 4)
    with serve(provider) as upstream:
        entry = f"{{model: openai/m, base_url: '{upstream}', access_key: k, default: true}}"
        config = f"model_providers: [{entry}]\nstate_storage: {{type: none}}\n{more}"
        with plano_up(folder, config, *arguments) as gateway:
            yield gateway, provider


def access_lines(gateway: Gateway) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in gateway.log.splitlines() if line.startswith("{")]
    return [line for line in lines if line.get("path") in PATHS.values()]


@pytest.mark.parametrize(("dialect", "workers"), [*((dialect, "1") for dialect in CLIENT_DIALECTS), ("responses", "2")])
def test_a_stream_that_takes_too_long_ends_in_its_error_event(
    dialect: ClientDialect, workers: str, tmp_path: Path
) -> None:
    endless = Reply(" ".join(["word"] * 1000), pause=0.05)
    with before(tmp_path, endless, "--workers", workers, "--drain-timeout", "0.5") as (gateway, _):
        answer = gateway.post(PATHS[dialect], asked_in(dialect, stream=True))
        assert answer.read(20)
        gateway.signal(signal.SIGTERM)
        rest = answer.read()  # raises IncompleteRead where the framing is broken off
        assert gateway.ended() == 0
        (line,) = access_lines(gateway)
    assert b"gateway_stopping" in rest or b"overloaded_error" in rest
    assert b"The gateway is stopping and cannot finish this request." in rest[-600:]
    assert rest.endswith(b"\n\n")
    assert line["bytes_out"] > 1000
    assert (line["outcome"], line["error"], line["stream"]) == ("failed", "gateway_stopping", True)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("dialect", CLIENT_DIALECTS)
def test_a_request_without_a_reply_is_a_503_of_its_dialect(
    dialect: ClientDialect, stream: bool, tmp_path: Path
) -> None:
    with before(tmp_path, Reply("late", delay=60.0), "--drain-timeout", "0") as (gateway, provider):
        connection = gateway.connection()
        body = json.dumps(asked_in(dialect, stream=stream))
        connection.request("POST", PATHS[dialect], body, {"content-type": "application/json"})
        wait_until(lambda: provider.requests)
        gateway.signal(signal.SIGTERM)
        answer = connection.getresponse()
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert answer.headers["x-request-id"]
        error = client_codec(dialect).read_error(503, answer.read())
        assert error.kind == "overloaded"
        assert "stopping" in error.message
        assert gateway.ended() == 0
        assert "Traceback" not in gateway.log


@NUMBERS
def test_readiness_says_draining_while_new_requests_are_still_accepted(workers: str, tmp_path: Path) -> None:
    with plano_up(tmp_path, DEMO + "drain: {delay: 5m}\n", "--workers", workers) as gateway:
        assert gateway.get("/readyz")[1]["status"] == "ready"
        gateway.signal(signal.SIGTERM)
        wait_until(lambda: all(gateway.get("/readyz")[0] == 503 for _ in range(8)))
        assert gateway.get("/readyz")[1]["status"] == "draining"
        assert gateway.get("/v1/models")[0] == 200
        gateway.signal(signal.SIGTERM)
        assert gateway.ended() == 1


def test_after_the_delay_new_connections_are_refused_and_running_requests_go_on(tmp_path: Path) -> None:
    with before(tmp_path, Reply("one two three", pause=1.0), more="drain: {delay: 100ms}\n") as (gateway, _):
        answer = gateway.post("/v1/chat/completions", asked_in("chat", stream=True))
        assert answer.read(20)
        gateway.signal(signal.SIGTERM)
        wait_until(lambda: "stopping: 1 running requests" in gateway.log)
        with pytest.raises(ConnectionRefusedError):
            gateway.get("/readyz")
        assert answer.read().endswith(b"data: [DONE]\n\n")
        assert gateway.ended() == 0


@NUMBERS
def test_a_second_signal_ends_it_at_once(workers: str, tmp_path: Path) -> None:
    with before(tmp_path, Reply("late", delay=60.0), "--workers", workers) as (gateway, provider):
        connection = gateway.connection()
        connection.request("POST", "/v1/chat/completions", json.dumps(asked_in("chat")))
        wait_until(lambda: provider.requests)
        gateway.signal(signal.SIGTERM)
        wait_until(lambda: "stopping: 1 running requests" in gateway.log)
        assert gateway.process.poll() is None
        gateway.signal(signal.SIGINT)
        assert gateway.ended() == 1
        assert "Traceback" not in gateway.log


@NUMBERS
def test_a_start_at_a_port_that_is_taken_says_what_helps(workers: str, tmp_path: Path) -> None:
    with plano_up(tmp_path, DEMO) as first:
        port = first.port
        (tmp_path / "second").mkdir()
        said = plano_fails(tmp_path / "second", DEMO, "--workers", workers, "--port", str(port))
    assert said == (
        f"error: another program listens on 127.0.0.1 port {port}. Stop it, or choose another port: "
        f"`plano up --port {port + 1}`\n"
    )


def test_the_log_of_a_start_and_an_end_has_no_lines_of_uvicorns(tmp_path: Path) -> None:
    with plano_up(tmp_path, DEMO) as gateway:
        gateway.signal(signal.SIGTERM)
        assert gateway.ended() == 0
        assert gateway.log == ""
