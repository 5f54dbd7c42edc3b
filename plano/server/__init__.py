"""HTTP/1.1 for `plano up`: the protocol that uvicorn runs on each connection.

It speaks plain ASGI to the application, so the same application runs under uvicorn's own protocols too. Give it to
uvicorn as `uvicorn.Config(app, http=Connection)`.
"""

from __future__ import annotations

from plano.server.connection import Connection
from plano.server.limits import Limits

__all__ = ["Connection", "Limits"]
