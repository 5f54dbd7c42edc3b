"""Refuses JSON objects that two parsers would read differently.

RFC 8259, section 4: names within an object should be unique; otherwise the behaviour of software is unpredictable.
Some parsers keep the first of two equal names, some the last, and Go's treats names that differ in case (by Unicode's
rules) as equal. plano decides by a body's fields and then may forward the body unchanged, so the upstream must read
the same fields as plano.
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

_SHORT_BODY = 4096
"""The size of a body, in bytes, up to which to encode it anew is faster than to add up the sizes of its parts."""


def read(body: bytes | Raw, known: frozenset[str], within: str = "") -> dict[str, Raw]:
    """The fields of an object; `within` is its path, for errors.

    Raises:
        InvalidRequest: as `judge`, or the body is not an object.
    """
    fields = reading.request(_OBJECT, body)
    judge(body, fields, known, within)
    return fields


def judge(body: bytes | Raw, fields: dict[str, Raw], known: frozenset[str], within: str = "") -> bool:
    """Whether all names in `body`, from which `fields` was read, are spelled without escapes.

    Raises:
        InvalidRequest: a name stands there twice, or a name that is not `known` can be read as a known one.
    """
    if len(body) < _SHORT_BODY and known.issuperset(fields) and _encode(fields) == body:
        return True  # the usual case: plano would write the same bytes, so no name is repeated or spelled otherwise
    said = "".join(fields)
    # A body with the least possible punctuation, or punctuated as Python's `json` does, has room for nothing else.
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
    """The name that the least strict parser reads here."""
    return name if name.isascii() and name.islower() else normalize("NFKC", normalize("NFKC", name).casefold())


def _spaced(fields: dict[str, Raw]) -> bytes:
    """The body as Python's `json` writes it, with a blank after each colon and comma."""
    return ('{"' + '": %b, "'.join(fields) + '": %b}').encode() % tuple(fields.values())


def _walk(body: bytes, fields: dict[str, Raw], within: str) -> bool:
    """Go over the members in the body's order. Returns whether no name has an escape.

    `fields` has the names in the order in which they first occur, each with its last value. If a member does not fit
    that, its name is there twice.
    """
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
    return InvalidRequest(f"`{param}` is there twice. Send it once.", param=param)
