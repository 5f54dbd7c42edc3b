"""Who is asking: callers' keys, as digests, compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable

from plano.errors import Unauthenticated
from plano.pipeline import CallNext
from plano.request import Request
from plano.response import Response
from plano.types import Caller, Headers, Secret
from plano.upstream import credential_of


def digest(key: str) -> bytes:
    """What is kept of a key. Keys are long random strings, so a plain hash cannot be searched back."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


class Auth:
    """Finds the caller of a request by its key (`Authorization: Bearer …`, `x-api-key` or `api-key`).

    Args:
        keys: callers and their keys; none means that anybody may ask.

    Raises:
        Unauthenticated: 401 in the client's dialect, for a missing or unknown key.
    """

    def __init__(self, keys: Iterable[tuple[Caller, Secret]] = ()) -> None:
        self._callers = [(digest(secret.reveal()), caller) for caller, secret in keys]

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        if self._callers:
            request = request.replace(caller=self.caller(request.headers))
        request.journal.caller = request.caller
        return await call_next(request)

    def caller(self, headers: Headers) -> Caller:
        """The caller these headers' key belongs to; the anonymous one when no keys are configured."""
        if not self._callers:
            return Caller()
        key = credential_of(headers)
        if key is None:
            raise Unauthenticated("No API key was given. Send `Authorization: Bearer <key>` or `x-api-key: <key>`.")
        given = digest(key)
        found: Caller | None = None
        for known, caller in self._callers:  # all of them, so that the time taken says nothing
            if hmac.compare_digest(known, given):
                found = caller
        if found is None:
            raise Unauthenticated("The API key is not valid.")
        return found


__all__ = ["Auth", "digest"]
