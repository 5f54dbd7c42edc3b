"""Tells a model in its own words how hard to think, or not to think.

Clients ask in three forms: chat's `reasoning_effort`, the responses API's `reasoning.effort`, and the `thinking` and
`output_config.effort` of messages. A body has one of them, so the fields themselves tell which it is.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from plano.capabilities.efforts import BUDGETS, EFFORTS, budget_of, effort_of
from plano.capabilities.fields import Fields, decoded, encoded, object_in, strip
from plano.losses import Losses

SWITCHES: dict[str, tuple[object, object]] = {
    "thinking": ({"type": "enabled"}, {"type": "disabled"}),
    "enable_thinking": (True, False),
    "reasoning": ({"enabled": True}, {"enabled": False}),
    "chat_template_kwargs": ({"enable_thinking": True}, {"enable_thinking": False}),
}
"""The values that turn thinking on and off, by the field that does it."""

SEALS = "reasoning.encrypted_content"
"""The entry of `include` that asks for sealed reasoning (API reference, Responses, `include`)."""


class Thinking(Struct, frozen=True):
    """How a model thinks, and how it is told.

    Attributes:
        when: `never`; `asked`, if it thinks only when the request asks for it; `default`, unless the request forbids
            it; or `always`.
        efforts: the efforts that it knows, the least first; `none` is among them if that turns thinking off. Empty if
            it takes no effort.
        switch: the field that turns thinking on and off, one of `SWITCHES`, or "".
        budget: the field with the most tokens to think, or "".
        claude: for the messages API: `budget`, if thinking has a number of tokens; `adaptive`, if the model decides and
            only the effort guides it; `both`; `switch`, if it is turned on and off, and only the effort guides it; or
            "" for another API.
    """

    when: Literal["never", "asked", "default", "always"]
    efforts: tuple[str, ...] = ()
    switch: str = ""
    budget: str = ""
    claude: Literal["", "budget", "adaptive", "both", "switch"] = ""

    def words(self) -> tuple[str, ...]:
        """The words of which at least one stands in a body that `tell` changes."""
        if self.claude:
            return ("thinking", "output_config")
        return ("reasoning_effort", "reasoning", *((SEALS,) if self.when == "never" else ()))

    def tell(self, model: str, fields: Fields, losses: Losses) -> None:
        """Change the fields of an outgoing body in place."""
        if self.claude:
            _Claude(self, model, fields, losses).tell()
        else:
            _say_effort(self, model, fields, losses)

    def thinks(self, fields: Fields) -> bool:
        """Whether the model will think on a request that was told so."""
        if self.when in ("never", "always"):
            return self.when == "always"
        if self.claude:
            kind = object_in(fields, "thinking").get("type")
            return kind in ("enabled", "adaptive") or (kind is None and self.when == "default")
        if self.switch and (value := decoded(fields.get(self.switch))) is not None:
            return value != SWITCHES[self.switch][1]
        effort = decoded(fields.get("reasoning_effort")) or object_in(fields, "reasoning").get("effort")
        return self.when == "default" if effort is None else effort != "none"

    def nearest(self, effort: str) -> str:
        """The word for an effort that this model knows; of two equally near, the one nearer to `high`.

        A word that no vendor has stays as it is, and so does every word if the model takes none.
        """
        known = [word for word in self.efforts if word in EFFORTS and word != "none"]
        if effort in self.efforts or effort not in EFFORTS or not known:
            return effort
        place, high = EFFORTS.index(effort), EFFORTS.index("high")
        return min(known, key=lambda word: (abs(EFFORTS.index(word) - place), abs(EFFORTS.index(word) - high)))


def _say_effort(thinking: Thinking, model: str, fields: Fields, losses: Losses) -> None:
    """Fit an effort in the form of chat or of responses."""
    effort = decoded(fields.get("reasoning_effort"))
    if isinstance(effort, str):
        _Effort(thinking, model, losses, "reasoning_effort").say(effort, fields)
    elif thinking.when == "never":
        strip(fields, ("reasoning_effort",), losses, f"{model} does not think")
    reasoning = object_in(fields, "reasoning")
    effort = reasoning.pop("effort", None)
    if isinstance(effort, str):
        inner: Fields = {"effort": encoded(effort)}
        _Effort(thinking, model, losses, "reasoning.effort", switches=False).say(effort, inner)
        reasoning |= {name: decoded(value) for name, value in inner.items()}
        fields["reasoning"] = encoded(reasoning)
    if thinking.when == "never":
        _say_nothing(model, reasoning, fields, losses)


def _say_nothing(model: str, reasoning: dict[str, object], fields: Fields, losses: Losses) -> None:
    """Drop the fields about reasoning, for a model that refuses them with any value."""
    if "reasoning" in fields:
        if any(value is not None for value in reasoning.values()):
            losses.drop("reasoning", f"{model} does not think")
        del fields["reasoning"]
    include = decoded(fields.get("include"))
    if isinstance(include, list) and SEALS in include:  # refused as well, and the reply would have no seals
        fields["include"] = encoded([item for item in include if item != SEALS])


class _Effort:
    """Fits one effort. `field` is its name in reports; without `switches`, no other field than the effort's is used."""

    def __init__(self, thinking: Thinking, model: str, losses: Losses, field: str, *, switches: bool = True) -> None:
        self._thinking = thinking
        self._model = model
        self._losses = losses
        self._field = field
        self._key = field.rpartition(".")[2]
        self._switch = thinking.switch if switches else ""

    def say(self, effort: str, fields: Fields) -> None:
        """Replace the effort in `fields` by what the model takes."""
        del fields[self._key]
        if self._thinking.when == "never":
            if effort != "none":
                self._lose(f"{self._model} does not think")
        elif effort == "none":
            self._off(fields)
        else:
            self._on(effort, fields)

    def _off(self, fields: Fields) -> None:
        thinking = self._thinking
        if thinking.when == "always":
            least = next(iter(thinking.efforts), None)
            if least is not None:
                fields[self._key] = encoded(least)
            self._lose(f"{self._model} always thinks" + ("" if least is None else f"; sent as `{least}`"))
        elif self._switch:
            fields.setdefault(self._switch, encoded(SWITCHES[self._switch][1]))
        elif "none" in thinking.efforts:
            fields[self._key] = encoded("none")
        elif thinking.when == "default":
            self._lose(f"{self._model} thinks, and cannot be told not to")

    def _on(self, effort: str, fields: Fields) -> None:
        thinking = self._thinking
        if self._switch and (thinking.when == "asked" or thinking.budget):
            fields.setdefault(self._switch, encoded(SWITCHES[self._switch][0]))
        if any(word != "none" for word in thinking.efforts):
            said = thinking.nearest(effort)
            fields[self._key] = encoded(said)
            if said != effort:
                self._lose(f"{self._model} does not know `{effort}`; sent as `{said}`")
        elif thinking.budget and effort in BUDGETS:
            fields.setdefault(thinking.budget, encoded(BUDGETS[effort]))
        else:
            self._lose(f"{self._model} is not told how hard to think")

    def _lose(self, reason: str) -> None:
        self._losses.drop(self._field, reason)


class _Claude:
    """Fits `thinking` and `output_config.effort` to a generation of Claude ("Extended thinking", "Adaptive thinking",
    "Effort", and "What's new" of each model)."""

    def __init__(self, thinking: Thinking, model: str, fields: Fields, losses: Losses) -> None:
        self._thinking = thinking
        self._model = model
        self._fields = fields
        self._losses = losses
        self._asked = object_in(fields, "thinking")
        self._config = object_in(fields, "output_config")

    def tell(self) -> None:
        kind = self._asked.get("type")
        if self._thinking.when == "never" and kind in ("enabled", "adaptive"):
            strip(self._fields, ("thinking",), self._losses, f"{self._model} does not think")
        elif kind == "adaptive" and self._thinking.claude == "budget":
            self._measured()
        elif kind == "enabled" and self._thinking.claude == "adaptive":
            self._guided("adaptive")
        elif kind in ("enabled", "adaptive") and self._thinking.claude == "switch":
            self._guided("enabled")
        elif kind == "disabled" and self._thinking.claude == "switch":
            self._unguided()
        elif kind == "disabled" and self._thinking.when == "always":
            strip(self._fields, ("thinking",), self._losses, f"{self._model} always thinks")
            self._set_effort("low")
        self._known_effort()

    def _measured(self) -> None:
        """Give adaptive thinking a budget, for models that do not decide by themselves. The effort becomes the
        budget."""
        effort = self._config.pop("effort", None)
        most = decoded(self._fields.get("max_tokens"))
        known = effort if isinstance(effort, str) else "medium"
        budget = budget_of(known, most if isinstance(most, int) else None)
        if budget is None:
            strip(self._fields, ("thinking",), self._losses, "max_tokens leaves no room for it")
        else:
            self._fields["thinking"] = encoded(self._asked | {"type": "enabled", "budget_tokens": budget})
        if effort is not None and any(word in BUDGETS for word in self._thinking.efforts):
            self._config["effort"] = effort
        self._write_config()

    def _guided(self, kind: str) -> None:
        """Let the model decide, because a budget is a 400 from Claude 4.7 on, and others pass it over. The budget
        becomes the effort, if there is one."""
        budget = self._asked.pop("budget_tokens", None)
        self._fields["thinking"] = encoded(self._asked | {"type": kind})
        if isinstance(budget, int) and self._thinking.efforts:
            self._set_effort(self._thinking.nearest(effort_of(max(budget, 1))))

    def _unguided(self) -> None:
        """Leave the effort out, because it is refused beside thinking that is turned off."""
        if self._config.pop("effort", None) is not None:
            self._losses.drop("output_config.effort", f"{self._model} takes none while it does not think")
            self._write_config()

    def _known_effort(self) -> None:
        """Replace an effort that the model does not know."""
        effort = self._config.get("effort")
        if not isinstance(effort, str):
            return
        if not self._thinking.efforts:
            del self._config["effort"]
            self._losses.drop("output_config.effort", f"{self._model} takes no effort")
        elif (said := self._thinking.nearest(effort)) != effort:
            self._config["effort"] = said
            self._losses.drop("output_config.effort", f"{self._model} does not know `{effort}`; sent as `{said}`")
        else:
            return
        self._write_config()

    def _set_effort(self, effort: str) -> None:
        """Set an effort, unless the request has one."""
        if self._config.get("effort") is None:
            self._config["effort"] = effort
            self._write_config()

    def _write_config(self) -> None:
        if self._config:
            self._fields["output_config"] = encoded(self._config)
        else:
            self._fields.pop("output_config", None)
