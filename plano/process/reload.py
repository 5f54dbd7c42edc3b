"""A reload: the file is read and checked again, and served only if nothing is wrong with it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from plano.config import Config
from plano.errors import ConfigError
from plano.process.launch import Launch, adjust_logs, openness

logger = logging.getLogger("plano")


def reload(launch: Launch, serve: Callable[[Config], Sequence[str]]) -> Launch:
    """Reads the configuration again and serves it, or logs every problem and goes on with the old one.

    Args:
        serve: replaces the configuration, and returns the keys that wait for the next start; `Plano.reload`.

    Returns:
        What is served now: the same launch if something is wrong.
    """
    name = launch.source.file or "the environment"
    try:
        again = launch.again()
        config = again.config()
        waiting = serve(config)
    except ConfigError as error:
        for problem in error.problems:
            logger.error("not reloaded: %s", problem)
        logger.error("the configuration of before goes on, because %s cannot be used as it is now", name)
        return launch
    adjust_logs(config)
    for warning in config.warnings:
        logger.warning("%s", warning)
    why = openness(config)
    if why is not None:
        logger.warning("%s", why.replace("\n", " "))
    for key in waiting:
        logger.warning("`%s` has changed, which takes effect at the next start", key)
    logger.info("reloaded: requests that begin now are served as %s says", name)
    return again
