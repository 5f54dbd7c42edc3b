"""Reads requests from bytes (RFC 9112), with httptools, which is stopped at the end of each request.

Two readers that disagree about the end of a request can be made to see different requests (section 11.2). So each
request is read to its end and no byte beyond it, and a request that allows two readings is refused
(`plano.server.heads`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from plano.server.exchange import Exchange
from plano.server.head_cache import HEADS
from plano.server.heads import CHUNKED, METHODS, NOTED, PLAIN, Refusal, body_length, other_method, target_parts
from plano.server.limits import LIMITS, Limits
from plano.server.states import RequestState
from plano.types import RawHeaders, Scope

_EMPTY_LINE = b"\r\n\r\n"

# To look a member up on its class costs a few times as much as a global.
_ARRIVING, _ARRIVED = RequestState.ARRIVING, RequestState.ARRIVED


class Begin(Protocol):
    """Makes the exchange of a request whose head is complete."""

    def __call__(self, scope: Scope, keep_alive: bool, expects: bool) -> Exchange: ...


class Reader:
    """Reads one request at a time, and no byte beyond it.

    The parser cannot stop at the end of a request by itself. So it is fed no further than where the request must end.
    Bytes that begin a request are first fed whole, because they nearly always are one request; if they turn out to be
    more, a new parser begins again.

    Attributes:
        exchange: the request that is being read, once its head is complete; kept until `release`.
    """

    __slots__ = (
        "_begin",
        "_client",
        "_feed",
        "_headers",
        "_left",
        "_limits",
        "_noted",
        "_parser",
        "_parses",
        "_quiet",
        "_remembers",
        "_scope",
        "_skips_body",
        "_state",
        "_tail",
        "_target",
        "exchange",
    )

    def __init__(
        self,
        begin: Begin,
        scope: Scope,
        client: tuple[str, int] | None,
        state: dict[str, Any],
        limits: Limits,
    ) -> None:
        self._begin = begin
        self._scope = scope  # shared by all connections, so it is copied and never changed
        self._client = client
        self._state = state
        self._limits = limits
        self._remembers = limits is LIMITS and not scope["root_path"]  # heads that were accepted are acceptable
        self._reset()

    def _reset(self) -> None:
        self._parser: HttpRequestParser = None  # type: ignore[assignment]  # until a head has to be parsed
        self._feed: Callable[[bytes], None] | None = None
        self.exchange: Exchange | None = None
        self._target = b""
        self._headers: RawHeaders = []
        self._noted: dict[bytes, bytes | None] = {}
        self._left = 0  # bytes of the body that are to come, or CHUNKED
        self._tail = b""  # the last bytes that were fed, where an empty line may have begun
        self._quiet = 0  # bytes since the last byte of body
        self._skips_body = False
        self._parses = True  # the body too, unless the head is known: then the body is counted off

    def release(self) -> None:
        """Lets go of the request, which is over; the next one may be read."""
        self.exchange = None

    def close(self) -> None:
        """Lets go of the parser, which holds this by its callbacks."""
        self._parser = self._feed = None  # type: ignore[assignment]

    def _parse(self, data: bytes) -> None:
        feed = self._feed
        if feed is None:
            self._parser = HttpRequestParser(self)
            feed = self._feed = self._parser.feed_data
        feed(data)

    def read(self, data: bytes) -> bytes:
        """Reads on, and returns the bytes that come after the request. Raises Refusal."""
        if not self._parses:
            return self._count_off(data)
        if self._quiet == 0 and self.exchange is None and len(data) <= self._limits.head_bytes:
            if self._remembers:
                known = HEADS.recall(data)
                if known is not None:
                    parts, headers, self._left, end = known
                    scope = self._scope | parts  # type: ignore[operator]
                    scope["client"] = self._client
                    scope["headers"] = headers
                    scope["state"] = self._state.copy()
                    self.exchange = self._begin(scope, True, False)
                    self._parses = False
                    return self._count_off(data[end:])
            try:
                self._parse(data)
            except (HttpParserError, HttpParserUpgrade):
                self.close()
                self._reset()
            else:
                exchange: Exchange | None = self.exchange
                if exchange is None or exchange.request is _ARRIVING:
                    self._note_progress(data)
                if exchange is not None and self._remembers and exchange.is_plain and not self._skips_body:
                    HEADS.remember(data, exchange.scope, exchange.unread)
                return b""
        return self._read_exactly(data)

    def _count_off(self, data: bytes) -> bytes:
        """Takes the bytes of this request's body, and returns the rest."""
        exchange, left, size = self.exchange, self._left, len(data)
        assert exchange is not None, "a body has a head before it"
        rest = b""
        if size > left:
            # RFC 9112 section 2.2: empty lines before a request are passed over.
            data, rest, size = data[:left], data[left:].lstrip(b"\r\n"), left
        if size:
            exchange.parts.append(data)
            exchange.unread += size
        self._left = left = left - size
        if not left:
            exchange.request = _ARRIVED
            self._parses = True
        if exchange.waiters is not None:
            exchange.wake()
        return rest

    def _note_progress(self, data: bytes) -> None:
        """Notes how much of a request that was fed from its beginning is still to come."""
        if self.exchange is None:
            self._quiet = len(data)
        elif self._left > 0:
            self._left -= self.exchange.unread
            return
        self._tail = data[-3:]

    def _read_exactly(self, data: bytes) -> bytes:
        start, size = 0, len(data)
        while start < size and (self.exchange is None or self.exchange.request is _ARRIVING):
            end = self._end_of_part(data, start, size)
            try:
                self._parse(data[start:end])
            except HttpParserUpgrade:
                self._forget_upgrade()
            except HttpParserError as error:
                if isinstance(error.__context__, Refusal):
                    raise error.__context__ from None
                raise Refusal(400, "The request is not valid HTTP.") from error
            start = end
        if self._quiet > self._limits.head_bytes:
            raise Refusal(400, "There is too much between two pieces of the body.")
        return data[start:]

    def _end_of_part(self, data: bytes, start: int, size: int) -> int:
        """The position to feed up to, so that no request begins in the middle of the fed bytes.

        A body with a length ends by its length; heads, trailers and the last chunk end in an empty line.
        """
        left = self._left
        if left > 0:
            end = min(start + left, size)
            self._left = left - (end - start)
            return end
        end = self._end_of_line(data, start, size)
        self._quiet += end - start
        if self._quiet > self._limits.head_bytes and self.exchange is None:
            raise Refusal(431, "The request's head is too large.")
        return end

    def _end_of_line(self, data: bytes, start: int, size: int) -> int:
        """The position after the first empty line, which may have been cut anywhere; `size` if there is none."""
        tail = self._tail
        if tail:
            at = (tail + data[start : start + 3]).find(_EMPTY_LINE)
            if at >= 0:
                self._tail = b""
                return start + at + 4 - len(tail)
        at = data.find(_EMPTY_LINE, start)
        if at >= 0:
            self._tail = b""
            return at + 4
        self._tail = (tail + data[max(start, size - 3) :])[-3:]
        return size

    def _forget_upgrade(self) -> None:
        """Makes a new parser read the body of a request for an upgrade.

        The first parser takes that body for bytes of the other protocol. But a server may ignore `upgrade` (RFC 9110
        section 7.8), and then the body is like any other: Java's client asks for h2c with every POST.
        """
        if self._skips_body:
            self._skips_body = False
            framing = b"transfer-encoding: chunked" if self._left == CHUNKED else b"content-length: %d" % self._left
            self._feed = HttpRequestParser(_BodyReader(self)).feed_data
            self._parse(b"POST / HTTP/1.1\r\n%b\r\n\r\n" % framing)

    # -- From the parser --

    def on_message_begin(self) -> None:
        if self.exchange is not None:
            raise Refusal(400, "Another request begins within this one.")

    def on_url(self, target: bytes) -> None:
        self._target += target

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.exchange is not None:
            return  # A trailer. It must not be taken for a header, which could turn the request into another one.
        lowered = PLAIN.get(name)
        if lowered is None:
            lowered = name.lower()
            if lowered in NOTED:
                noted = self._noted
                noted[lowered] = None if lowered in noted else value.rstrip()
        self._headers.append((lowered, value.rstrip()))

    def on_headers_complete(self) -> None:
        headers, noted, parser = self._headers, self._noted, self._parser
        keep_alive = parser.should_keep_alive()
        # Only HTTP/1.1 stays open by default, and to ask for the version costs a new string.
        version = "1.1" if keep_alive and b"connection" not in noted else parser.get_http_version()
        if len(headers) > self._limits.fields:
            raise Refusal(431, "The request has too many header fields.")
        self._left = left = body_length(noted, version)
        if left and b"upgrade" in noted:
            self._skips_body = parser.should_upgrade()
        method = parser.get_method()
        name = METHODS.get(method) or other_method(method)
        path, raw_path, query = target_parts(self._target)
        scope = self._scope.copy()  # type: ignore[attr-defined]
        scope["client"] = self._client
        scope["http_version"] = version
        scope["method"] = name
        scope["path"] = path
        scope["raw_path"] = raw_path
        scope["query_string"] = query
        scope["headers"] = headers
        scope["state"] = self._state.copy()
        if root_path := scope["root_path"]:
            scope["path"] = root_path + path
            scope["raw_path"] = root_path.encode() + raw_path
        expect = noted.get(b"expect")
        expects = expect is not None and expect.lower() == b"100-continue" and version == "1.1"
        self.exchange = self._begin(scope, keep_alive and version == "1.1", expects)

    def on_body(self, part: bytes) -> None:
        self._quiet = 0
        exchange = self.exchange
        assert exchange is not None, "a body has a head before it"
        exchange.parts.append(part)
        exchange.unread += len(part)
        if exchange.waiters is not None:
            exchange.wake()

    def on_message_complete(self) -> None:
        if self._skips_body:
            return
        exchange = self.exchange
        assert exchange is not None, "a request has a head"
        exchange.request = _ARRIVED
        if exchange.waiters is not None:
            exchange.wake()
        self._target = b""
        self._headers = []
        self._noted = {}
        self._left = self._quiet = 0
        self._feed = self._parser.feed_data


class _BodyReader:
    """The callbacks for a parser that reads a body whose head was read by another parser."""

    def __init__(self, reader: Reader) -> None:
        self.on_body = reader.on_body
        self.on_message_complete = reader.on_message_complete
