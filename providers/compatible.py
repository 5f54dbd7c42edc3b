"""The rows of servers whose chat API is compatible with OpenAI's, each with its sources.

A rule that nobody states for a server is that of `BASE`: one system message, no role `developer`, of OpenAI's own
fields only `user`, and no reasoning back.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from plano.capabilities import Refused, Takes, Thinking
from plano.providers import other_apis
from plano.providers.other_apis import Rows

LOW_TO_HIGH = ("low", "medium", "high")
OLD_LIMIT = {"max_completion_tokens": "max_tokens"}
"""The limit of a reply has only its old name on some servers."""

BASE = Takes(dialects=("chat",), developer=False, systems="one", knows=("user",), thoughts="", call_seals="refused")


def compatible(models: Rows | None = None, *, others: Rows = other_apis.NOTHING_KNOWN, **said: Any) -> Rows:
    """The rows of a server: that of all its models, which states `said` beside `BASE`, those of `models`, and those of
    its other APIs."""
    rows = {start: row if row.dialects else replace(row, dialects=("chat",)) for start, row in (models or {}).items()}
    return {"": replace(BASE, **said), **others, **rows}


# "OpenAI compatibility", sections "Thinking" and "Reasoning effort": 2.5 Pro and 3 cannot be told not to think. Fields
# that it does not know are refused by name ("Unknown name \"store\": Cannot find field", google-gemini/cookbook).
GEMINI = compatible(
    {
        "gemini-2.0": Takes(thinking=Thinking("never")),
        "gemini-2.5": Takes(thinking=Thinking("default", ("none", "minimal", *LOW_TO_HIGH))),
        "gemini-2.5-pro": Takes(thinking=Thinking("always", ("minimal", *LOW_TO_HIGH))),
        "gemini-3": Takes(thinking=Thinking("always", ("minimal", *LOW_TO_HIGH)), call_seals="needed"),
        "gemini-3-pro": Takes(thinking=Thinking("always", ("low", "high")), call_seals="needed"),
        "gemini-4": Takes(thinking=Thinking("always", ("minimal", *LOW_TO_HIGH)), call_seals="needed"),
    },
    knows=(),
    thinking=Thinking("default", ("none", "minimal", *LOW_TO_HIGH)),
    call_seals="kept",
)

# "Reasoning": gpt-oss has three efforts, Qwen can be switched off with `none`, Llama does not think. API reference:
# messages take `reasoning`, and `property 'reasoning_content' is unsupported` is a 400.
GROQ = compatible(
    {
        "openai/gpt-oss": Takes(thinking=Thinking("always", LOW_TO_HIGH), thoughts="reasoning"),
        "qwen/": Takes(thinking=Thinking("default", ("none", "default")), thoughts="reasoning"),
        "*llama": Takes(thinking=Thinking("never")),
    },
    knows=("user", "service_tier"),
    thoughts="reasoning",
)

# "Thinking mode": on by default, `low`, `high` and `max` (medium and xhigh mean high), and with tools every earlier
# message of the assistant needs its reasoning back ("The `reasoning_content` in the thinking mode must be passed back
# to the API"). While it thinks, no tool can be forced.
DEEPSEEK = compatible(
    others=other_apis.DEEPSEEK,
    renames=OLD_LIMIT,
    thinking=Thinking("default", ("low", "high", "max"), switch="thinking"),
    thoughts="reasoning_content",
    needs_thoughts=True,
    forces="unthinking",
)

# "Thinking effort" and "Kimi K2 thinking model": K3 always thinks, with three efforts; K2.7 always does; K2.5 and K2.6
# can be switched off. From K2.5 on, sampling is fixed ("invalid temperature: only 1 is allowed for this model"), and
# a missing `reasoning_content` in a message with calls is a 400.
_FIXED = Refused(
    fields=("temperature", "top_p", "presence_penalty", "frequency_penalty"), reason="{model} sets its sampling itself"
)
_KIMI_THINKS = Takes(
    refuses=(_FIXED,), thoughts="reasoning_content", needs_thoughts=True, forces="unthinking", dialects=("chat",)
)
MOONSHOTAI = compatible(
    {
        "kimi-k2": Takes(thinking=Thinking("never")),
        "kimi-k2-thinking": replace(_KIMI_THINKS, thinking=Thinking("always"), refuses=None),
        "kimi-k2.": replace(_KIMI_THINKS, thinking=Thinking("default", switch="thinking")),
        "kimi-k2.7": replace(_KIMI_THINKS, thinking=Thinking("always")),
        "kimi-k3": replace(_KIMI_THINKS, thinking=Thinking("always", ("low", "high", "max"))),
        "moonshot-v1": Takes(thinking=Thinking("never")),
    },
    knows=("user", "prompt_cache_key", "safety_identifier"),
    thoughts="reasoning_content",
)

# "Deep thinking": a switch; the effort came with GLM-5.2, and GLM-5.3 cannot be switched off. "Function calling":
# `tool_choice` only supports `auto`.
ZHIPU = compatible(
    {
        "glm-4": Takes(thinking=Thinking("never")),
        "glm-4.[5-9]": Takes(thinking=Thinking("default", switch="thinking")),
        "glm-5.2": Takes(thinking=Thinking("default", (*LOW_TO_HIGH, "max"), switch="thinking")),
        "glm-5.3": Takes(thinking=Thinking("always", (*LOW_TO_HIGH, "max"))),
    },
    renames=OLD_LIMIT,
    knows=(),
    thinking=Thinking("default", switch="thinking"),
    thoughts="reasoning_content",
    forces="never",
)

# "Deep thinking": `enable_thinking` and `thinking_budget`; "Function calling": in thinking mode `tool_choice` may not
# force a tool.
QWEN = compatible(
    {
        "qwen3-coder": Takes(thinking=Thinking("never")),
        "qwen3-*-thinking": Takes(thinking=Thinking("always", budget="thinking_budget")),
        "qwen-max": Takes(thinking=Thinking("never")),
        "qwq": Takes(thinking=Thinking("always")),
    },
    others=other_apis.QWEN,
    renames=OLD_LIMIT,
    knows=(),
    thinking=Thinking("default", switch="enable_thinking", budget="thinking_budget"),
    thoughts="reasoning_content",
    forces="unthinking",
)

# "Thinking": a switch as DeepSeek has it; reasoning goes back with calls (Xiaomi MiMo API, "Multi-turn tool calls").
XIAOMI = compatible(
    others=other_apis.XIAOMI, thinking=Thinking("default", switch="thinking"), thoughts="reasoning_content", knows=()
)

# "Text chat (OpenAI compatible)": without `reasoning_split` the thinking stands in the answer between tags; with it, it
# comes and goes back in `reasoning_details`.
MINIMAX = compatible(
    others=other_apis.MINIMAX,
    thinking=Thinking("always"),
    thoughts="reasoning_details",
    knows=(),
    adds={"reasoning_split": True},
)

# "Reasoning": three efforts and `none`; "Migrate from OpenAI" lists the fields that are refused.
CEREBRAS = compatible(
    {"gpt-oss": Takes(thinking=Thinking("always", LOW_TO_HIGH))},
    knows=("user", "service_tier"),
    thinking=Thinking("default", ("none", *LOW_TO_HIGH)),
)

# "Adjustable reasoning": two efforts; magistral always thinks; the others do not. The API refuses every field that its
# reference does not name, and its reference names neither `user` nor `store`. Reasoning is a part of the content.
MISTRAL = compatible(
    {
        "magistral": Takes(thinking=Thinking("always")),
        "codestral": Takes(thinking=Thinking("never")),
        "devstral": Takes(thinking=Thinking("never")),
        "ministral": Takes(thinking=Thinking("never")),
        "open-": Takes(thinking=Thinking("never")),
        "pixtral": Takes(thinking=Thinking("never")),
    },
    renames={"max_completion_tokens": "max_tokens", "seed": "random_seed"},
    knows=("metadata", "prompt_cache_key", "service_tier"),
    thinking=Thinking("asked", ("none", "high")),
    thoughts="parts",
)

# "Reasoning tokens": every effort of every vendor is taken, and mapped for the model; reasoning goes back in
# `reasoning_details`, unchanged.
OPENROUTER: Rows = {
    "": Takes(
        dialects=("chat",),
        systems="one",
        thinking=Thinking("default", ("none", "minimal", *LOW_TO_HIGH, "xhigh", "max")),
        thoughts="reasoning_details",
    ),
    **other_apis.claude("anthropic/"),
}

# "OpenAI-compatible API", section "Reasoning": as OpenRouter.
VERCEL: Rows = OPENROUTER

# "Reasoning overview": an effort for gpt-oss, a switch for the others.
TOGETHER = compatible(
    {"openai/gpt-oss": Takes(thinking=Thinking("always", LOW_TO_HIGH))},
    renames=OLD_LIMIT,
    thinking=Thinking("default", switch="reasoning"),
    thoughts="reasoning",
)

# "Reasoning": `reasoning_effort` with `none`, and `reasoning_content` in the history.
FIREWORKS = compatible(
    others=other_apis.FIREWORKS,
    knows=("user", "metadata", "prompt_cache_key"),
    thinking=Thinking("default", ("none", *LOW_TO_HIGH)),
    thoughts="reasoning_content",
)

# Chat template arguments differ by model; nothing is known of all of them.
NVIDIA = compatible(renames=OLD_LIMIT)

# "Reasoning outputs": `reasoning`, which older versions called `reasoning_content`; templates of the models decide the
# rest.
VLLM = compatible(thoughts="reasoning")

# "Separate reasoning": the parsers of SGLang give `reasoning_content`, and templates take it back.
SGLANG = compatible(thoughts="reasoning_content")

# "Reasoning models": `reasoning`, as vLLM has it.
STEPFUN = compatible(thoughts="reasoning")

# "Deep thinking" (Ark): a switch, and `reasoning_content` back with calls.
VOLCENGINE = compatible(
    thinking=Thinking("default", switch="thinking"), thoughts="reasoning_content", knows=("user", "service_tier")
)

# "Chat completions": `enable_thinking` and `thinking_budget`, as Qwen has them; Novita's "Reasoning" is the same.
SILICONFLOW = compatible(
    renames=OLD_LIMIT,
    thinking=Thinking("default", switch="enable_thinking", budget="thinking_budget"),
    thoughts="reasoning_content",
)

# "Reasoning models": `reasoning_effort` with `none`.
DEEPINFRA = compatible(thinking=Thinking("default", ("none", *LOW_TO_HIGH)), thoughts="reasoning_content")

# "Reasoning": three efforts.
NEBIUS = compatible(thinking=Thinking("default", LOW_TO_HIGH))

# "Compatibility API": `reasoning_effort` is `none` or `high`.
COHERE = compatible(renames=OLD_LIMIT, thinking=Thinking("default", ("none", "high")))

# "OpenAI compatibility": `reasoning_effort` with `none`; messages have `reasoning`.
OLLAMA = compatible(renames=OLD_LIMIT, thinking=Thinking("default", ("none", *LOW_TO_HIGH)), thoughts="reasoning")

PERPLEXITY = compatible(others=other_apis.PERPLEXITY, renames=OLD_LIMIT)

EARLY = compatible(renames=OLD_LIMIT)
"""Servers that know the limit only by its old name, and of which nothing else is known."""

PLAIN = compatible()
"""Servers of which nothing else is known."""
