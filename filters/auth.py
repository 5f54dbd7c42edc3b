"""Finds the caller of a request by the digest of its key."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Iterable

from msgspec.structs import replace

from plano.credentials.headers import only_credential_of
from plano.errors import Unauthenticated
from plano.pipeline import CallNext
from plano.request import Request
from plano.response import Response
from plano.types import Caller, Headers, Secret


def digest(key: str) -> bytes:
    """The hash of a key. It needs no salt, because keys are long random strings that cannot be guessed from a hash."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


class Auth:
    """Finds the caller of a request by its key (`Authorization: Bearer …`, `x-api-key` or `api-key`).

    Args:
        keys: the callers with their keys; without any, anybody may call.

    Raises:
        Unauthenticated: 401 in the client's dialect, for a missing or unknown key, and for keys of two callers.
    """

    def __init__(self, keys: Iterable[tuple[Caller, Secret]] = ()) -> None:
        self._callers = {digest(secret.reveal()): caller for caller, secret in keys}

    def __call__(self, request: Request, call_next: CallNext) -> Awaitable[Response]:
        if self._callers:
            request = replace(request, caller=self.caller(request.headers))
        request.journal.caller = request.caller
        return call_next(request)

    def caller(self, headers: Headers) -> Caller:
        """The caller whose key is in the headers; an anonymous one if no keys are configured.

        Raises:
            Unauthenticated: the key is missing or unknown, or the headers have keys of two callers.
        """
        if not self._callers:
            return Caller()
        key = only_credential_of(headers)
        if key is None:
            raise Unauthenticated("No API key was given. Send `Authorization: Bearer <key>` or `x-api-key: <key>`.")
        # A look-up by digest takes a time that reveals nothing about a key and does not grow with their number.
        found = self._callers.get(digest(key))
        if found is None:
            raise Unauthenticated("The API key is not valid.")
        if not headers.has_none(_BESIDE):
            self._refuse_two(headers, key, found)
        return found

    def _refuse_two(self, headers: Headers, key: str, found: Caller) -> None:
        for name in sorted(_BESIDE):
            beside = headers.get(name.decode())
            if beside is not None and beside != key and self._callers.get(digest(beside), found) != found:
                other = name.decode()
                raise Unauthenticated(f"`Authorization` and `{other}` are the keys of two callers: send one of them.")


_BESIDE = frozenset({b"x-api-key", b"api-key"})
"""Headers in which a client may send a provider's key besides its own for this gateway; some SDKs send both."""


__all__ = ["Auth", "digest"]
