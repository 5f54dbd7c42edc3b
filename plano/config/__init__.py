"""The configuration: `load` reads it from a file or a dictionary, `from_environment` makes one without a file."""

from __future__ import annotations

from plano.config.environment import from_environment
from plano.config.loading import load, load_text, read
from plano.config.problems import Problem
from plano.config.settings import Config

__all__ = ["Config", "Problem", "from_environment", "load", "load_text", "read"]
