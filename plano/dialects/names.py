"""Objects whose names every reader takes for the same ones.

RFC 8259, section 4: names within an object should be unique, and what software makes of others is unpredictable. Some
readers keep the first of two, some the last, and Go's takes names that differ in case (by Unicode's rules) for equal.
What plano decides on it may also forward as it came, so an object that two readers take differently is refused.
"""

from __future__ import annotations

import re
from unicodedata import normalize

import msgspec
from msgspec import Raw

from plano.dialects import reading
from plano.errors import InvalidRequest

_OBJECT = msgspec.json.Decoder(dict[str, Raw])
_NAME = re.compile(rb'[\s,{]*("[^"\\]*(?:\\.[^"\\]*)*")\s*:\s*', re.DOTALL)
_TEXT = msgspec.json.Decoder(str)
_encode = msgspec.json.Encoder().encode

_SHORT = 4096
"""Bytes that are written anew in less time than their parts are added up."""


def read(body: bytes | Raw, known: frozenset[str], within: str = "") -> dict[str, Raw]:
    """The fields of an object; `within` is its path, for errors.

    Raises:
        InvalidRequest: as `judge`, or it is no object.
    """
    fields = reading.request(_OBJECT, body)
    judge(body, fields, known, within)
    return fields


def judge(body: bytes | Raw, fields: dict[str, Raw], known: frozenset[str], within: str = "") -> bool:
    """Whether all names in `body`, of which `fields` was read, are spelled without escapes.

    Raises:
        InvalidRequest: a name stands there twice, or one that is not `known` can be read as one that is.
    """
    if len(body) < _SHORT and known.issuperset(fields) and _encode(fields) == body:
        return True  # written as plano would, as most are: nothing is there twice, and nothing is spelled otherwise
    said = "".join(fields)
    # With the least punctuation that there can be, or as Python's `json` writes it, nothing else is there.
    least = len(said) + sum(map(len, fields.values())) + 4 * len(fields) + 1
    if len(body) == least and said.islower():
        return True
    spaced = len(body) == least + 2 * len(fields) - 1 and "%" not in said and body == _spaced(fields)
    plain = spaced or _walk(bytes(body), fields, within)
    for name in fields:
        if name not in known and meant(name) in known:
            param = f"{within}{meant(name)}"
            raise InvalidRequest(f"`{within}{name[:200]}` can be read as `{param}`: say which it is.", param=param)
    return plain


def meant(name: str) -> str:
    """The name that the least exact reader takes it for."""
    return name if name.isascii() and name.islower() else normalize("NFKC", normalize("NFKC", name).casefold())


def _spaced(fields: dict[str, Raw]) -> bytes:
    return ('{"' + '": %b, "'.join(fields) + '": %b}').encode() % tuple(fields.values())


def _walk(body: bytes, fields: dict[str, Raw], within: str) -> bool:
    """Go over the members as they stand. The fields are in the order of their first names and with their last values,
    so any other member is one whose name is there twice."""
    at, last, plain = 0, "", True
    for name, value in fields.items():
        member = _NAME.match(body, at)
        said = last if member is None else _TEXT.decode(member[1])
        if member is None or said != name or not body.startswith(bytes(value), member.end()):
            raise _twice(said, within)
        plain = plain and b"\\" not in member[1]
        at, last = member.end() + len(value), name
    if body[at:].strip(b"{ \t\n\r") != b"}":
        member = _NAME.match(body, at)
        raise _twice(last if member is None else _TEXT.decode(member[1]), within)
    return plain


def _twice(name: str, within: str) -> InvalidRequest:
    param = f"{within}{name[:200]}"
    return InvalidRequest(f"`{param}` is there twice: say it once.", param=param)
