"""Removes credentials from texts that quote them.

A provider may repeat a refused key, and there are many ways to write it. RFC 8259, section 7: any character of a JSON
string may be written as `\\u` with four hexadecimal digits, and `"`, `\\` and `/` with a backslash; JSON that is quoted
within JSON has more backslashes. RFC 3986, section 2.1: in a URL a character may be `%` with two digits. A web page has
references such as `&#x2f;`.

So a text is decoded and searched twice, once for the escapes of JSON and once for the others. What is found is replaced
in the original text, and the rest of that text stays as it is, byte for byte.
"""

from __future__ import annotations

import re
import sys
from bisect import bisect_right
from collections.abc import Callable, Iterable
from html import unescape

from plano.errors import PlanoError

MASK = b"***"

SHORTEST_SECRET = 6
"""The fewest characters of a secret that is looked for. A shorter one could be part of any text."""

_IN_JSON = re.compile(rb"\\+(?:u([0-9A-Fa-f]{4}))?")
"""Escapes of JSON. The number of backslashes depends on the depth of the quotation, so all of them are removed."""

_ELSEWHERE = re.compile(rb"%([0-9A-Fa-f]{2})|(&(?:#\d{2,4}|#[xX][0-9A-Fa-f]{2,4}|[a-z]{2,4});)")


class Mask:
    """Removes secrets from bytes, texts and errors.

    Args:
        secrets: the secrets; those shorter than `SHORTEST_SECRET` are ignored.

    Attributes:
        shortest: the fewest bytes that can hold a secret.
    """

    __slots__ = ("_in_json", "_secrets", "shortest")

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = {_encoded(text) for text in secrets if len(text) >= SHORTEST_SECRET}
        self._in_json = {_without_json(secret)[0] for secret in self._secrets}
        self.shortest = min(map(len, self._in_json), default=sys.maxsize)

    def out_of(self, data: bytes) -> bytes:
        """Replaces each secret in `data`; returns the same object if there is none."""
        if len(data) < self.shortest or self._is_plain(data):
            return data
        found = _found(self._in_json, *_without_json(data))
        if data.find(b"%") >= 0 or data.find(b"&") >= 0:
            found += _found(self._secrets, *_read(data, _ELSEWHERE, _elsewhere))
        if not found:
            return data
        pieces, end = [], 0
        for start, stop in sorted(found):
            if start >= end:  # otherwise it overlaps with the one before
                pieces += [data[end:start], MASK]
            end = max(end, stop)
        return b"".join([*pieces, data[end:]])

    def _is_plain(self, data: bytes) -> bool:
        """Whether the data has no escapes and no secret, which is the common case."""
        find = data.find
        if find(b"\\") >= 0 or find(b"%") >= 0 or find(b"&") >= 0:
            return False
        for secret in self._in_json:  # noqa: SIM110 - `all` over them takes longer than the rest
            if find(secret) >= 0:
                return False
        return True

    def out_of_text(self, text: str) -> str:
        """Replaces each secret in a text."""
        return self.out_of(_encoded(text)).decode(errors="surrogatepass") if len(text) >= self.shortest else text

    def out_of_error(self, error: BaseException) -> None:
        """Replaces each secret in the messages of an error and of the errors that caused it, in place."""
        seen: list[BaseException] = []
        found: BaseException | None = error
        while found is not None and found not in seen:
            seen.append(found)
            found.args = tuple(self.out_of_text(said) if isinstance(said, str) else said for said in found.args)
            if isinstance(found, PlanoError):
                found.message = self.out_of_text(found.message)
                found.code = found.code and self.out_of_text(found.code)
                found.param = found.param and self.out_of_text(found.param)
            found = found.__cause__ or found.__context__


NOTHING = Mask(())


class _Origins:
    """Maps offsets in a decoded text to offsets in the original."""

    __slots__ = ("_after", "_longer")

    def __init__(self) -> None:
        self._after: list[int] = [0]  # offsets right after an escape, in the decoded text
        self._longer: list[int] = [0]  # how much longer the original is up to there

    def add(self, after: int, written: int) -> None:
        self._after.append(after)
        self._longer.append(written - after)

    def of(self, place: int) -> int:
        return place + self._longer[bisect_right(self._after, place) - 1]


_UNESCAPED = _Origins()


def _without_json(data: bytes) -> tuple[bytes, _Origins]:
    return (data, _UNESCAPED) if data.find(b"\\") < 0 else _read(data, _IN_JSON, _in_json)


def _read(
    data: bytes, escapes: re.Pattern[bytes], meaning: Callable[[re.Match[bytes]], bytes]
) -> tuple[bytes, _Origins]:
    """Decodes the escapes of a text."""
    origins = _Origins()
    pieces, size, end = [], 0, 0
    for escape in escapes.finditer(data):
        meant = meaning(escape)
        pieces += [data[end : escape.start()], meant]
        size += escape.start() - end + len(meant)
        end = escape.end()
        origins.add(size, end)
    return b"".join([*pieces, data[end:]]), origins


def _in_json(escape: re.Match[bytes]) -> bytes:
    return _encoded(chr(int(escape[1], 16)).replace("\\", "")) if escape[1] else b""


def _elsewhere(escape: re.Match[bytes]) -> bytes:
    return unescape(escape[2].decode("ascii")).encode() if escape[2] else bytes([int(escape[1], 16)])


def _encoded(text: str) -> bytes:
    return text.encode(errors="surrogatepass")


def _found(secrets: set[bytes], read: bytes, origins: _Origins) -> list[tuple[int, int]]:
    """The offsets in the original at which secrets begin and end."""
    found = []
    for secret in secrets:
        at = read.find(secret)
        while at >= 0:
            found.append((origins.of(at), origins.of(at + len(secret))))
            at = read.find(secret, at + len(secret))
    return found
