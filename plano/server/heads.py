"""Checks the heads of requests, and writes those of responses (RFC 9112, RFC 9110).

httptools parses. This module refuses heads that httptools accepts and that another reader might read differently.
"""

from __future__ import annotations

import re
from functools import lru_cache
from http import HTTPStatus
from urllib.parse import unquote

import httptools

from plano.types import RawHeaders


class Refusal(Exception):
    """Raised for a request that is not served. The connection ends with an answer of this `status`."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


# -- Requests --

CHUNKED = -1
"""The length of a body that comes in chunks."""

NOTED = frozenset((b"host", b"content-length", b"transfer-encoding", b"connection", b"expect", b"upgrade"))
"""The header fields that the server obeys."""

METHODS = {method.encode(): method for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")}

_COMMON = """
accept accept-encoding accept-language anthropic-beta anthropic-version authorization cache-control content-encoding
content-type cookie idempotency-key openai-organization openai-project origin referer te traceparent user-agent via
x-api-key x-forwarded-for x-forwarded-host x-forwarded-proto x-real-ip x-request-id x-stainless-arch x-stainless-async
x-stainless-lang x-stainless-os x-stainless-package-version x-stainless-retry-count x-stainless-runtime
x-stainless-runtime-version x-stainless-timeout
"""

PLAIN: dict[bytes, bytes] = {
    form.encode(): name.encode() for name in _COMMON.split() for form in (name, name.title(), name.capitalize())
}
"""The lower-case name of each usual field that the server ignores, by the spellings that clients use."""


def body_length(noted: dict[bytes, bytes | None], version: str) -> int:
    """The bytes of body that follow a head, or CHUNKED.

    Two readers that see different ends of one request can be made to see different requests, so everything that
    allows more than one reading is refused (RFC 9112 sections 6.1, 6.3 and 11.2). httptools has already refused a
    length that is not a number, and one framing beside the other.

    Args:
        noted: the header fields that the server obeys; None for one that is there twice.
    """
    if version != "1.1" and version != "1.0":
        raise Refusal(505, "This server speaks HTTP/1.1.")
    if noted.get(b"host") is None and (version == "1.1" or b"host" in noted):  # RFC 9112 section 3.2
        raise Refusal(400, "The request has not one host header.")
    if b"transfer-encoding" in noted:
        coding = noted[b"transfer-encoding"]
        if version == "1.0" or b"content-length" in noted or coding is None or coding.lower() != b"chunked":
            raise Refusal(400, "This transfer-encoding is not accepted.")
        return CHUNKED
    if b"content-length" not in noted:
        return 0
    length = noted[b"content-length"]
    if length is None:
        raise Refusal(400, "The request has more than one content-length.")
    return int(length)


def other_method(method: bytes) -> str:
    """The name of a method that is not one of `METHODS`."""
    if method == b"CONNECT":
        # RFC 9110 sections 9.3.6 and 15.6.2. The parser ends it at its head, even if that announces a body, because the
        # bytes after it are the tunnel's. Another reader may take them for the body.
        raise Refusal(501, "This server opens no tunnels.")
    return method.decode()


def target_parts(target: bytes) -> tuple[str, bytes, bytes]:
    """Path, raw path and query of a request's target (RFC 9112 section 3.2), as ASGI has them."""
    return _remembered(target) if len(target) <= 128 else _split(target)


def _split(target: bytes) -> tuple[str, bytes, bytes]:
    if target == b"*":
        return "*", target, b""
    if target.startswith(b"/") and b"#" not in target:
        raw_path, _, query = target.partition(b"?")
    else:
        try:
            url = httptools.parse_url(target)
        except httptools.HttpParserInvalidURLError:
            raise Refusal(400, "The request's target is not valid.") from None
        raw_path, query = url.path or b"/", url.query or b""
    path = raw_path.decode("latin-1")  # httptools lets only ASCII through
    return (unquote(path) if "%" in path else path), raw_path, query


_remembered = lru_cache(maxsize=256)(_split)


# -- Responses --


def _status_line(status: int) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return f"HTTP/1.1 {status} {phrase}\r\n".encode()


STATUS_LINES = {status: _status_line(status) for status in range(200, 600)}

BODILESS = frozenset((204, 304))
"""RFC 9110 section 6.4.1."""

CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION = b"content-length: ", b"transfer-encoding: ", b"connection: "
FRAMING = frozenset((CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION))
"""The beginnings of header lines that the server decides about."""

CHUNK_SIZES = [b"%x\r\n" % size for size in range(1024)]

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


LINE_STARTS = {
    name: name + b": "
    for name in b"cache-control connection content-encoding content-length content-type date retry-after server "
    b"transfer-encoding request-id vary x-accel-buffering x-content-type-options x-plano-model x-request-id".split()
}
"""The usual header lines of responses, up to their values."""


@lru_cache(maxsize=512)
def line_start(name: bytes) -> bytes:
    """A header line up to its value, for any name. Raises RuntimeError if it is none (RFC 9110 section 5.1)."""
    if not _TOKEN.fullmatch(name):
        raise RuntimeError(f"a response header has the name {name!r}")
    return name.lower() + b": "


def check(values: bytes) -> None:
    """Raises RuntimeError if a line end or a NUL is in the values of headers (RFC 9110 section 5.5)."""
    # `partition` takes a third of the time of `in`, which first tries whether its operand is a number.
    if values.partition(b"\n")[1] or values.partition(b"\r")[1] or values.partition(b"\0")[1]:
        raise RuntimeError("the value of a response's header has a line end or a NUL in it")


def encoded(headers: RawHeaders) -> bytes:
    """The header lines of fields that are not about framing."""
    check(b"".join([value for _, value in headers]))
    return b"".join([b"%b%b\r\n" % (line_start(name), value) for name, value in headers])


def last_reply(status: int, text: str, default_headers: bytes, *, head: bool = False) -> bytes:
    """A reply in plain text, with the header that ends the connection."""
    return b"%b%bcontent-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b" % (
        STATUS_LINES[status],
        default_headers,
        len(text),
        b"" if head else text.encode(),
    )
