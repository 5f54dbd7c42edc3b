"""Puts the tool calls of a stream together, from deltas that servers number in many ways.

By OpenAI's reference, the first delta of a call has its index, id and name; the others have its index and more of the
arguments. Other servers were seen to send no index; index 0 for every call; the id or name in every delta; no
id at all; whole calls in one delta; two calls that grow in turns.
"""

from __future__ import annotations

from msgspec import Raw, Struct

from plano.conversation import Event, Extras, PartStart, PartStop, TextDelta, ToolCall
from plano.dialects.chat.arguments import Arguments
from plano.dialects.chat.ids import call_id
from plano.dialects.chat.reply import Custom, Function, read_call_extras


class CallDelta(Struct, gc=False):
    """One element of a delta's `tool_calls`."""

    index: int | None = None
    id: str | None = None
    type: str | None = None
    function: Function | None = None
    custom: Custom | None = None

    @property
    def begins(self) -> bool:
        """Whether this may be the first delta of its call; only the first may have unknown fields."""
        named = self.function or self.custom
        return bool(self.id) or (named is not None and bool(named.name))


class _Call:
    """A call that is still growing. Its part starts when its name is known."""

    __slots__ = ("arguments", "extras", "id", "index", "name", "number", "part", "stopped")

    def __init__(self, number: int, index: int | None, id_: str) -> None:
        self.number = number
        self.index = index
        self.id = id_
        self.name = ""
        self.arguments = Arguments()
        self.part: int | None = None
        self.stopped = False
        self.extras: Extras = {}


class Calls:
    """All calls of one reply. The caller hands out the indexes of parts, by `next_part`."""

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._by_index: dict[int, _Call] = {}
        self._by_id: dict[str, _Call] = {}
        self._grown: dict[_Call, None] = {}  # those that grew since `close` last looked

    def __len__(self) -> int:
        return len(self._calls)

    def feed(self, delta: CallDelta, raw: Raw | None, reply: str, next_part: int) -> list[Event]:
        """The events of one delta.

        Args:
            raw: the delta as it came, or None; its unknown fields become the call's.
            reply: the reply's id, from which calls without an id get one.
            next_part: the index of the part that the delta may start.
        """
        kind = "custom" if delta.custom is not None else "function"
        if delta.custom is not None:
            name, piece = delta.custom.name, delta.custom.input
        elif delta.function is not None:
            name, piece = delta.function.name, delta.function.written()
        else:
            name = piece = None
        call = self._find(delta, name, piece)
        events: list[Event] = []
        if call is None and not (delta.id or name or piece):
            return events  # some servers put an empty call into every delta
        if call is None:
            events += self.close(complete_only=True)
            call = self._begin(delta, reply)
        if call.part is None and raw is not None:
            call.extras = call.extras or read_call_extras(raw)
        self._grown[call] = None
        return events + _grow(call, name, piece, kind, next_part)

    def _find(self, delta: CallDelta, name: str | None, piece: str | None) -> _Call | None:
        """The call that a delta continues; None if it begins one."""
        if delta.index is not None:
            call = self._by_index.get(delta.index)
        elif delta.id:
            call = self._by_id.get(delta.id)
            if call is None and not name:
                call = self._last()
        else:
            call = self._last()
            if call is not None and name and call.name and call.name != name:
                return None
        if call is None or not name or call.part is None:
            return call
        if delta.id:
            return call if delta.id == call.id else None
        # A name that is repeated begins another call only if the last one is whole and arguments come with it.
        return None if piece and call.arguments.whole() else call

    def _last(self) -> _Call | None:
        return self._calls[-1] if self._calls else None

    def _begin(self, delta: CallDelta, reply: str) -> _Call:
        number = len(self._calls)
        call = _Call(number, delta.index, delta.id or call_id(reply, number))
        self._calls.append(call)
        self._by_id.setdefault(call.id, call)
        if delta.index is not None:
            self._by_index[delta.index] = call
        return call

    def close(self, *, complete_only: bool = False, next_part: int = 0) -> list[Event]:
        """Stop the open calls.

        With `complete_only`, stop only those that cannot grow any more, so that a writer that needs one call after the
        other does not have to wait for the reply's end. Else a call that never had a name starts here, without one.
        """
        events: list[Event] = []
        calls = sorted(self._grown, key=_number) if complete_only else self._calls
        self._grown.clear()
        for call in calls:
            if call.stopped or (complete_only and (call.part is None or not call.arguments.whole())):
                continue
            if call.part is None:
                events += _start(call, "function", next_part)
                next_part += 1
            assert call.part is not None, "it was started"
            call.stopped = True
            events.append(PartStop(call.part))
        return events


def _number(call: _Call) -> int:
    return call.number


def _grow(call: _Call, name: str | None, piece: str | None, kind: str, next_part: int) -> list[Event]:
    """Add a piece of arguments to a call, and start its part if its name is known now."""
    if piece:
        call.arguments.pieces.append(piece)
    if call.part is None:
        call.name = name or ""
        return _start(call, kind, next_part) if name else []
    return [TextDelta(call.part, piece)] if piece and not call.stopped else []


def _start(call: _Call, kind: str, part: int) -> list[Event]:
    """Start the call's part, and give the arguments that came before."""
    call.part = part
    start = PartStart(
        part,
        ToolCall(
            id=call.id,
            name=call.name,
            arguments="",
            kind="custom" if kind == "custom" else "function",
            extras=call.extras,
        ),
    )
    return [start, *(TextDelta(part, piece) for piece in call.arguments.pieces)]
