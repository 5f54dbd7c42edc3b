"""The headers that carry keys."""

from __future__ import annotations

from typing import Literal, TypeAlias

from plano.errors import Unauthenticated
from plano.types import Headers, Secret

AuthStyle: TypeAlias = Literal["bearer", "x-api-key", "api-key", "none"]
"""The header that carries a key: `Authorization: Bearer`, one of its own, or none."""


def credential(style: AuthStyle, key: Secret) -> tuple[str, str] | None:
    """The header that carries `key`, with its name in lower case; None if the style is to send none."""
    if style == "none":
        return None
    if style == "bearer":
        return "authorization", f"Bearer {key.reveal()}"
    return style, key.reveal()


_CREDENTIALS = (b"authorization", b"x-api-key", b"api-key")
"""The headers that may hold a client's key, in order of precedence."""


def credential_of(headers: Headers) -> str | None:
    """The key that a client sent in `Authorization: Bearer`, `x-api-key` or `api-key`; None if there is none."""
    bearer = headers.find(b"authorization")
    if bearer is not None and bearer[:7].lower() == b"bearer ":
        return bearer[7:].strip().decode("latin-1")
    return headers.get("x-api-key") or headers.get("api-key")


def only_credential_of(headers: Headers) -> str | None:
    """The key that a client sent, for a decision about the client's rights.

    Raises:
        Unauthenticated: one of these headers is there twice, so a proxy in front of plano may have read the other one.
    """
    name = headers.repeated(_CREDENTIALS)
    if name is not None:
        raise Unauthenticated(f"The request has more than one `{name.decode()}` header. Send one.")
    return credential_of(headers)
