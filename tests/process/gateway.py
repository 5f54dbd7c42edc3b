"""A real `plano up`, in a folder of its own."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.servers import wait_until

PLANO = str(Path(sys.executable).parent / "plano")
FILE = "plano_config.yaml"


class Gateway:
    """A running gateway.

    Attributes:
        process: the process that was started, which is the parent if there are workers.
        folder: its working directory, with its configuration in `plano_config.yaml`.
        url: where it says that it listens; "" until it does.
    """

    def __init__(self, folder: Path, config: str, *arguments: str, **environment: str) -> None:
        self.folder = folder
        self._open = ExitStack()
        self.configure(config)
        command = [PLANO, "up", *arguments, *(() if "--port" in arguments else ("--port", "0"))]
        with (folder / "said").open("w") as said, (folder / "log").open("w") as log:
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                env={**os.environ, **environment},
                stdout=said,
                stderr=log,
                start_new_session=True,
                preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # nohup's ignoring is inherited
            )

    def configure(self, config: str) -> None:
        (self.folder / FILE).write_text(config)

    @property
    def said(self) -> str:
        return (self.folder / "said").read_text()

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    @property
    def messages(self) -> list[str]:
        """The messages of the log, without the lines about requests."""
        lines = [json.loads(line) for line in self.log.splitlines() if line.startswith("{") and line.endswith("}")]
        return [line["message"] for line in lines if "message" in line]

    @property
    def url(self) -> str:
        first, newline, _ = self.said.partition("\n")
        return first.rpartition(" ")[2] if newline else ""

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def wait(self) -> Gateway:
        """Waits until it listens."""
        wait_until(lambda: self.url or self.process.poll() is not None)
        assert self.url, self.log
        return self

    def connection(self) -> http.client.HTTPConnection:
        """A connection that is closed together with the gateway."""
        made = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        self._open.callback(made.close)
        return made

    def get(self, path: str) -> tuple[int, Any]:
        """Asks on a connection of its own, so that any worker may answer."""
        connection = self.connection()
        connection.request("GET", path, headers={"connection": "close"})
        with connection.getresponse() as answer:
            return answer.status, json.load(answer)

    def models(self) -> list[str]:
        """The full names of its models, without the bare ids."""
        return [model["id"] for model in self.get("/v1/models")[1]["data"] if "/" in model["id"]]

    def post(self, path: str, body: dict[str, Any]) -> http.client.HTTPResponse:
        """Sends a request and returns what begins to come."""
        connection = self.connection()
        connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
        answer = connection.getresponse()
        self._open.callback(answer.close)
        return answer

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def ended(self) -> int:
        """Its exit status, once it has ended."""
        return self.process.wait(20)

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._open.close()


@contextmanager
def plano_up(folder: Path, config: str, *arguments: str, **environment: str) -> Iterator[Gateway]:
    """A gateway that listens; all its processes are gone afterwards."""
    gateway = Gateway(folder, config, *arguments, **environment)
    try:
        yield gateway.wait()
    finally:
        gateway.kill()


def plano_fails(folder: Path, config: str, *arguments: str, **environment: str) -> str:
    """The standard error of a start that fails. It prints nothing else, and its status is 1."""
    gateway = Gateway(folder, config, *arguments, **environment)
    try:
        assert gateway.ended() == 1, gateway.log
        assert gateway.said == ""
        assert "Traceback" not in gateway.log
        return gateway.log
    finally:
        gateway.kill()


NUMBERS = pytest.mark.parametrize("workers", ["1", "2"])
"""One process, and two workers below a parent."""
