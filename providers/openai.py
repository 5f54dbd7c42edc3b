"""OpenAI, whose models refuse some fields if they reason, and others if they do not."""

from __future__ import annotations

from typing import Literal

from msgspec.structs import asdict, replace

from plano.capabilities import Refused, Takes, Thinking, limits
from plano.provider import Provider
from plano.providers.paths import EMBEDDINGS
from plano.providers.windows import WINDOWS

_SAMPLING = Refused(
    fields=(
        "temperature",
        "top_p",
        "presence_penalty",
        "frequency_penalty",
        "logprobs",
        "top_logprobs",
        "logit_bias",
    ),
    harmless={"temperature": 1, "top_p": 1, "presence_penalty": 0, "frequency_penalty": 0, "logprobs": False},
    reason="{model} does not take it while it reasons",
    thinking=True,
)

_EFFORTS = ("low", "medium", "high")

_NOT_REASONING = Takes(
    thinking=Thinking("never"), renames={}, refuses=(), apis=("chat", "responses"), thoughts="", call_seals="refused"
)
"""The models that refuse `reasoning_effort` (chat: an unrecognized argument) and `reasoning` (responses: an unsupported
parameter), with any value."""

_REASONING = Takes(
    renames={"max_tokens": "max_completion_tokens"},
    refuses=(_SAMPLING,),
    apis=("chat", "responses"),
    thoughts="",
    call_seals="refused",
)


def _reasons(when: Literal["asked", "default", "always"], *efforts: str) -> Takes:
    """The row of models that reason `when`, with these efforts."""
    return replace(_REASONING, thinking=Thinking(when, efforts))


_LATEST = _reasons("default", "none", *_EFFORTS, "xhigh", "max")


_RESPONSES_ONLY = Takes(apis=("responses",))
"""The models that the model pages list only under the responses API."""

_NO_TOOLS_IN_CHAT = Takes(apis=("responses", "chat"), tools_over="responses")
"""The models that, in the chat API, refuse function tools together with reasoning (`Function tools with
reasoning_effort are not supported for gpt-5.6-sol in /v1/chat/completions. To use function tools, use /v1/responses or
set reasoning_effort to 'none'`)."""


def _also(row: Takes, more: Takes) -> Takes:
    """A row with the capabilities that another states."""
    return replace(row, **{name: value for name, value in asdict(more).items() if value not in (None, ())})


# The efforts are those of "Reasoning models", section "Reasoning effort", and of each model's page. Only 5.1 to 5.4 do
# not reason unless they are asked to, and until then they take temperature and the like.
MODELS: dict[str, Takes] = {
    "gpt-[34]": _NOT_REASONING,
    "ft:gpt-[34]": _NOT_REASONING,
    "chatgpt-": _NOT_REASONING,
    "gpt-[5-9]*-chat": _NOT_REASONING,
    "o[1-9]": _reasons("always", *_EFFORTS),
    "o[1-9]*-pro": _RESPONSES_ONLY,
    "o[1-9]*-deep-research": _also(_reasons("always", "medium"), _RESPONSES_ONLY),
    "gpt-5": _reasons("always", "minimal", *_EFFORTS),
    "gpt-5.1": _reasons("asked", "none", *_EFFORTS),
    "gpt-5.[23]": _reasons("asked", "none", *_EFFORTS, "xhigh"),
    "gpt-5.4": _also(_reasons("asked", "none", *_EFFORTS, "xhigh"), replace(_NO_TOOLS_IN_CHAT, tools_refused="effort")),
    "gpt-5.5": _also(
        _reasons("default", "none", *_EFFORTS, "xhigh"), replace(_NO_TOOLS_IN_CHAT, tools_refused="effort")
    ),
    "gpt-5.[6-9]": _also(_LATEST, replace(_NO_TOOLS_IN_CHAT, tools_refused="tools")),
    "gpt-[6-9]": _also(_LATEST, replace(_NO_TOOLS_IN_CHAT, tools_refused="tools")),
    "gpt-5-pro": _also(_reasons("always", "high"), _RESPONSES_ONLY),
    "gpt-5.[2-9]-pro": _also(_reasons("always", "medium", "high", "xhigh"), _RESPONSES_ONLY),
    "gpt-5*-codex": _also(_reasons("always", *_EFFORTS), _RESPONSES_ONLY),
    "gpt-5.1-codex-max": _also(_reasons("always", *_EFFORTS, "xhigh"), _RESPONSES_ONLY),
    "gpt-5.[2-9]-codex": _also(_reasons("always", *_EFFORTS, "xhigh"), _RESPONSES_ONLY),
    "gpt-[6-9]*-pro": _RESPONSES_ONLY,
    "gpt-[6-9]*-codex": _RESPONSES_ONLY,
    "gpt-[5-9]*-cyber": _RESPONSES_ONLY,
    "gpt-[5-9]*-deep-research": _RESPONSES_ONLY,
    "computer-use": _RESPONSES_ONLY,
}

OPENAI = Provider(
    name="openai",
    base_url="https://api.openai.com",
    paths={"chat": "/chat/completions", "responses": "/responses"},
    operations={
        ("responses", "count_tokens"): "/responses/input_tokens",
        ("responses", "compact"): "/responses/compact",
        **EMBEDDINGS,
    },
    key_variables=("OPENAI_API_KEY",),
    takes=limits(
        {
            "chatgpt-4o": 16_384,
            "gpt-3.5": 4_096,
            "gpt-4-turbo": 4_096,
            "gpt-4.1": 32_768,
            "gpt-4.5": 16_384,
            "gpt-4o": 16_384,
            "gpt-4o-2024-05-13": 4_096,
        },
        MODELS,
    ),
    windows=WINDOWS["openai"],
)
