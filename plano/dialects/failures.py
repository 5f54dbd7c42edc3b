"""Classes of upstreams' failures, read from errors: by code and status, and by wording only where `_ROWS` says so.

Strategy: the codes of all rows are tried first, in the order of the rows, and then the texts. A vendor's number for an
empty account thus counts although its `type` speaks of a rate limit. If no row fits, the HTTP status decides.

Callers can have words of their own repeated in an upstream's message. Texts that speak of the gateway's account are
therefore looked for at the beginning of the message alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from plano.errors import (
    PlanoError,
    UpstreamFailure,
    UpstreamProtocolError,
    UpstreamRefusedKey,
    UpstreamTimeout,
    UpstreamUnavailable,
)


class _Row(NamedTuple):
    """The words of one class.

    Attributes:
        codes: values of `code`, `type` and their like, in lower case.
        texts: patterns of messages.
        least, most: the statuses at which the texts count.
    """

    failure: UpstreamFailure
    codes: frozenset[str]
    texts: re.Pattern[str] | None = None
    least: int = 400
    most: int = 599


def _codes(words: str) -> frozenset[str]:
    return frozenset(words.split())


def _texts(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE)


_ROWS = (
    # OpenRouter, "Errors and Debugging": a 402 with a wait, because too much is in flight just now.
    _Row("rate_limit", _codes("openrouter_in_flight_budget")),
    _Row(
        "quota",
        _codes(
            "insufficient_quota billing_hard_limit_reached billing_not_active"  # OpenAI, "Error codes"
            " billing_error"  # Anthropic, "Errors"
            " quota_exceeded"  # GitHub Copilot, with a 402
            " exceeded_current_quota_error"  # Moonshot, with a 403 or 429 (MoonshotAI/Kimi-K2#5)
            " arrearage allocationquota.freetieronly"  # DashScope, "Error messages"
            " 1113 1308 1309 1310"  # Zhipu: empty account, used up plan (zai-org/GLM-5#148; "Error codes")
            " 30001 30011"  # SiliconFlow (FoundationAgents/OpenManus#438)
            " 402"  # OpenRouter, inside a stream
        ),
        _texts(
            r"\Ayour credit balance is too low",  # Anthropic, a 400 (BerriAI/litellm#16092)
            r"\Ayou have reached your specified api usage limits",  # Anthropic, a 400
            r"\Ainsufficient (?:balance|credits)",  # DeepSeek, OpenRouter
            r"\Ayour team \S+ has either used all available credits",  # xAI, 403 or 429 (continuedev/continue#10373)
            r"\Ayou have run out of credits",  # xAI (luxus/pi-xai#10)
            r"\Ayour newly created team(?:s)? (?:doesn't|does not) have any credits",  # xAI
            r"\Aaccount \S+ is suspended",  # Fireworks, a 412
            r"\Ayou have used up your daily free allocation",  # Cloudflare
            r"\A(?:\[1113\]|余额不足|您的账户已欠费)",  # Zhipu
        ),
    ),
    # Gemini's `quotaId`, on a line of its own (googleapis/python-genai#2044). The message is the same by the minute.
    _Row("quota", frozenset(), _texts(r"\n\S*PerDay"), least=429, most=429),
    _Row(
        "context_window",
        _codes(
            "context_length_exceeded"  # OpenAI, Groq, Cerebras
            " model_context_window_exceeded"
            " exceed_context_size_error"  # llama.cpp (ggml-org/llama.cpp#15780)
            " model_max_prompt_tokens_exceeded"  # GitHub Copilot
            " 1261"  # Zhipu
        ),
        _texts(
            # OpenAI, DeepSeek, Mistral, vLLM, Fireworks, OpenRouter (OpenHands/OpenHands#8149)
            r"maximum context length",
            r"exceeds? (?:the|this model's|this model) context window",  # OpenAI's Responses, llama-cpp-python
            r"exceed context window of \d+",  # llama-cpp-python (abetlen/llama-cpp-python#416)
            r"\A(?:the )?prompt is too long",  # Anthropic, Fireworks
            r"input length and `?max_tokens`? exceed context limit",  # Anthropic (continuedev/continue#6080)
            r"input token count.{0,40}exceeds the maximum",  # Gemini (google-gemini/gemini-cli#6678)
            r"input token count is \d+ but model only supports up to",  # Vertex
            r"longer than the model's context length",  # SGLang (QwenLM/Qwen3#1321)
            r"longer than the maximum model length",  # vLLM
            r"exceeds the available context size",  # llama.cpp
            r"input length exceeds the context length|prompt too long; exceeded max context",  # Ollama
            r"input is too long for requested model",  # Bedrock (aws-samples/bedrock-chat#95)
            r"maximum prompt length is \d+",  # xAI
            r"reduce the length of the messages",  # Groq
            r"`?inputs?`? tokens? \+ `?max_new_tokens`? must be",  # Together, Text Generation Inference
            r"\Atoo many tokens: ",  # Cohere (cohere-ai/sandbox-topically#4)
            r"range of input length should be",  # DashScope (QwenLM/qwen-code#98)
            r"exceeded model token limit",  # Moonshot
            r"context window exceeds limit",  # MiniMax
            r"prompt token count of \d+ exceeds the limit",  # GitHub Copilot
            r"greater than the context length",  # LM Studio (lmstudio-ai/lmstudio-bug-tracker#546)
            r"loaded with context length of only",  # LM Studio, older
            r"exceeded this model context window limit",  # Cloudflare
            r"cannot exceed the total tokens limit",  # watsonx
        ),
    ),
    _Row(
        "content_filter",
        _codes(
            "content_filter content_policy_violation responsibleaipolicyviolation"  # Azure (openai/openai-python#331)
            " moderation_blocked image_content_policy_violation bio_policy misalignment_policy_violation"  # OpenAI
            " data_inspection_failed datainspectionfailed"  # DashScope
            " 1301"  # Zhipu
            " prohibited_content"  # Gemini (BlockedReason)
        ),
        _texts(
            r"\Ainvalid prompt: your prompt was flagged",  # OpenAI, a 400 with `invalid_prompt`
            r"content management policy",  # Azure
            r"output blocked by content filtering policy",  # Anthropic
            r"\Acontent exists risk",  # DeepSeek
            r"rejected because it was considered high risk",  # Moonshot
            r"requires moderation on .{1,200}\. your input was flagged",  # OpenRouter, a 403
        ),
    ),
    _Row(
        "credential",
        _codes(
            "invalid_api_key invalid_authentication_error incorrect_api_key_error authentication_error"
            " api_key_invalid"  # Gemini, the `reason` of a 400
            " 401"  # OpenRouter, inside a stream
        ),
    ),
    _Row(
        "invalid",
        _codes("previous_response_not_found"),
        # OpenAI: things that a request refers to, and not its model
        _texts(
            r"(?:previous response|response|item|conversation|prompt|container|file|vector store)s? with id\b",
            r"\Ano such (?:file|prompt|container|vector store)",
        ),
        most=404,
    ),
    _Row(
        "no_model",
        _codes(
            "model_not_found deploymentnotfound"  # OpenAI, also a 403 for a project's key; Azure
            " invalid_model 1500"  # Mistral, a 400
            " model_not_available model_decommissioned"  # Together; Groq, a 400
            " 1211"  # Zhipu
        ),
        _texts(
            r"\Amodel not exist",  # DeepSeek, a 400
            r"\A\S{1,200} is not a valid model id",  # OpenRouter, a 400
            r"\Athe provided model identifier is invalid",  # Bedrock, a 400
        ),
        most=404,
    ),
    _Row(
        "overloaded",
        _codes(
            "overloaded_error overloaded"  # Anthropic, "Errors"
            " server_is_overloaded slow_down"  # OpenAI (openai/openai-python#3803)
            " engine_overloaded_error engine_overloaded"  # Moonshot, with a 429 (MoonshotAI/kimi-cli#2571)
            " service_tier_capacity_exceeded 3505"  # Mistral, with a 429
            " queue_exceeded"  # Cerebras, with a 429
            " capacity_exceeded"  # Groq, with a 498
            " unavailable"  # Gemini (google.rpc.Code)
            " 1305 1312"  # Zhipu
            " 529"
        ),
        _texts(
            r"overloaded",  # OpenAI, Gemini, Together, Fireworks
            r"over capacity|at capacity",  # Groq, Hugging Face
            r"experiencing high (?:demand|traffic|load)",  # Gemini, Cerebras
        ),
        least=429,
    ),
    _Row(
        "rate_limit",
        _codes(
            "rate_limit_exceeded rate_limit_error tokens requests"  # OpenAI; Groq also with a 413
            " throttlingexception throttling limit_requests"  # Bedrock, DashScope
            " 1302 1303"  # Zhipu
        ),
    ),
)

_OF_STATUS: dict[int, UpstreamFailure] = {
    401: "credential",
    402: "quota",
    403: "credential",
    404: "no_model",
    408: "timeout",
    429: "rate_limit",
    498: "overloaded",  # Groq
    529: "overloaded",
}

_OF_TYPE: tuple[tuple[type[PlanoError], UpstreamFailure], ...] = (
    (UpstreamRefusedKey, "credential"),
    (UpstreamUnavailable, "connect"),
    (UpstreamTimeout, "timeout"),
    (UpstreamProtocolError, "protocol"),
)


def failure_of(error: PlanoError) -> UpstreamFailure:
    """The class of an upstream's failure before any output: by the words that were found when the error was read, by
    the type of the error, or by its status."""
    said: UpstreamFailure | None = getattr(error, "failure", None)
    if said is not None:
        return said
    for kind, failure in _OF_TYPE:
        if isinstance(error, kind):
            return failure
    return _OF_STATUS.get(error.status, "invalid" if error.status < 500 else "server")


def failure_in(found: Any, status: int, message: str | None, param: str | None) -> UpstreamFailure | None:
    """The class that the words of a parsed error tell, or None if its status decides."""
    codes = {str(word).lower() for layer in _layers(found) for word in map(layer.get, _CODES) if _is_word(word)}
    for row in _ROWS:
        if not codes.isdisjoint(row.codes):
            return row.failure
    text = "\n".join([(message or "")[:_LONGEST_TEXT], *_quoted(found)])
    for row in _ROWS:
        if row.texts is not None and row.least <= status <= row.most and row.texts.search(text):
            return row.failure
    return "invalid" if status == 404 and param not in (None, "", "model") else None


def delay_in(found: Any, message: str | None) -> float | None:
    """The seconds after which an error says that the request may be repeated; None if it does not."""
    for layer in _layers(found):
        delay = layer.get("retryDelay")  # Gemini (google.rpc.RetryInfo)
        if isinstance(delay, str) and (seconds := _seconds(delay)) is not None:
            return seconds
    said = None if message is None else _TRY_AGAIN.search(message[:_LONGEST_TEXT])
    return None if said is None else _seconds(said[1])


_CODES = ("code", "type", "status", "reason", "error_code", "errorCode", "__type", "limit_source", "block_reason")

_INSIDE = ("error", "errors", "details", "innererror", "metadata", "violations", "detail")
"""The fields of an error that hold more about it. A list in `detail` is FastAPI's and repeats the request."""

_MOST_LAYERS = 50
_LONGEST_TEXT = 4096


def _layers(found: Any) -> list[dict[str, Any]]:
    """The objects that describe an error, the outermost first."""
    layers: list[dict[str, Any]] = []
    waiting = [found]
    while waiting and len(layers) < _MOST_LAYERS:
        each = waiting.pop(0)
        if isinstance(each, list):
            waiting += each[:_MOST_LAYERS]
        elif isinstance(each, dict):
            layers.append(each)
            within = {name: each[name] for name in _INSIDE if name in each}
            if isinstance(within.get("detail"), list):
                del within["detail"]
            waiting += within.values()
    return layers


def _is_word(value: Any) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool)


def _quoted(found: Any) -> Iterator[str]:
    """Texts beside the message: the error of a provider behind the upstream (OpenRouter), and the ids of quotas."""
    for layer in _layers(found):
        for name in ("raw", "quotaId"):
            if isinstance(text := layer.get(name), str):
                yield text[:_LONGEST_TEXT]


_TRY_AGAIN = re.compile(r"\b(?:try again|retry)(?: after| in) ((?:\d+(?:\.\d+)?\s?(?:ms|[hms]|sec\w*|min\w*)?)+)", re.I)
"""OpenAI and Groq: "Please try again in 7m12.5s", Azure: "Please retry after 8 seconds", Gemini: "Please retry in
23.1s"."""

_PART = re.compile(r"(\d+(?:\.\d+)?)\s?(ms|[hms])?", re.I)
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def _seconds(text: str) -> float | None:
    """The seconds of a duration such as `1h2m3.5s`, `857ms` or `20`."""
    parts = _PART.findall(text[:40])
    return sum(float(number) * _UNITS[unit.lower() or "s"] for number, unit in parts) if parts else None
