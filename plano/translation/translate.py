"""From one dialect to another, through the neutral model, with a report of what did not fit."""

from __future__ import annotations

from msgspec.structs import replace

from plano.conversation import Conversation, Event, Failed, Finish, Finished, PartStart, PartStop, Reply, Start, Usage
from plano.dialects import CLIENT_CODECS, CODECS
from plano.dialects.vendor_limits import by_client, client_names, fitted
from plano.errors import PlanoError, UnsupportedConversion, UpstreamError, forget_frames
from plano.frames import sse
from plano.losses import NAMED, Losses
from plano.translation.assembly import ReplyBuilder, events_of
from plano.types import ClientDialect, UpstreamDialect


def translate_request(
    conversation: Conversation, dialect: UpstreamDialect, *, strict: bool = False, most_tokens: int | None = None
) -> tuple[bytes, Losses]:
    """A request's body in `dialect`, and what could not be said in it. `most_tokens` is what the model can give.

    Raises:
        UnsupportedConversion: something cannot be left out without changing the meaning; or, when
            `strict`, anything was lost.
    """
    losses = Losses()
    body = CODECS[dialect].write_request(fitted(conversation, dialect, losses, most_tokens), losses)
    if strict:
        refuse_losses(losses, dialect)
    return body, losses


def refuse_losses(losses: Losses, dialect: UpstreamDialect) -> None:
    """Raise UnsupportedConversion if anything was lost, naming about twenty of it."""
    found = list(losses)
    if found:
        named = [f"`{loss.field}`: {loss.reason}" for loss in found[:NAMED] if loss.count == 1]
        if len(losses) > len(named):
            named.append(f"and {len(losses) - len(named)} more")
        what = "; ".join(named)
        raise UnsupportedConversion(
            f"Strict translation to the {dialect} API is on, and it cannot carry: {what}.", param=found[0].field
        )


class Translator:
    """One exchange's way back: the upstream's reply, streamed or not, in the client's dialect.

    `fallback_id` and `now` (Unix seconds) stand in for what the upstream leaves out. Both dialects may be
    the same one, where a reply came in another form (streamed or not) than was asked for.
    """

    def __init__(
        self, upstream: UpstreamDialect, client: ClientDialect, asked: Conversation, *, fallback_id: str, now: int
    ) -> None:
        self._upstream = CODECS[upstream]
        self._client = CLIENT_CODECS[client]
        self._asked = asked
        self._names = client_names(asked, upstream)
        self._fallback_id = fallback_id
        self._now = now
        self.losses = Losses()
        self.usage: Usage | None = None
        self.finish_reason: Finish | None = None

    def reply(self, body: bytes) -> bytes:
        """A complete reply.

        Raises:
            UpstreamError: the body is not one, or is the upstream's error in disguise.
        """
        return self._write(self._upstream.read_reply(body))

    def error(self, status: int, body: bytes) -> bytes:
        """An error body."""
        return self._client.write_error(self._upstream.read_error(status, body))

    def stream(self) -> StreamTranslator:
        return StreamTranslator(self)

    def stream_of(self, body: bytes) -> bytes:
        """A complete reply as the stream that was asked for, where the upstream did not stream."""
        writer = self._client.stream_writer(self._asked)
        events = events_of(self._filled(self._upstream.read_reply(body)))
        return b"".join([*(frame for event in events for frame in writer.feed(event)), *writer.finish()])

    def reply_of(self, piece: bytes) -> bytes:
        """A whole stream as the complete reply that was asked for, where the upstream only streams."""
        reader, builder = self._upstream.stream_reader(), ReplyBuilder()
        for frame in sse.frames(piece):
            for event in reader.feed(frame):
                builder.feed(event)
        for event in reader.finish():
            builder.feed(event)
        return self._write(builder.reply())

    def _write(self, reply: Reply) -> bytes:
        return self._client.write_reply(self._filled(reply), self._asked, self.losses)

    def _filled(self, reply: Reply) -> Reply:
        self.usage, self.finish_reason = reply.usage, reply.finish
        if self._names:
            reply = replace(reply, parts=tuple(by_client(part, self._names) for part in reply.parts))
        if reply.id and reply.created is not None and reply.model:
            return reply
        return replace(
            reply,
            id=reply.id or self._fallback_id,
            created=reply.created if reply.created is not None else self._now,
            model=reply.model or self._asked.model or "",
        )

    def _by_client(self, event: PartStart | PartStop) -> Event:
        if not self._names or event.part is None:
            return event
        return replace(event, part=by_client(event.part, self._names))

    def _filled_start(self, start: Start) -> Start:
        return replace(
            start,
            id=start.id or self._fallback_id,
            created=start.created if start.created is not None else self._now,
            model=start.model or self._asked.model or "",
        )


class StreamTranslator:
    """Pieces of the upstream's stream in, pieces of the client's out.

    A stream that goes wrong ends in the client dialect's error event; then `error` is set, and nothing more comes.
    The error is without its frames: one of them is this class's.
    """

    def __init__(self, exchange: Translator) -> None:
        self._exchange = exchange
        self._reader = exchange._upstream.stream_reader()
        self._writer = exchange._client.stream_writer(exchange._asked)
        self.error: PlanoError | None = None

    def feed(self, piece: bytes) -> bytes:
        """A piece of whole frames."""
        out: list[bytes] = []
        try:
            for frame in sse.frames(piece):
                for event in self._reader.feed(frame):
                    if self.error is None:
                        out += self._write(event)
        except UpstreamError as error:  # what came before it in the piece is said all the same
            out.append(self.fail(error))
        return out[0] if len(out) == 1 else b"".join(out)

    def finish(self) -> bytes:
        """At the end of the upstream's stream."""
        out: list[bytes] = []
        if self.error is None:
            for event in self._reader.finish():
                out += self._write(event)
        return b"".join([*out, *self._writer.finish()])

    def fail(self, error: PlanoError) -> bytes:
        """The client's stream, ended with an error; nothing where it ended in one already."""
        if self.error is not None:
            return b""
        self.error = error
        forget_frames(error)
        return b"".join(self._writer.feed(Failed(error)))

    def _write(self, event: Event) -> list[bytes]:
        kind = type(event)
        if kind is Start:
            event = self._exchange._filled_start(event)  # type: ignore[arg-type]
        elif kind is Finished:
            self._exchange.usage, self._exchange.finish_reason = event.usage, event.finish  # type: ignore[union-attr]
        elif kind is Failed:
            self.error = event.error  # type: ignore[union-attr]
        elif kind is PartStart or kind is PartStop:
            event = self._exchange._by_client(event)  # type: ignore[arg-type]
        return self._writer.feed(event)
