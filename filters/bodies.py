"""The body log: requests and replies in full, to find the cause of a problem. It is off by default."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable

from plano.credentials.masking import Mask
from plano.observability.access import LIKE_A_KEY
from plano.pipeline import CallNext
from plano.request import Request
from plano.response import Pieces, Response
from plano.types import Secret

logger = logging.getLogger("plano.bodies")

LOGGED_CHARACTERS = 64 * 1024
"""The most characters of a body that are logged."""

_FIELD = re.compile(
    r'("(?:[\w-]*(?:api[_-]?key|secret|passw(?:or)?d|authorization|credential|cookie)[\w-]*|(?:\w+_)?token)"\s*:\s*)'
    r'"(?:[^"\\]|\\.)*"',
    re.IGNORECASE,
)
_BASE64 = re.compile(r"[A-Za-z0-9+/=]{256,}")


class Bodies:
    """Logs bodies on `plano.bodies` at level info: one line for the request and one for the reply.

    These are masked: configured credentials, everything that looks like a key, values of fields that are named like a
    credential, and long base64. Everything else that people wrote is in the log, so it must be kept as private as
    their conversations.

    Args:
        secrets: the configured credentials.
    """

    def __init__(self, secrets: Iterable[Secret] = ()) -> None:
        self._mask = Mask(secret.reveal() for secret in secrets)

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        self._log(request, "request", request.raw)
        response = await call_next(request)
        if response.body is not None:
            self._log(request, "reply", response.body)
            return response
        assert response.pieces is not None, "a response has either"
        return response.with_pieces(self._watched(request, response.pieces))

    async def _watched(self, request: Request, pieces: Pieces) -> Pieces:
        kept = bytearray()
        try:
            async for piece in pieces:
                if len(kept) <= LOGGED_CHARACTERS:
                    kept += piece
                yield piece
        finally:
            self._log(request, "reply", bytes(kept))

    def _log(self, request: Request, what: str, body: bytes) -> None:
        if logger.isEnabledFor(logging.INFO):
            logger.info("%s %s: %s", what, request.id, self.redacted(body))

    def redacted(self, body: bytes) -> str:
        """The body as it is logged, shortened to `LOGGED_CHARACTERS`."""
        text = self._mask.out_of(body).decode("utf-8", "replace")
        text = _BASE64.sub(lambda found: f"<{len(found[0])} characters of base64>", text)
        text = LIKE_A_KEY.sub("***", _FIELD.sub(r'\1"***"', text))
        return text if len(text) <= LOGGED_CHARACTERS else text[:LOGGED_CHARACTERS] + f"… ({len(body)} bytes)"
