"""plano: an LLM gateway that is a plain ASGI application.

The names below are imported on first use, so that a part, such as `plano.frames.sse`, can be imported by itself.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from plano.version import VERSION as __version__

if TYPE_CHECKING:
    from plano.app import Plano
    from plano.errors import ConfigError, PlanoError
    from plano.pipeline import CallNext, Filter
    from plano.request import Request
    from plano.response import Response
    from plano.types import Caller

_HOMES = {
    "CallNext": "plano.pipeline",
    "Caller": "plano.types",
    "ConfigError": "plano.errors",
    "Filter": "plano.pipeline",
    "Plano": "plano.app",
    "PlanoError": "plano.errors",
    "Request": "plano.request",
    "Response": "plano.response",
}

__all__ = ["CallNext", "Caller", "ConfigError", "Filter", "Plano", "PlanoError", "Request", "Response", "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'plano' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
