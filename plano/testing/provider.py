"""The fake provider: a script, a record, and two ways in."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Concatenate, ParamSpec
from urllib.parse import urlsplit

from plano.conversation import Part
from plano.errors import CallerError, MethodNotAllowed, NotFound
from plano.operations import COMPACT
from plano.runtime.clock import REAL, Clock
from plano.testing import other_endpoints as beside
from plano.testing.demo import demo
from plano.testing.playback import FakeExchange, play, within
from plano.testing.record import Recorded
from plano.testing.script import Answer, Break, Failure, Reply, Script, Verbatim
from plano.testing.wire import Wire, of_error, of_json, render
from plano.transport import Outgoing
from plano.types import RawHeaders, Receive, Scope, Send

P = ParamSpec("P")


def _scripting(make: Callable[P, Answer]) -> Callable[Concatenate[FakeProvider, P], None]:
    """A method that takes the arguments of `make`, and appends the answer that it makes to the script."""

    def method(self: FakeProvider, /, *args: P.args, **options: P.kwargs) -> None:
        self.script(make(*args, **options))

    method.__doc__ = f"Append a `{make.__name__}`, made of the same arguments, to the script.\n\n    {make.__doc__}"
    return method


class FakeProvider:
    """A provider that speaks all three dialects, streamed and not, and needs neither key nor network.

    It is a transport (`Plano(config, transport=provider)`) and an ASGI application (`serve(provider)`, or
    mounted somewhere), and tells dialects apart by path: `…/chat/completions`, `…/messages`, `…/responses`.
    It also has `…/messages/count_tokens`, `…/embeddings` and `…/models`.

    Each request for a reply gets the next answer of the script; the last answer repeats. Without a script the
    provider repeats the user's text, as the `demo` provider does.

    Args:
        models: the names that `/models` lists.
        delay: seconds before the first byte of an answer that has no `delay` of its own.
        pause: seconds between the events of an answer that has no `pause` of its own.
        keep: the number of the latest requests to record; None for all of them.
        name: the beginning of ids; a counter follows it.
        clock: the time by which delays pass and replies are created: the machine's, or a `FakeClock`.

    Attributes:
        requests: the recorded requests, in order.
    """

    def __init__(
        self,
        *,
        models: Sequence[str] = ("echo",),
        delay: float = 0.0,
        pause: float = 0.0,
        keep: int | None = None,
        name: str = "fake",
        clock: Clock = REAL,
    ) -> None:
        self.requests: list[Recorded] = []
        self._asked = 0
        self._keep = keep
        self._name = name
        self._models = tuple(models)
        self._delay = delay
        self._pause = pause
        self._clock = clock
        self._script: deque[Script] = deque()
        self._current: Script = demo
        self._beside: dict[str, Script] = {}

    reply = _scripting(Reply)
    fail = _scripting(Failure)
    raw = _scripting(Verbatim)

    def fails(self, times: int, status: int = 503, **options: Any) -> None:
        """Append several failures, with the options of `Failure`. The answers that are appended next follow them."""
        self.script(*(Failure(status, **options) for _ in range(times)))

    def breaks_after(self, events: int, *parts: Part | str, how: Break = "lost") -> None:
        """Append a reply that breaks off after a number of events; without `parts`, it gets text that is long enough.

        `how`: the connection is `lost`, or the stream ends cleanly but `incomplete`, or with an `error` event, or with
        that of a `Failure`.
        """
        self.script(Reply(*(parts or ("word " * (events + 1),)), breaks_after=events, how=how))

    def script(self, *answers: Script) -> None:
        """Append answers, or functions that choose one, such as `lambda recorded: Reply(...)`."""
        for answer in answers:
            path = getattr(answer, "on", None)
            if path is None:
                self._script.append(answer)
            else:
                self._beside[path] = answer

    @property
    def last(self) -> Recorded:
        """The latest request."""
        assert self.requests, "the provider was not asked anything yet"
        return self.requests[-1]

    async def send(self, request: Outgoing) -> FakeExchange:
        """Answer a transport's request.

        Raises:
            UpstreamTimeout: the script's delay is longer than `request.timeouts` allow.
        """
        headers = request.all_headers
        if not any(name == b"host" for name, _ in headers):
            headers = [(b"host", urlsplit(request.url).netloc.encode()), *headers]
        recorded = self._record(request.method.decode(), request.url, headers, request.body)
        wire = self._answer(recorded)
        try:
            await within(self._clock, request.timeouts.first_byte, wire.delay or 0.0)
        except BaseException:
            recorded.end("left")
            raise
        return FakeExchange(wire, recorded, idle=request.timeouts.idle, clock=self._clock)

    async def aclose(self) -> None:
        """Do nothing, because nothing is held. The provider can be used again."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer an ASGI server's request."""
        assert scope["type"] == "http", "the fake provider is there for HTTP only"
        body, more = bytearray(), True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        recorded = self._record(scope["method"], _url(scope), list(scope["headers"]), bytes(body))
        await play(self._answer(recorded), recorded, receive, send, self._clock)

    def _record(self, method: str, url: str, headers: RawHeaders, body: bytes) -> Recorded:
        recorded = Recorded(method=method, url=url, headers=headers, body=body)
        self._asked += 1
        self.requests.append(recorded)
        if self._keep is not None:
            del self.requests[: len(self.requests) - self._keep]
        return recorded

    def _answer(self, recorded: Recorded) -> Wire:
        try:
            wire = self._wire(recorded)
        except CallerError as error:
            wire = of_error(error, recorded)
        except BaseException:
            recorded.end("broken")
            raise
        wire.delay = self._delay if wire.delay is None else wire.delay
        wire.pause = self._pause if wire.pause is None else wire.pause
        return wire

    def _wire(self, recorded: Recorded) -> Wire:
        for path, script in self._beside.items():
            if recorded.path.endswith(path):
                return self._rendered(script, recorded)
        if recorded.dialect is None:
            return self._listed(recorded)
        if recorded.method != "POST":
            raise MethodNotAllowed(f"{recorded.path} takes POST only.", allow="POST")
        if recorded.operation == "count_tokens":
            return of_json(beside.count(recorded))
        if recorded.operation == COMPACT:
            raise NotFound(f"There is no {recorded.path} here.")  # then the model is asked for a summary
        if recorded.operation == "embeddings":
            return of_json(beside.embeddings(recorded))
        if self._script:
            self._current = self._script.popleft()
        return self._rendered(self._current, recorded)

    def _rendered(self, script: Script, recorded: Recorded) -> Wire:
        answer = script(recorded) if callable(script) else script
        return render(answer, recorded, id=f"{self._name}_{self._asked}", now=int(self._clock.wall()))

    def _listed(self, recorded: Recorded) -> Wire:
        found = beside.models(recorded, self._models) if "/models" in recorded.path else None
        if found is None:
            raise NotFound(f"There is no {recorded.path} here.")
        return of_json(found)


def _url(scope: Scope) -> str:
    host = dict(scope["headers"]).get(b"host", b"localhost").decode("latin-1")
    path = scope.get("raw_path") or scope["path"].encode()
    query = b"?" + scope["query_string"] if scope.get("query_string") else b""
    return f"{scope.get('scheme', 'http')}://{host}{(path + query).decode('latin-1')}"
