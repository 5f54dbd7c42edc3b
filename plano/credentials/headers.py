"""The headers that keys travel in."""

from __future__ import annotations

from typing import Literal, TypeAlias

from plano.errors import Unauthenticated
from plano.types import Headers, Secret

AuthStyle: TypeAlias = Literal["bearer", "x-api-key", "api-key", "none"]
"""How a key travels: in `Authorization: Bearer`, in a header of its own, or not at all."""


def credential(style: AuthStyle, key: Secret) -> tuple[str, str] | None:
    """The header that carries `key`, name in lower case, or None where the style is not to send one."""
    if style == "none":
        return None
    if style == "bearer":
        return "authorization", f"Bearer {key.reveal()}"
    return style, key.reveal()


_CREDENTIALS = (b"authorization", b"x-api-key", b"api-key")
"""Headers that may hold a client's key, the one that counts before the others."""


def credential_of(headers: Headers) -> str | None:
    """The key a client sent, as `Authorization: Bearer`, or as `x-api-key` or `api-key`; None without one."""
    bearer = headers.find(b"authorization")
    if bearer is not None and bearer[:7].lower() == b"bearer ":
        return bearer[7:].strip().decode("latin-1")
    return headers.get("x-api-key") or headers.get("api-key")


def only_credential_of(headers: Headers) -> str | None:
    """The same where something is decided by it.

    Raises:
        Unauthenticated: one of these headers is there twice; whatever stands in front of plano may have read the other.
    """
    name = headers.repeated(_CREDENTIALS)
    if name is not None:
        raise Unauthenticated(f"The request has more than one `{name.decode()}` header: send one.")
    return credential_of(headers)
