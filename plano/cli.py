"""The command line: `plano up`, `plano check`, `plano models`."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import NoReturn

import click

from plano.app import Plano
from plano.config import Config
from plano.config.addresses import bare_address
from plano.config.report import describe, warnings_of
from plano.config.verdict import Verdict, bounded, refused
from plano.edge.metrics_port import MetricsPort, shared_directory
from plano.errors import ConfigError
from plano.process.banner import banner
from plano.process.launch import Launch, Source, openness, set_up_logs
from plano.process.memory import tune_memory
from plano.process.server import Server
from plano.process.sockets import bound, url_of
from plano.process.supervisor import Supervisor
from plano.version import VERSION

USUAL_NAMES = ("plano_config.yaml", "config.yaml")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, prog_name="plano")
def main() -> None:
    """plano: an LLM gateway. OpenAI's and Anthropic's APIs in front, any provider behind."""
    sys.path.insert(0, str(Path.cwd()))  # a configuration's own filters are imported from the working directory


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
@click.option(
    "--drain-timeout",
    type=click.FloatRange(0),
    metavar="SECONDS",
    help="The time that running requests have after SIGTERM.  [default: the config's, else 30]",
)
def up(
    config: Path | None,
    host: str | None,
    port: int | None,
    workers: int,
    log_level: str | None,
    drain_timeout: float | None,
) -> None:
    """Run the gateway in the foreground.

    Without CONFIG, it reads plano_config.yaml or config.yaml in the working directory. Without either, it serves each
    provider whose usual key variable is set, a running Ollama, and the demo provider.

    SIGHUP reads CONFIG again. SIGTERM lets running requests end; a second one does not wait for them.
    """
    try:
        launch = Launch(
            source=Source.of(find_config(config)),
            host=None if host is None else bare_address(host),
            port=port,
            workers=workers,
            level=log_level,
            drain_seconds=drain_timeout,
        )
        loaded = launch.config()
        application = Plano(loaded, open=True)
        sockets = bound(loaded.listener.address, loaded.listener.port)
    except ConfigError as error:
        fail(error)
    set_up_logs(loaded)
    say("warning", loaded.warnings)
    warn_if_open(loaded)
    sys.exit(run(application, launch, sockets))


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
        loaded = Source.of(path).load()
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
        application = Plano(Source.of(find_config(config)).load())
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


def fail(error: ConfigError) -> NoReturn:
    """Prints the problems and exits with status 1."""
    say("error", error.problems)
    sys.exit(1)


def say(severity: str, problems: Sequence[object]) -> None:
    """Prints each problem on a line, or the first of them if there are very many."""
    for line in bounded([str(problem) for problem in problems]):
        click.echo(f"{severity}: {line}", err=True)


def warn_if_open(config: Config) -> None:
    """Warns if other machines can reach the gateway without a key, because then they can use the providers' keys."""
    why = openness(config)
    if why is not None:
        rule = "!" * 78
        click.echo(f"{rule}\nWARNING: {why}\n{rule}", err=True)


def run(application: Plano, launch: Launch, sockets: list[socket.socket]) -> int:
    """Serves until asked to stop. Returns the exit status."""

    def listens() -> None:
        click.echo(banner(application, url_of(application.config.listener.address, sockets)))

    if launch.workers == 1:
        tune_memory()
        server = Server(application, launch, started=listens, metrics=metrics_port(application))
        server.run(sockets)
        return 1 if server.hurried else 0
    with shared_directory() as directory:
        metrics = metrics_port(application, directory)
        with metrics.in_thread() if metrics is not None else nullcontext():
            return Supervisor(launch, application, sockets, listens).run()


def metrics_port(application: Plano, directory: str | None = None) -> MetricsPort | None:
    """Makes the server for metrics alone if one is configured. `directory` has the files in which workers count."""
    metrics = application.config.metrics
    if not metrics.enabled or metrics.port is None:
        return None
    try:
        return MetricsPort(application.exposition(directory), metrics.address or "127.0.0.1", metrics.port)
    except ConfigError as error:
        fail(error)
