"""The types that every layer uses: dialect names, ASGI's types, secrets, headers, callers."""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping
from typing import Any, Literal, TypeAlias, get_args

from msgspec import Struct

ClientDialect: TypeAlias = Literal["chat", "messages", "responses"]
"""An API that clients speak: OpenAI Chat Completions, Anthropic Messages, OpenAI Responses."""

UpstreamDialect: TypeAlias = Literal["chat", "messages", "responses"]
"""An API that upstreams speak; every client dialect is one."""

Dialect: TypeAlias = UpstreamDialect
"""Any dialect, on either side."""

CLIENT_DIALECTS: tuple[ClientDialect, ...] = get_args(ClientDialect)
UPSTREAM_DIALECTS: tuple[UpstreamDialect, ...] = get_args(UpstreamDialect)


Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

RawHeaders: TypeAlias = list[tuple[bytes, bytes]]
"""Pairs of name and value, the names in lower case (ASGI specification, "HTTP Connection Scope")."""


class Secret:
    """A string that only `reveal()` shows.

    Neither `repr`, `str`, formatting, pickling nor the locals of a traceback give the value away.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The string itself."""
        return self._value

    def __repr__(self) -> str:
        return "Secret('***')"

    __str__ = __repr__

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(("Secret", self._value))

    def __reduce__(self) -> str:
        raise TypeError("a Secret is not pickled")


class Headers:
    """A read-only view of ASGI headers. Look-up ignores case; if a name stands there twice, the last value counts."""

    __slots__ = ("_by_name", "raw")

    def __init__(self, raw: Iterable[tuple[bytes, bytes]] = ()) -> None:
        self.raw: RawHeaders = raw if isinstance(raw, list) else list(raw)
        self._by_name: dict[bytes, bytes] | None = None

    def get(self, name: str) -> str | None:
        """The header's value as text, or None."""
        value = self.find(name.lower().encode("latin-1"))
        return value.decode("latin-1") if value is not None else None

    def find(self, name: bytes) -> bytes | None:
        """Like `get`, for a name in lower case, without decoding."""
        if self._by_name is None:
            self._by_name = dict(self.raw)
        return self._by_name.get(name)

    def repeated(self, names: Iterable[bytes]) -> bytes | None:
        """The first of these names, in lower case, that more than one header has; None if there is none."""
        if self._by_name is None:
            self._by_name = dict(self.raw)
        if len(self._by_name) == len(self.raw):
            return None
        return next((name for name in names if sum(each == name for each, _ in self.raw) > 1), None)

    def has_none(self, names: frozenset[bytes]) -> bool:
        """Whether no header has any of these names, which are in lower case."""
        if self._by_name is None:
            self._by_name = dict(self.raw)
        return names.isdisjoint(self._by_name)

    def __contains__(self, name: str) -> bool:
        return self.get(name) is not None

    def __iter__(self) -> Iterator[tuple[str, str]]:
        for key, value in self.raw:
            yield key.decode("latin-1"), value.decode("latin-1")


_SLASH = re.compile("/")


class Caller(Struct, frozen=True, kw_only=True):
    """The caller of a request, as the auth filter (or the host application's authentication) established it.

    Attributes:
        name: the caller's name in logs and metrics; never the key.
        tenant: scopes stored state, limits and caches. Callers of one tenant see each other's state.
        models: the names of the models that this caller may ask for, or None for all of them. `provider/*` stands for
            every model of a provider.
        operator: sees everybody's requests at `/ui`; other callers see only those of their own tenant.
    """

    name: str = "anonymous"
    tenant: str = "default"
    models: frozenset[str] | None = None
    operator: bool = False

    def may_use(self, model: str) -> bool:
        """Whether this caller may ask for the model of this name."""
        if self.models is None or model in self.models:
            return True
        return any(f"{model[: slash.start()]}/*" in self.models for slash in _SLASH.finditer(model))


ANONYMOUS = Caller()


def new_id() -> str:
    """Make up an id for a reply whose upstream gave none. The dialect puts its prefix before it."""
    return os.urandom(12).hex()
