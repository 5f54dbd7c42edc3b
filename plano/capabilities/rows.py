"""The rows. Each capability is taken from the row with the most particular pattern that states it.

A pattern is the beginning of models' ids, with `*` and `[…]` as in file names: `claude-*-4-5` stands for
`claude-haiku-4-5-20251001` too. The longest pattern is the most particular one; the provider's own row has the empty
one, so it comes last.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import replace

from plano.capabilities.fields import (
    Fields,
    decoded,
    developer_as_system,
    encoded,
    rename,
    strip,
    strip_unless,
)
from plano.capabilities.history import fit_history, words_of
from plano.capabilities.thinking import Thinking
from plano.losses import Losses
from plano.types import UpstreamDialect

OWN_FIELDS = (
    "store",
    "metadata",
    "user",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "prompt_cache_options",
    "service_tier",
    "verbosity",
    "moderation",
    "prediction",
    "web_search_options",
)
"""OpenAI's own top-level fields of the chat API, which servers with a compatible API know in part (API reference,
Chat)."""


_TOOLS = re.compile(rb'"(?:tools|functions)"\s*:\s*\[\s*\{')
_EFFORT = re.compile(rb'"reasoning_effort"\s*:\s*"(\w+)"')

_WORDS = {"user": ('user":', 'user": ')}
"""The words by which a field is found, if its name alone is in every body as a value (`"role": "user"`). They include
the field's colon, and its quote with and without a blank."""


class Refused(Struct, frozen=True, kw_only=True):
    """Fields that the API refuses with any value, so that they are left out.

    Attributes:
        fields: their names; a field that is null asks for nothing, and stays.
        reason: the reason in the report of the loss; `{model}` in it is the model's id.
        harmless: the one value that is accepted all the same, for the fields that have one.
        thinking: whether they are refused only while the model thinks.
    """

    fields: tuple[str, ...]
    reason: str
    harmless: Mapping[str, float] = {}
    thinking: bool = False


class Takes(Struct, frozen=True, kw_only=True):
    """One row. None means that it does not state the attribute.

    Attributes:
        max_tokens: the most output tokens, for APIs that require a number and for those that refuse a higher one.
        developer: whether the role `developer` is known; if it is not, such a message is sent as a system message.
        systems: `one` if only one system message may stand in a conversation, in front; `any` for any number.
        renames: OpenAI's name of a field, mapped to the name that this API knows.
        refuses: fields that are left out.
        excludes: a field, mapped to the field that it excludes, because the API takes one of them.
        knows: those of `OWN_FIELDS` that the API knows; the others are left out.
        thinking: how its models think, and how they are told.
        thoughts: the field in which earlier reasoning goes back: `reasoning_content`, `reasoning`, `reasoning_details`
            (with `reasoning`), `parts` (a part of the content), or "" if it does not go back.
        needs_thoughts: whether each earlier message of the assistant must have reasoning, if the request has tools.
        forces: `unthinking` if a tool can only be forced while the model does not think; `never` if it cannot be.
        adds: fields for requests that were asked in another dialect, with their values.
        apis: the dialects that the model is served over, the preferred one first.
        tools_over: the dialect for requests in which tools and reasoning meet, because another dialect refuses them.
        tools_refused: when it does: for `tools` at all (the model thinks by default), or for tools with an `effort`.
        call_seals: what becomes of a call's `extra_content`, Google's signature of it: `refused` if it is left out,
            `kept`, or `needed` if the first call of each message must have one.
        searches: whether it hosts the web search of the API's vendor; unless it is False, clients of other APIs get it.
        dialects: the dialects that the row is about; empty means all of them.
    """

    max_tokens: int | None = None
    developer: bool | None = None
    systems: Literal["one", "any"] | None = None
    renames: Mapping[str, str] | None = None
    refuses: tuple[Refused, ...] | None = None
    excludes: Mapping[str, str] | None = None
    knows: tuple[str, ...] | None = None
    thinking: Thinking | None = None
    thoughts: Literal["reasoning_content", "reasoning", "reasoning_details", "parts", ""] | None = None
    needs_thoughts: bool | None = None
    forces: Literal["unthinking", "never"] | None = None
    adds: Mapping[str, Any] | None = None
    apis: tuple[UpstreamDialect, ...] | None = None
    tools_over: UpstreamDialect | None = None
    tools_refused: Literal["tools", "effort"] | None = None
    call_seals: Literal["refused", "kept", "needed"] | None = None
    searches: bool | None = None
    dialects: tuple[UpstreamDialect, ...] = ()

    def words(self) -> tuple[str, ...]:
        """The words of which at least one stands in a body that `fit` changes."""
        return (
            *(("developer",) if self.developer is False else ()),
            *(self.renames or ()),
            *(name for each in self.refuses or () for name in each.fields),
            *(self.excludes or ()),
            *(word for name in self._unknown() for word in _WORDS.get(name, (name,))),
            *(() if self.thinking is None else self.thinking.words()),
            *(("tool_choice",) if self.forces is not None else ()),
            *words_of(self),
        )

    def fit(self, model: str, fields: Fields, losses: Losses) -> None:
        """Change the fields of an outgoing body in place, and report what is left out."""
        if self.developer is False:
            developer_as_system(fields)
        for old, new in (self.renames or {}).items():
            rename(fields, old, new)
        if self.thinking is not None:
            self.thinking.tell(model, fields, losses)
        if self.forces is not None:
            self._free_choice(model, fields, losses)
        for refused in self.refuses or ():
            if not refused.thinking or (self.thinking is not None and self.thinking.thinks(fields)):
                values = {name: refused.harmless.get(name) for name in refused.fields}
                strip_unless(fields, values, losses, refused.reason.format(model=model))
        for kept, excluded in (self.excludes or {}).items():
            if decoded(fields.get(kept)) is not None:
                strip(fields, (excluded,), losses, f"{model} takes {kept} or {excluded}, not both")
        self._leave_unknown(model, fields, losses)
        thinks = self.thinking is None or self.thinking.thinks(fields)
        fit_history(self, fields, losses, thinks=thinks)

    def sends_tools_over(self, body: bytes) -> UpstreamDialect | None:
        """The dialect in which a chat body has to be sent, because tools and reasoning meet in it; None for its own."""
        if self.tools_over is None or _TOOLS.search(body) is None:
            return None
        effort = _EFFORT.search(body)
        said = None if effort is None else effort[1]
        meet = said != b"none" and (said is not None or self.tools_refused == "tools")
        return self.tools_over if meet else None

    def _unknown(self) -> tuple[str, ...]:
        return () if self.knows is None else tuple(name for name in OWN_FIELDS if name not in self.knows)

    def _leave_unknown(self, model: str, fields: Fields, losses: Losses) -> None:
        if bytes(fields.get("store", b"")) == b"false" and "store" in self._unknown():
            del fields["store"]  # the server stores nothing anyway
        strip(fields, self._unknown(), losses, f"the API of {model} does not have it")

    def _free_choice(self, model: str, fields: Fields, losses: Losses) -> None:
        """Adapt a request that forces a tool, for a model that cannot be forced, or not while it thinks."""
        choice = decoded(fields.get("tool_choice"))
        if not _forces(choice):
            return
        if self.forces == "unthinking" and self.thinking is not None:
            if not self.thinking.thinks(fields):
                return
            if self._stop_thinking(fields):
                losses.drop("reasoning_effort", f"{model} does not think when a tool is forced")
                return
        if isinstance(choice, dict) and choice.get("type") in ("any", "tool"):
            choice.pop("name", None)
            fields["tool_choice"] = encoded(choice | {"type": "auto"})
        else:
            fields["tool_choice"] = encoded("auto")
        losses.drop("tool_choice", f"{model} cannot be made to call a tool; it is left to choose")

    def _stop_thinking(self, fields: Fields) -> bool:
        """Turn thinking off for this request. Returns whether that is possible."""
        assert self.thinking is not None
        if self.thinking.when == "always" or not (self.thinking.switch or self.thinking.claude):
            return False
        for name in ("reasoning_effort", self.thinking.budget, self.thinking.switch):
            fields.pop(name, None)
        if self.thinking.claude:
            fields["thinking"] = encoded({"type": "disabled"})
        else:
            fields["reasoning_effort"] = encoded("none")
        self.thinking.tell("", fields, Losses())
        return True


def _forces(choice: object) -> bool:
    """Whether a `tool_choice` of any dialect makes the model call a tool."""
    if isinstance(choice, str):
        return choice in ("required", "any")
    if not isinstance(choice, dict):
        return False
    if choice.get("type") == "allowed_tools":
        inner = choice.get("allowed_tools", choice)
        return isinstance(inner, dict) and inner.get("mode") == "required"
    return choice.get("type") not in (None, "auto", "none")


NO_ROWS: Mapping[str, Takes] = {}


def takes_of(rows: Mapping[str, Takes], model: str, dialect: UpstreamDialect) -> Takes:
    """Merge the rows that match a model and a dialect into one; `rows` are by the pattern of models' ids."""
    known = [rows[start] for start in sorted(rows, key=len, reverse=True) if fnmatchcase(model, start + "*")]
    found = [row for row in known if not row.dialects or dialect in row.dialects]
    said = {name: [getattr(row, name) for row in found] for name in _SAID}
    return Takes(**{name: _first(values) for name, values in said.items()})


_SAID = [name for name in Takes.__struct_fields__ if name != "dialects"]


def limits(most: Mapping[str, int], rows: Mapping[str, Takes] = NO_ROWS) -> dict[str, Takes]:
    """The rows with the most output tokens of models added to them, by the pattern of their ids."""
    return {**rows, **{start: replace(rows.get(start, Takes()), max_tokens=tokens) for start, tokens in most.items()}}


def _first(values: Iterable[Any]) -> Any:
    return next((value for value in values if value is not None), None)
