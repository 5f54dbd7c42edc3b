"""Translates requests and replies between dialects, and reports every loss."""

from __future__ import annotations

from msgspec.structs import replace

from plano.capabilities import Takes
from plano.conversation import Conversation, Event, Failed, Finish, Finished, PartStart, PartStop, Reply, Start, Usage
from plano.dialects import CLIENT_CODECS, CODECS
from plano.dialects.vendor_limits import by_client, client_names, fitted
from plano.errors import PlanoError, UnsupportedConversion, UpstreamError, forget_frames
from plano.frames import sse
from plano.losses import MAX_NAMED, Losses
from plano.translation.assembly import ReplyBuilder, events_of
from plano.types import ClientDialect, UpstreamDialect


def translate_request(
    conversation: Conversation,
    dialect: UpstreamDialect,
    *,
    strict: bool = False,
    most_tokens: int | None = None,
    takes: Takes | None = None,
) -> tuple[bytes, Losses]:
    """Write a request's body in `dialect`. Returns the body and the losses.

    Args:
        strict: whether to refuse a request that has any loss.
        most_tokens: the most output tokens that the model can give, or None if that is not known.
        takes: the capabilities of the model, or None if nothing is known of them.

    Raises:
        UnsupportedConversion: a field cannot be left out without a change of meaning, or `strict` is set and there is
            a loss.
    """
    losses = Losses()
    conversation = fitted(conversation, dialect, losses, most_tokens)
    write = CODECS[dialect].write_request
    body = write(conversation, losses) if takes is None else write(conversation, losses, takes)
    if strict:
        refuse_losses(losses, dialect)
    return body, losses


def refuse_losses(losses: Losses, dialect: UpstreamDialect) -> None:
    """Raise UnsupportedConversion if there are losses. Its message names about twenty of them."""
    found = list(losses)
    if found:
        named = [f"`{loss.field}`: {loss.reason}" for loss in found[:MAX_NAMED] if loss.count == 1]
        if len(losses) > len(named):
            named.append(f"and {len(losses) - len(named)} more")
        what = "; ".join(named)
        raise UnsupportedConversion(
            f"Strict translation to the {dialect} API is on, and it cannot carry: {what}.", param=found[0].field
        )


class Translator:
    """Translates the reply of one exchange, streamed or not, from the upstream's dialect to the client's.

    `fallback_id` and `now` (Unix seconds) stand in for an id or a time that the upstream does not give. Both dialects
    may be the same: then the reply came in another form (streamed or not) than the client asked for.
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
        """Translate a complete reply.

        Raises:
            UpstreamError: the body is not a reply, or is an error of the upstream's that came with status 200.
        """
        return self._write(self._upstream.read_reply(body))

    def stream(self) -> StreamTranslator:
        """A translator for the upstream's stream, which takes it piece by piece."""
        return StreamTranslator(self)

    def stream_of(self, body: bytes) -> bytes:
        """Translate a complete reply into a stream, for an upstream that did not stream though it was asked to."""
        writer = self._client.stream_writer(self._asked)
        events = events_of(self._filled(self._upstream.read_reply(body)))
        return b"".join([*(frame for event in events for frame in writer.feed(event)), *writer.finish()])

    def reply_of(self, piece: bytes) -> bytes:
        """Translate a whole stream into a complete reply, for an upstream that only streams."""
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
        """The reply with the client's names of tools; a missing id, time or model is filled in."""
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
        """The event with the client's name of its tool."""
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
    """Takes pieces of the upstream's stream and gives pieces of the client's.

    A stream that fails ends in an error event of the client's dialect. Then `error` is set, and nothing more comes.
    The error is kept without its frames, because one of them refers to this object.
    """

    def __init__(self, exchange: Translator) -> None:
        self._exchange = exchange
        self._reader = exchange._upstream.stream_reader()
        self._writer = exchange._client.stream_writer(exchange._asked)
        self.error: PlanoError | None = None

    def feed(self, piece: bytes) -> bytes:
        """Translate one piece of whole frames."""
        out: list[bytes] = []
        try:
            for frame in sse.frames(piece):
                for event in self._reader.feed(frame):
                    if self.error is None:
                        out += self._write(event)
        except UpstreamError as error:  # earlier events in the piece are still sent
            out.append(self.fail(error))
        return out[0] if len(out) == 1 else b"".join(out)

    def finish(self) -> bytes:
        """The last piece of the client's stream, when the upstream's has ended."""
        out: list[bytes] = []
        if self.error is None:
            for event in self._reader.finish():
                out += self._write(event)
        return b"".join([*out, *self._writer.finish()])

    def fail(self, error: PlanoError) -> bytes:
        """The piece that ends the client's stream with `error`; empty if an error has ended it already."""
        if self.error is not None:
            return b""
        self.error = error
        forget_frames(error)
        return b"".join(self._writer.feed(Failed(error)))

    def _end(self, finished: Finished) -> None:
        """Note the end of the reply, and report what the client's dialect cannot say of it."""
        self._exchange.usage, self._exchange.finish_reason = finished.usage, finished.finish
        if finished.extras:
            extras = {
                dialect: {
                    name: raw for name, raw in fields.items() if name != "service_tier"
                }  # both of OpenAI's have it
                for dialect, fields in finished.extras.items()
            }
            self._exchange.losses.drop_extras(extras, self._exchange._client.name, "reply.")

    def _write(self, event: Event) -> list[bytes]:
        """Note an event's finish and usage, fill in its missing fields, and write it."""
        kind = type(event)
        if kind is Start:
            event = self._exchange._filled_start(event)  # type: ignore[arg-type]
        elif kind is Finished:
            self._end(event)  # type: ignore[arg-type]
        elif kind is Failed:
            self.error = event.error  # type: ignore[union-attr]
        elif kind is PartStart or kind is PartStop:
            event = self._exchange._by_client(event)  # type: ignore[arg-type]
        return self._writer.feed(event)
