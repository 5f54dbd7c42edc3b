"""A translated stream, as a stage that an upstream's stream is put through."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from copy import copy

from plano.attempt import Attempt
from plano.errors import UpstreamError
from plano.journal import Journal
from plano.streams.stages import Ended
from plano.translation.translate import Translator


class TranslatedStream:
    """A stream in the client's dialect; one that breaks ends in that dialect's error event.

    If no output came before, the error is raised instead, so that the client gets it with a status.

    Args:
        opening: changes the first output; None if that is to stay as it is.
    """

    def __init__(
        self,
        translator: Translator,
        journal: Journal,
        attempt: Attempt | None,
        opening: Callable[[bytes], bytes | None] | None,
    ) -> None:
        self._stream = translator.stream()
        self._losses = translator.losses
        self._journal = journal
        self._attempt = attempt
        self._opening = opening
        self._silent = True

    def feed(self, piece: bytes) -> bytes:
        translated = self._stream.feed(piece)
        if self._stream.error is not None:
            self._raise_if_silent()
            if self._attempt is not None:
                self._attempt.fail("broken_stream")
            raise Ended(self._over(translated))
        if translated and self._silent:
            self._silent = False
            if self._opening is not None:
                return self._opening(translated) or translated
        return translated

    async def finish(self) -> AsyncGenerator[bytes, None]:
        last = self._stream.finish()
        self._raise_if_silent()
        last = self._over(last)
        if last:
            yield last

    def fail(self, error: UpstreamError) -> bytes | None:
        return None if self._silent else self._over(self._stream.fail(error))

    def _raise_if_silent(self) -> None:
        if self._silent and self._stream.error is not None:
            raise copy(self._stream.error)  # an error that is raised holds frames, and these the stream

    def _over(self, last: bytes) -> bytes:
        if self._attempt is not None:
            self._attempt.lose(tuple(self._losses))
        self._journal.note_error(self._stream.error)
        return last
