"""xAI, whose models differ in the efforts that they know, and refuse penalties and `stop` if they reason."""

from __future__ import annotations

from plano.capabilities import Refused, Takes, Thinking
from plano.provider import Provider
from plano.providers.windows import WINDOWS

_SEARCH = Refused(fields=("web_search_options",), reason="xAI's chat API does not take it")

# "Reasoning": "presencePenalty, frequencyPenalty and stop parameters are not supported by reasoning models".
_PENALTIES = Refused(
    fields=("presence_penalty", "frequency_penalty", "stop"), reason="{model} does not take it", thinking=True
)


def _reasons(*efforts: str, when: str = "always") -> Takes:
    return Takes(thinking=Thinking(when, efforts))  # type: ignore[arg-type]


_NOT_REASONING = Takes(thinking=Thinking("never"))

XAI = Provider(
    name="xai",
    base_url="https://api.x.ai",
    paths={"chat": "/chat/completions", "responses": "/responses"},
    key_variables=("XAI_API_KEY",),
    takes={
        "": Takes(dialects=("chat",), refuses=(_SEARCH, _PENALTIES), thoughts="", call_seals="refused"),
        # "Reasoning", section "Effort levels": each of the older models either thinks or does not, as its name says.
        "grok-[23]": _NOT_REASONING,
        "grok-3-mini": _reasons("low", "high"),
        "grok-4": _reasons(),
        "grok-code": _reasons(),
        "grok-*non-reasoning": _NOT_REASONING,
        "grok-4.20-multi": _reasons("low", "medium", "high", "xhigh"),
        "grok-4.3": _reasons("none", "low", "medium", "high", when="default"),
        "grok-4.[4-9]": _reasons("low", "medium", "high"),
        "grok-[5-9]": _reasons("low", "medium", "high"),
    },
    windows=WINDOWS["xai"],
)
