"""A call of `plano up`, with the configuration's text, which is handed on so that all workers serve the same."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import msgspec
from msgspec import Struct

from plano.config import Config, from_environment, load_text, read
from plano.credentials.loopback import is_loopback
from plano.errors import ConfigError
from plano.observability import logs

_OLLAMA = ("127.0.0.1", 11434)


class Source(Struct, frozen=True, kw_only=True):
    """A configuration that was read, and can be loaded any number of times.

    Attributes:
        file: its path as it was given; None if the environment is the configuration.
        text: what stood in the file.
        ollama_answers: an Ollama listens on its usual port. This matters only without a file.
    """

    file: str | None = None
    text: str = ""
    ollama_answers: bool = False

    @classmethod
    def of(cls, file: Path | None) -> Source:
        """Reads a file. Without one, it looks for an Ollama on this machine.

        Raises:
            ConfigError: the file cannot be read.
        """
        if file is None:
            return cls(ollama_answers=_answers(_OLLAMA))
        return cls(file=str(file), text=read(file))

    def load(self) -> Config:
        """Loads the configuration, with this process's environment. Raises ConfigError."""
        if self.file is None:
            return from_environment(os.environ, ollama_answers=self.ollama_answers)
        return load_text(self.text, self.file)


class Launch(Struct, frozen=True, kw_only=True):
    """The options of `plano up`; None leaves an option to the configuration. It can be pickled for a worker.

    Attributes:
        drain_seconds: in place of the configuration's `drain.timeout`.
    """

    source: Source
    host: str | None = None
    port: int | None = None
    workers: int = 1
    level: str | None = None
    drain_seconds: float | None = None

    def config(self) -> Config:
        """Loads the configuration and completes it by the options.

        Raises:
            ConfigError: it cannot work, or not with these options.
        """
        config = self.source.load()
        check_workers(self.workers, config)
        listener, drain = config.listener, config.drain
        host = listener.address if self.host is None else self.host
        port = listener.port if self.port is None else self.port
        seconds = drain.timeout if self.drain_seconds is None else self.drain_seconds
        return reached_at(
            msgspec.structs.replace(
                config,
                listener=msgspec.structs.replace(listener, address=host, port=port),
                drain=msgspec.structs.replace(drain, timeout=seconds),
                log_level=self.level or config.log_level,
            ),
            host,
        )

    def again(self) -> Launch:
        """The same call, with the file as it is now. Raises ConfigError if it cannot be read."""
        file = self.source.file
        return msgspec.structs.replace(self, source=Source.of(None if file is None else Path(file)))


def reached_at(config: Config, host: str) -> Config:
    """Completes the configuration for the address it is served at. If `ui` is not set, `/ui` is on only at loopback."""
    loopback = is_loopback(host)
    return msgspec.structs.replace(config, loopback=loopback, ui=loopback if config.ui is None else config.ui)


def check_workers(workers: int, config: Config) -> None:
    """Checks that several processes can share the state store, and what limits and budgets have counted.

    Raises:
        ConfigError: each process would have one of its own.
    """
    if workers > 1 and config.state_storage is not None and config.state_storage.type == "memory":
        raise ConfigError(
            f"--workers {workers}: the processes cannot share the state store `memory`, so it would depend on chance "
            "whether a conversation can be continued. Set `state_storage.type` to sqlite (for one machine), redis or "
            "postgres (for many), or to none to store nothing."
        )
    if workers > 1 and (config.rules or config.budgets) and config.shared_state.type == "memory":
        raise ConfigError(
            f"--workers {workers}: each process would count limits and budgets by itself, so that callers would get "
            f"{workers} times as much. Set `shared_state: {{type: redis, url: ...}}`."
        )


def openness(config: Config) -> str | None:
    """Says that other machines can reach the gateway without a key, and so can use the providers' keys; None if they
    cannot."""
    host = config.listener.address
    if config.callers or is_loopback(host):
        return None
    return (
        f"listening on {host} without any caller keys. Anybody who can reach this address\n"
        "can use your providers' keys. Configure `auth: {keys: [...]}`, or listen on 127.0.0.1."
    )


def set_up_logs(config: Config) -> None:
    """Sets up the logs of this process as configured."""
    logs.setup(config.log_level, config.log.format, secrets=config.secrets())


def adjust_logs(config: Config) -> None:
    """Adjusts the logs of this process to a configuration that was reloaded."""
    logs.adjust(config.log_level, config.secrets())


def _answers(address: tuple[str, int]) -> bool:
    try:
        with socket.create_connection(address, timeout=0.2):
            return True
    except OSError:
        return False
