"""The fields that an entry of the configuration adds to the bodies of its requests: its `defaults` and `overrides`.

They are top-level fields of the API that the target is asked in. An entry may be asked in several APIs, so two things
are known of them: the most output tokens, which every API calls otherwise, may be said in any spelling; and a field of
chat is left out of an API that refuses it. What the model's row refuses is taken out afterwards, like a client's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec
from msgspec import Raw, Struct

from plano.capabilities import Fields
from plano.dialects import CODECS
from plano.operations import OPERATIONS
from plano.provider import Target
from plano.types import UpstreamDialect

LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens")
"""All spellings of the most output tokens."""

EXTRA_BODY = "extra_body"
"""OpenAI's SDK and LiteLLM put fields of other vendors into an object of this name, whose members are sent as fields of
the body. No API has a field of that name."""

_NULL = b"null"

_object = msgspec.json.Decoder(dict[str, Raw])
_any = msgspec.json.Decoder()


class EntryFields(Struct, frozen=True, kw_only=True):
    """The fields of an entry in one API.

    Attributes:
        defaults: added where the client says nothing; null says nothing.
        overrides: put in the place of what the client says; null takes the field out.
        limits: the spellings of the most output tokens in this API.
        needs_limit: whether the API refuses a request without it.
        rivals: fields of which the model takes one of two, mapped to the other.
    """

    defaults: tuple[tuple[str, Raw], ...]
    overrides: tuple[tuple[str, Raw], ...]
    limits: tuple[str, ...]
    needs_limit: bool
    rivals: Mapping[str, str]

    def add_to(self, fields: Fields) -> set[str]:
        """Changes the fields of a body in place. Returns the names of those that were set."""
        added: set[str] = set()
        for name, value in self.defaults:
            spellings = self._spellings(name)
            if not _says(fields, spellings) and not _says(fields, (self.rivals.get(name, ""),)):
                for each in spellings:
                    fields.pop(each, None)
                fields[name] = value
                added.add(name)
        for name, value in self.overrides:
            if (written := self._overrule(fields, name, value)) is not None:
                added.add(written)
        return added

    def _overrule(self, fields: Fields, name: str, value: Raw) -> str | None:
        """Replaces a field in the client's own spelling, or takes it out. Returns its name if it was set."""
        spellings = self._spellings(name)
        removes = bytes(value) == _NULL
        if removes and name in self.limits and self.needs_limit:
            return None
        said = next((each for each in spellings if each in fields), name)
        for each in spellings:
            fields.pop(each, None)
        if removes:
            return None
        fields[said] = value
        return said

    def _spellings(self, name: str) -> tuple[str, ...]:
        return self.limits if name in self.limits else (name,)


def fields_of(target: Target, dialect: UpstreamDialect, operation: str) -> EntryFields | None:
    """The fields that a target's entry adds to the bodies of an operation in one API; None if there are none."""
    if not target.defaults and not target.overrides:
        return None
    conventions, takes = CODECS[dialect].conventions, target.takes.get(dialect)
    excludes = {} if takes is None or takes.excludes is None else dict(takes.excludes)
    found = EntryFields(
        defaults=tuple(each for each in _known(target.defaults, dialect, operation) if bytes(each[1]) != _NULL),
        overrides=tuple(_known(target.overrides, dialect, operation)),
        limits=conventions.limits,
        needs_limit=conventions.needs_limit,
        rivals=excludes | {excluded: kept for kept, excluded in excludes.items()},
    )
    return found if found.defaults or found.overrides else None


def limit_of(target: Target, said: int | None) -> int | None:
    """The most output tokens for an API that refuses a request without them: the entry's own, or else the model's,
    where the client said none. None if none is known."""
    forced = _limit_in(target.overrides) if target.overrides else None
    if forced is not None or said is not None:
        return said if forced is None else forced
    return (_limit_in(target.defaults) if target.defaults else None) or target.max_tokens


def _limit_in(said: Iterable[tuple[str, bytes]]) -> int | None:
    found = [_any.decode(value) for name, value in _flat(said) if name in LIMITS]
    return found[-1] if found and type(found[-1]) is int else None


def _known(said: Iterable[tuple[str, bytes]], dialect: UpstreamDialect, operation: str) -> Iterator[tuple[str, Raw]]:
    """The fields that an operation has in an API, as that spells them."""
    conventions, fields = CODECS[dialect].conventions, OPERATIONS[operation].fields
    for name, value in _flat(said):
        spelled = conventions.limits[0] if name in LIMITS and name not in conventions.limits else name
        if spelled not in conventions.lacks and (fields is None or spelled in fields):
            yield spelled, Raw(value)


def _flat(said: Iterable[tuple[str, bytes]]) -> Iterator[tuple[str, bytes]]:
    """The fields, those in `extra_body` among them."""
    for name, value in said:
        if name == EXTRA_BODY and value.lstrip().startswith(b"{"):
            yield from ((inner, bytes(raw)) for inner, raw in _object.decode(value).items())
        else:
            yield name, value


def _says(fields: Fields, names: Iterable[str]) -> bool:
    return any(bytes(fields.get(name, _NULL)) != _NULL for name in names)
