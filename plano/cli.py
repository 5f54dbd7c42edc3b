"""The command line: `plano up`, `plano check`, `plano models`."""

from __future__ import annotations

import asyncio
import gc
import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import click
import msgspec
import uvicorn

from plano.app import Plano
from plano.config import Config, from_environment, load
from plano.config.report import describe, warnings_of
from plano.config.verdict import Verdict, bounded, refused
from plano.credentials.loopback import is_loopback
from plano.edge.metrics_port import MetricsPort, shared_directory
from plano.errors import ConfigError
from plano.observability import logs
from plano.runtime import heap
from plano.server import Connection
from plano.version import VERSION

logger = logging.getLogger("plano")

USUAL_NAMES = ("plano_config.yaml", "config.yaml")
GRACE_SECONDS = 30
"""Seconds that running requests have to end once the server was asked to stop."""

_CONFIG_VARIABLE = "PLANO_CONFIG"
_LEVEL_VARIABLE = "PLANO_LOG_LEVEL"
_HOST_VARIABLE = "PLANO_HOST"
_OLLAMA = ("127.0.0.1", 11434)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, prog_name="plano")
def main() -> None:
    """plano: an LLM gateway. OpenAI's and Anthropic's APIs in front, any provider behind."""
    sys.path.insert(0, os.getcwd())  # a configuration's own filters are imported from the working directory


@main.command()
@click.argument("config", required=False, type=click.Path(path_type=Path))
@click.option("--host", help="Address to listen on.  [default: the config's, else 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), help="Port.  [default: the config's, else 12000]")
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes.")
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    help="The least severe level that is logged.  [default: the config's, else info]",
)
def up(config: Path | None, host: str | None, port: int | None, workers: int, log_level: str | None) -> None:
    """Run the gateway in the foreground.

    Without CONFIG, it reads plano_config.yaml or config.yaml in the working directory. Without either, it serves each
    provider whose usual key variable is set, a running Ollama, and the demo provider.
    """
    path = find_config(config)
    try:
        loaded = load_config(path)
        check_workers(workers, loaded)
        host = host or loaded.listener.address
        loaded = reached_at(loaded, host)
        application = Plano(loaded)
    except ConfigError as error:
        fail(error)
    level = log_level or loaded.log_level
    set_up_logs(loaded, level)
    say("warning", loaded.warnings)
    warn_if_open(host, loaded)
    try:
        serve(application, path, host, loaded.listener.port if port is None else port, workers, level)
    except ConfigError as error:
        fail(error)


@main.command()
@click.argument("config", required=False, type=click.Path(path_type=Path))
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("--strict", is_flag=True, help="Fail if there are warnings.")
def check(config: Path | None, form: str, strict: bool) -> None:
    """Describe what CONFIG does, or list its errors.

    Exit status: 0 if it is valid; 1 if it has errors or, with --strict, warnings; 2 if the command is wrong.
    """
    verdict = judge(find_config(config))
    if form == "json":
        click.echo(verdict.as_json(strict=strict))
    elif verdict.errors:
        say("error", verdict.errors)
    else:
        click.echo(verdict.description)
        if strict:
            say("error", verdict.problems)
    sys.exit(verdict.status(strict=strict))


def judge(path: Path | None) -> Verdict:
    """Loads and assembles the configuration as `up` does, and says what it found."""
    file = None if path is None else str(path)
    try:
        loaded = load_config(path)
        application = Plano(loaded)
    except ConfigError as error:
        return refused(error, file)
    links = [link.name for link in application.pipeline]
    description = describe(loaded, application.models, links, application.most_metric_lines)
    return Verdict(file=file, problems=warnings_of(loaded, application.models), description=description)


@main.command()
@click.argument("config", required=False, type=click.Path(path_type=Path))
@click.option("--ask", is_flag=True, help="Ask providers for the lists of their models first.")
def models(config: Path | None, ask: bool) -> None:
    """List the names of models that requests may use, one per line: name, tab, target.

    Without --ask, the models under a wildcard are those that plano came with.
    """
    try:
        application = Plano(load_config(find_config(config)))
    except ConfigError as error:
        fail(error)
    if ask:
        asyncio.run(_ask_for_models(application))
    for info in application.models.listing():
        click.echo(f"{info.id}\t{info.target}")


async def _ask_for_models(application: Plano) -> None:
    try:
        await application.ask_for_models()
    finally:
        await application.aclose()


def find_config(given: Path | None) -> Path | None:
    """The configuration's file: the given one, else the first of the usual names that exists, else None."""
    if given is not None:
        return given
    return next((path for name in USUAL_NAMES if (path := Path(name)).is_file()), None)


def load_config(path: Path | None) -> Config:
    """Loads the configuration in a file or, without one, makes it from the environment.

    Raises:
        ConfigError: it has errors, or there is no such file.
    """
    if path is None:
        return from_environment(os.environ, ollama_answers=_answers(_OLLAMA))
    return load(path)


def check_workers(workers: int, config: Config) -> None:
    """Checks that several processes can share the state store.

    Raises:
        ConfigError: each process would have a store of its own.
    """
    if workers > 1 and config.state_storage is not None and config.state_storage.type == "memory":
        raise ConfigError(
            f"--workers {workers}: the processes cannot share the state store `memory`, so it would depend on chance "
            "whether a conversation can be continued. Set `state_storage.type` to sqlite (for one machine), redis or "
            "postgres (for many), or to none to store nothing."
        )


def create() -> Plano:
    """Makes the application of a worker process. `plano up` passes it the configuration's path, the log level and the
    address in environment variables."""
    sys.path.insert(0, os.getcwd())
    path = os.environ.get(_CONFIG_VARIABLE)
    config = load_config(Path(path) if path else None)
    set_up_logs(config, os.environ.get(_LEVEL_VARIABLE, config.log_level))
    threading.Thread(target=_end_after_the_parent, name="plano-parent", daemon=True).start()
    application = Plano(reached_at(config, os.environ.get(_HOST_VARIABLE, "")))
    tune_memory()
    return application


def _end_after_the_parent() -> None:
    """Ends this worker once its parent is gone, because a parent that was killed cannot ask it to stop."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        logger.warning("process %s, which started this worker, is gone; the worker ends", parent.pid)
        signal.raise_signal(signal.SIGTERM)


def set_up_logs(config: Config, level: str) -> None:
    """Sets up logging as configured, at `level`."""
    logs.setup(level, config.log.format, secrets=config.secrets())


def reached_at(config: Config, host: str) -> Config:
    """Completes the configuration for the address it is served at. If `ui` is not set, `/ui` is on only at loopback."""
    loopback = is_loopback(host)
    return msgspec.structs.replace(config, loopback=loopback, ui=loopback if config.ui is None else config.ui)


def fail(error: ConfigError) -> NoReturn:
    """Prints the problems and exits with status 1."""
    say("error", error.problems)
    sys.exit(1)


def say(severity: str, problems: Sequence[object]) -> None:
    """Prints each problem on a line, or the first of them if there are very many."""
    for line in bounded([str(problem) for problem in problems]):
        click.echo(f"{severity}: {line}", err=True)


def warn_if_open(host: str, config: Config) -> None:
    """Warns if other machines can reach the gateway without a key, because then they can use the providers' keys."""
    if config.callers or is_loopback(host):
        return
    rule = "!" * 78
    click.echo(
        f"{rule}\nWARNING: listening on {host} without any caller keys. Anybody who can reach this address\n"
        f"can use your providers' keys. Configure `auth: {{keys: [...]}}`, or listen on 127.0.0.1.\n{rule}",
        err=True,
    )


def welcome(application: Plano, host: str, port: int) -> str:
    """The text that `plano up` prints: the address, the models, and a request to try."""
    names = [info.id for info in application.models.listing()]
    shown = ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
    at = "127.0.0.1" if host in ("0.0.0.0", "::", "") else host
    url = f"http://{f'[{at}]' if ':' in at else at}:{port}"
    model = next((name for name in names if not name.endswith("*")), "openai/gpt-4o")
    return "\n".join(
        [
            f"plano {VERSION} listens on {url}",
            f"models: {shown or 'none'}",
            *([f"look:   {url}/ui"] if application.config.ui else []),
            f"try:    curl {url}/v1/chat/completions -H 'content-type: application/json' \\",
            f'          -d \'{{"model": "{model}", "messages": [{{"role": "user", "content": "Hello"}}]}}\'',
        ]
    )


class _Server(uvicorn.Server):
    """A server that prints its address once it listens; with `--port 0` the port is not known before."""

    def __init__(self, config: uvicorn.Config, application: Plano, metrics: MetricsPort | None) -> None:
        super().__init__(config)
        self._application = application
        self._metrics = metrics

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        if self._metrics is not None:
            await self._metrics.start()
        await super().startup(sockets)
        if self.started:
            bound = self.servers[0].sockets[0].getsockname()
            click.echo(welcome(self._application, self.config.host, bound[1]))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        if self._metrics is not None:
            await self._metrics.stop()


def serve(application: Plano, path: Path | None, host: str, port: int, workers: int, level: str) -> None:
    """Serves until asked to stop. Running requests then have `GRACE_SECONDS` to end."""
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn raises the signal again when it is done, but stopping on request is a success.
        signal.signal(number, _stopped)
    if path is not None:
        os.environ[_CONFIG_VARIABLE] = str(path.resolve())
    options: dict[str, Any] = {
        "host": host,
        "port": port,
        "http": Connection,
        "ws": "none",
        "log_level": level,
        "log_config": None,
        "access_log": False,
        "proxy_headers": False,
        "server_header": False,
        "timeout_keep_alive": 75,
        "timeout_graceful_shutdown": GRACE_SECONDS,
    }
    if workers == 1:
        tune_memory()
        server = _Server(uvicorn.Config(application, **options), application, metrics_port(application))
        if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup ignores it
            signal.signal(signal.SIGHUP, server.handle_exit)
        server.run()
        return
    os.environ |= {_LEVEL_VARIABLE: level, _HOST_VARIABLE: host}
    options["port"] = port = port or _free_port(host)
    with shared_directory() as directory:
        metrics = metrics_port(application, directory)
        with metrics.in_thread() if metrics is not None else nullcontext():
            click.echo(welcome(application, host, port))
            uvicorn.run("plano.cli:create", factory=True, workers=workers, **options)


def metrics_port(application: Plano, directory: str | None = None) -> MetricsPort | None:
    """Makes the server for metrics alone if one is configured. `directory` has the files in which workers count."""
    metrics = application.config.metrics
    if not metrics.enabled or metrics.port is None:
        return None
    try:
        return MetricsPort(application.exposition(directory), metrics.address or "127.0.0.1", metrics.port)
    except ConfigError as error:
        fail(error)


def tune_memory() -> None:
    """Tunes the memory of plano's own process. A process that mounts plano is left as it is."""
    spare_the_collector()
    heap.give_back()


def spare_the_collector() -> None:
    """Makes the cycle collector run less often, because requests leave no cycles behind and most other objects live as
    long as the process."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


def _stopped(number: int, frame: FrameType | None) -> None:
    """Ignores SIGTERM and SIGINT while the server does not handle them itself."""


def _free_port(host: str) -> int:
    """Finds a free port for processes that share one, because `--port 0` would give each process another."""
    with socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        return int(probe.getsockname()[1])


def _answers(address: tuple[str, int]) -> bool:
    try:
        with socket.create_connection(address, timeout=0.2):
            return True
    except OSError:
        return False
