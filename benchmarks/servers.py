"""Starts and stops every server that is measured, all in the same way."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import machine, wire
from benchmarks.load import http_request
from benchmarks.machine import PYTHON, cpu_seconds, tree

ROOT = Path(__file__).resolve().parent.parent
PEERS = Path(__file__).resolve().parent / ".peers"
KEY = "sk-bench-0123456789abcdef0123456789abcdef"
UPSTREAM_KEY = "sk-proj-" + "0123456789abcdefghij" * 3
"""A key as long as providers' keys, which differs from every header that comes back."""

READY_SECONDS = 120.0
STORE_BYTES = 64_000_000

COMMAND = "from plano.cli import main; main()"


class Server:
    """A process that serves HTTP on loopback.

    Attributes:
        name: its name in tables.
        port: the port it listens on.
        started: seconds, and CPU seconds, from its start until it answered.
    """

    def __init__(self, name: str, *, folder: Path, headers: dict[str, str] | None = None) -> None:
        self.name = name
        self.port = _free_port()
        self.started = (0.0, 0.0)
        self._folder = folder
        self._headers = headers or {}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, "it was not started"
        return self._process.pid

    def cpu(self) -> float:
        return cpu_seconds(tree(self.pid))

    def request(
        self, dialect: str, model: str, *, stream: bool = False, size: int = 0, store: bool | None = None
    ) -> bytes:
        """The bytes of a request to this server."""
        body = wire.request(dialect, model, stream=stream, size=size, store=store)
        return http_request(wire.PATHS[dialect], body, self._headers)

    def start(self, command: Sequence[str], *, cores: Sequence[int] = (), env: dict[str, str] | None = None) -> None:
        """Starts the server and waits until it answers; raises RuntimeError with its last output if it does not."""
        log = self._folder / f"{self.name.replace(' ', '-').replace('/', '-')}-{self.port}.log"
        began = time.perf_counter()
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=machine.environment(**(env or {})),
                preexec_fn=(lambda: os.sched_setaffinity(0, cores)) if cores else None,
            )
        while not _answers(self.port):
            if self._process.poll() is not None or time.perf_counter() - began > READY_SECONDS:
                self.stop()
                raise RuntimeError(f"{self.name} did not start:\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.002)
        self.started = (time.perf_counter() - began, self.cpu())

    def stop(self) -> None:
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(timeout=5)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _answers(port: int) -> bool:
    """Whether a server gives any HTTP reply."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=0.5) as probe:
            probe.settimeout(5)
            probe.sendall(b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")
            return probe.recv(16).startswith(b"HTTP/1.")
    except OSError:
        return False


class Fleet:
    """The servers of one run. They share an upstream, a folder for their files, and the division of cores.

    Attributes:
        under: a prefix of the command of each server that is started from now on.
    """

    def __init__(self, *, pinning: machine.Pinning) -> None:
        self.pinning = pinning
        self.under: list[str] = []
        self._running: list[Server] = []
        self._folder = Path(tempfile.mkdtemp(prefix="plano-bench-"))
        self.upstream = self._start_upstream()

    def stop(self) -> None:
        for server in reversed(self._running):
            server.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def end(self, server: Server) -> None:
        server.stop()
        self._running.remove(server)

    def _start_upstream(self) -> Server:
        server = Server("direct", folder=self._folder)
        command = [PYTHON, "-m", "benchmarks.fake", "--port", str(server.port)]
        return self._started(server, command, cores=self.pinning.load)

    def _started(
        self,
        server: Server,
        command: Sequence[str],
        *,
        cores: Sequence[int] | None = None,
        env: dict[str, str] | None = None,
    ) -> Server:
        self._running.append(server)
        server.start([*self.under, *command], cores=self.pinning.tested if cores is None else cores, env=env)
        return server

    # -- plano --

    def plano(
        self,
        *,
        name: str = "plano",
        filters: int = 0,
        workers: int = 1,
        bare: bool = False,
        store: str = "memory",
        cores: Sequence[int] = (),
    ) -> Server:
        """`plano up` with its full default pipeline: callers' keys, metrics, the memory store.

        Args:
            filters: how many filters that do nothing are added.
            bare: it has neither keys nor metrics nor a store.
            store: the type of the state store; several workers cannot share `memory`. It keeps 64 MB at most, so that
                stored turns are not taken for a leak.
        """
        server = Server(name, folder=self._folder, headers={} if bare else {"authorization": f"Bearer {KEY}"})
        config = self._folder / f"plano-{server.port}.json"  # JSON is YAML
        config.write_text(json.dumps(plano_config(self.upstream.port, filters=filters, bare=bare, store=store)))
        command = [PYTHON, "-c", COMMAND, "up", str(config), "--host", "127.0.0.1", "--port", str(server.port)]
        command += ["--workers", str(workers), "--log-level", "warning"]
        return self._started(server, command, cores=cores or None)

    # -- its peers --

    def uvicorn(self) -> Server:
        """Starts uvicorn as plano runs it, with an application that answers by itself."""
        server = Server("uvicorn alone", folder=self._folder)
        command = [PYTHON, "-m", "uvicorn", "benchmarks.bare:app", "--port", str(server.port), "--loop", "uvloop"]
        command += ["--http", "httptools", "--no-access-log", "--log-level", "warning", "--no-server-header"]
        return self._started(server, [*command, "--timeout-keep-alive", "75", "--lifespan", "off"])

    def nginx(self) -> Server | None:
        """Starts nginx as a proxy to the upstream; None if it is not installed."""
        program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if program is None:
            return None
        server = Server("nginx", folder=self._folder)
        folder = self._folder / "nginx"
        folder.mkdir(exist_ok=True)
        config = folder / "nginx.conf"
        config.write_text(_NGINX.format(folder=folder, port=server.port, upstream=self.upstream.port))
        return self._started(server, [program, "-e", str(folder / "error.log"), "-p", str(folder), "-c", str(config)])

    def portkey(self) -> Server | None:
        """Starts Portkey's gateway; None if it is not installed."""
        script = PEERS / "portkey/node_modules/@portkey-ai/gateway/build/start-server.js"
        node = shutil.which("node")
        if node is None or not script.exists():
            return None
        headers = {
            "x-portkey-provider": "openai",
            "x-portkey-custom-host": f"http://127.0.0.1:{self.upstream.port}/v1",
            "authorization": f"Bearer {KEY}",
        }
        server = Server("Portkey", folder=self._folder, headers=headers)
        env = {"NODE_ENV": "production", "TRUSTED_CUSTOM_HOSTS": "127.0.0.1,localhost"}
        return self._started(server, [node, str(script), f"--port={server.port}", "--headless"], env=env)

    def litellm(self) -> Server | None:
        """Starts LiteLLM's proxy; None if it is not installed."""
        program = PEERS / "litellm/bin/litellm"
        if not program.exists():
            return None
        server = Server("LiteLLM", folder=self._folder, headers={"authorization": f"Bearer {KEY}"})
        config = self._folder / "litellm.yaml"
        upstream = {"api_base": f"http://127.0.0.1:{self.upstream.port}/v1", "api_key": "sk-upstream"}
        models = [{"model_name": model, "litellm_params": {"model": f"openai/{model}", **upstream}} for model in MODELS]
        config.write_text(json.dumps({"model_list": models, "general_settings": {"master_key": KEY}}))
        command = [str(program), "--config", str(config), "--host", "127.0.0.1", "--port", str(server.port)]
        env = {"LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False"}
        return self._started(server, [*command, "--num_workers", "1", "--telemetry", "False"], env=env)


MODELS = ("plain", "w-2000", "s-1-0", "s-100-0", "s-100-5", "s-1-600000")
"""The ids that are asked for; what they mean is the fake upstream's affair."""

PAIRS = [(client, upstream) for client in wire.PATHS for upstream in wire.PATHS]


def model_for(client: str, upstream: str, model: str, *, named: bool = False) -> str:
    """The name that a client of plano uses to get `model` over the API `upstream`.

    With `named` it begins with the provider's name, so that plano has to replace it in the body.
    """
    if client == upstream and not named:
        return model if client != "messages" else f"m-{model}"
    return f"only-{upstream}/{'m-' if upstream == 'messages' else ''}{model}"


def plano_config(upstream: int, *, filters: int = 0, bare: bool = False, store: str = "memory") -> dict[str, Any]:
    place = {"base_url": f"http://127.0.0.1:{upstream}", "access_key": UPSTREAM_KEY}
    providers: list[dict[str, Any]] = []
    for model in MODELS:
        providers.append({"model": f"openai/{model}", **place})
        providers.append({"model": f"anthropic/m-{model}", **place})
    for dialect, interface in (("chat", "openai"), ("responses", "openai"), ("messages", "anthropic")):
        entry = {"model": f"only-{dialect}/*", "provider_interface": interface, "apis": [dialect], **place}
        providers.append(entry)
    config: dict[str, Any] = {"version": "v0.4.0", "model_providers": providers, "log_level": "warning"}
    if filters:
        config["filters"] = [
            {"id": f"noop-{number}", "type": "python", "use": "benchmarks.noop:noop"} for number in range(filters)
        ]
    if bare:
        return config | {"metrics": {"enabled": False}}
    keys = [{"name": "bench", "key": KEY}, {"name": "other", "key": KEY[::-1]}]
    storage = {"type": store, "max_bytes": STORE_BYTES} if store == "memory" else {"type": store}
    return config | {"auth": {"keys": keys}, "state_storage": storage}


_NGINX = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 16384; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  client_max_body_size 64m;
  client_body_buffer_size 32m;
  keepalive_requests 1000000000;
  upstream fake {{ server 127.0.0.1:{upstream}; keepalive 4096; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://fake;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
      proxy_read_timeout 700s;
    }}
  }}
}}
"""
