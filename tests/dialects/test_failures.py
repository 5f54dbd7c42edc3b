"""The classes of real error bodies of many vendors, and the waits that they ask for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from plano.dialects import CODECS
from plano.dialects.failures import failure_of
from plano.errors import (
    PlanoError,
    UpstreamFailure,
    UpstreamProtocolError,
    UpstreamRefusedKey,
    UpstreamStatus,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from plano.frames.sse import Frame
from plano.types import CLIENT_DIALECTS as DIALECTS
from plano.types import Dialect


def openai(
    message: str, type_: str | None = "invalid_request_error", code: Any = None, param: str | None = None
) -> Any:
    return {"error": {"message": message, "type": type_, "param": param, "code": code}}


def anthropic(message: str, type_: str = "invalid_request_error") -> Any:
    return {"type": "error", "error": {"type": type_, "message": message}, "request_id": "req_1"}


def google(code: int, message: str, status: str, *details: Any) -> Any:
    return {"error": {"code": code, "message": message, "status": status, "details": list(details)}}


def older_vllm(message: str, code: int = 400) -> Any:
    return {"object": "error", "message": message, "type": "BadRequestError", "param": None, "code": code}


def quota_failure(*ids: str) -> Any:
    return {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": id} for id in ids]}


EXHAUSTED = "You exceeded your current quota, please check your plan and billing details."
RETRY_INFO = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "36s"}

BODIES: list[tuple[UpstreamFailure, int, Any]] = [
    # --- context_window ---
    # OpenAI (mckaywrigley/chatbot-ui#102)
    (
        "context_window",
        400,
        openai(
            "This model's maximum context length is 4097 tokens. However, you requested 4120 tokens.",
            code="context_length_exceeded",
            param="messages",
        ),
    ),
    # OpenAI, Responses
    (
        "context_window",
        400,
        openai(
            "Your input exceeds the context window of this model. Please adjust your input and try again.",
            code="context_length_exceeded",
            param="input",
        ),
    ),
    # Anthropic (anthropics/claude-code#11281), and with an output limit (continuedev/continue#6080)
    ("context_window", 400, anthropic("prompt is too long: 201130 tokens > 200000 maximum")),
    (
        "context_window",
        400,
        anthropic("input length and `max_tokens` exceed context limit: 199759 + 8192 > 200000, decrease input length"),
    ),
    # Gemini (google-gemini/gemini-cli#6678), Google's compatible side with a list around it, Vertex
    (
        "context_window",
        400,
        google(400, "The input token count (1200293) exceeds the maximum number of tokens allowed (1048576).", "X"),
    ),
    (
        "context_window",
        400,
        [
            google(
                400,
                "The input token count exceeds the maximum number of tokens allowed (1048576).",
                "INVALID_ARGUMENT",
            )
        ],
    ),
    (
        "context_window",
        400,
        google(
            400,
            "Unable to submit request because the input token count is 40000 but model only supports up to 32768.",
            "INVALID_ARGUMENT",
        ),
    ),
    # Mistral
    (
        "context_window",
        400,
        {
            "object": "error",
            "message": "Prompt contains 65673 tokens and 0 draft tokens, too large for model with 32768 maximum "
            "context length",
            "type": "invalid_request_error",
            "code": 3051,
        },
    ),
    # vLLM (vllm-project/vllm#20409; Gabesarch/grounded-rl#16)
    (
        "context_window",
        400,
        older_vllm("This model's maximum context length is 16384 tokens. However, you requested 19591 tokens."),
    ),
    (
        "context_window",
        400,
        older_vllm("The decoder prompt (length 10127) is longer than the maximum model length of 8192."),
    ),
    # SGLang (QwenLM/Qwen3#1321)
    (
        "context_window",
        400,
        older_vllm("The input (61709 tokens) is longer than the model's context length (40960 tokens)."),
    ),
    # llama.cpp (oobabooga/textgen#7257), also with a 500 (ggml-org/llama.cpp#15780), and llama-cpp-python
    (
        "context_window",
        400,
        {
            "error": {
                "code": 400,
                "message": "the request exceeds the available context size. try increasing the context size",
                "type": "exceed_context_size_error",
                "n_prompt_tokens": 14429,
                "n_ctx": 8192,
            }
        },
    ),
    (
        "context_window",
        500,
        {"error": {"code": 500, "message": "request too long", "type": "exceed_context_size_error"}},
    ),
    ("context_window", 500, openai("Requested tokens (2285) exceed context window of 2048", "internal_server_error")),
    # Ollama (nano-step/nano-brain#208)
    ("context_window", 400, {"error": "the input length exceeds the context length"}),
    ("context_window", 400, openai("prompt too long; exceeded max context length by 137 tokens", "api_error")),
    # Bedrock (aws-samples/bedrock-chat#95)
    ("context_window", 400, {"message": "Input is too long for requested model."}),
    ("context_window", 400, {"__type": "ValidationException", "message": "Input is too long for requested model."}),
    # Groq
    (
        "context_window",
        400,
        openai("Please reduce the length of the messages or completion.", code="context_length_exceeded"),
    ),
    # DeepSeek (evalstate/fast-agent#621)
    (
        "context_window",
        400,
        openai(
            "This model's maximum context length is 131072 tokens. However, you requested 131134 tokens.",
            code="invalid_request_error",
        ),
    ),
    # xAI
    (
        "context_window",
        400,
        {
            "code": "Client specified an invalid argument",
            "error": "This model's maximum prompt length is 131072 but the request contains 537812 tokens.",
        },
    ),
    # Together, and Text Generation Inference
    (
        "context_window",
        422,
        openai("Input validation error: `inputs` tokens + `max_new_tokens` must be <= 8193.", "invalid_request_error"),
    ),
    # Fireworks (can1357/oh-my-pi#1618)
    (
        "context_window",
        400,
        openai("The prompt is too long: 267657, model maximum context length: 262143", code="invalid_request_error"),
    ),
    # Cohere (cohere-ai/sandbox-topically#4)
    (
        "context_window",
        400,
        {"message": "too many tokens: total number of tokens (prompt and prediction) cannot exceed 2048"},
    ),
    # OpenRouter (OpenHands/OpenHands#8149), and with the error of the provider behind it (truefoundry/models#873)
    (
        "context_window",
        400,
        {
            "error": {
                "message": "This endpoint's maximum context length is 40960 tokens.",
                "code": 400,
            }
        },
    ),
    (
        "context_window",
        400,
        {
            "error": {
                "message": "Provider returned error",
                "code": 400,
                "metadata": {
                    "raw": json.dumps(openai("This model's maximum context length is 8192 tokens. However, …")),
                    "provider_name": "Together",
                },
            }
        },
    ),
    # DashScope (agentscope-ai/QwenPaw#6255)
    (
        "context_window",
        400,
        {
            **openai(
                "<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 983616]",
                code="invalid_parameter_error",
            ),
            "request_id": "381a",
        },
    ),
    # Moonshot, MiniMax, GitHub Copilot, LM Studio (lmstudio-ai/lmstudio-bug-tracker#546)
    (
        "context_window",
        400,
        openai("Invalid request: Your request exceeded model token limit: 262144 (requested: 270000)"),
    ),
    ("context_window", 400, openai("invalid params, context window exceeds limit (2013)", "bad_request_error", 2013)),
    (
        "context_window",
        400,
        openai("prompt token count of 139012 exceeds the limit of 128000", None, "model_max_prompt_tokens_exceeded"),
    ),
    (
        "context_window",
        400,
        {
            "error": "Trying to keep the first 111490 tokens when context the overflows. However, the model is loaded "
            "with context length of only 32768 tokens, which is not enough."
        },
    ),
    # Zhipu
    ("context_window", 400, {"error": {"code": "1261", "message": "Prompt 超长"}}),
    # --- quota ---
    ("quota", 429, openai(EXHAUSTED, "insufficient_quota", "insufficient_quota")),
    ("quota", 429, openai("Billing hard limit has been reached", "insufficient_quota", "billing_hard_limit_reached")),
    # Anthropic (anthropics/claude-code#66314; BerriAI/litellm#16092)
    (
        "quota",
        400,
        anthropic("Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing."),
    ),
    (
        "quota",
        400,
        anthropic("You have reached your specified API usage limits. You will regain access on 2026-01-01 at 00:00."),
    ),
    ("quota", 402, anthropic("Your organization's billing is on hold.", "billing_error")),
    # DeepSeek, "Error codes"; OpenRouter, "Errors and Debugging"; Together; Hugging Face
    ("quota", 402, openai("Insufficient Balance", "unknown_error", "invalid_request_error")),
    ("quota", 402, {"error": {"message": "Insufficient credits. Add more using https://x", "code": 402}}),
    ("quota", 402, {"error": {"message": "This request requires more credits, or fewer max_tokens.", "code": 402}}),
    ("quota", 402, openai("Credit limit exceeded, please navigate to billing.", "credit_limit", None)),
    ("quota", 402, {"error": "You have exceeded your monthly included credits for Inference Providers."}),
    # xAI (continuedev/continue#10373; luxus/pi-xai#10)
    (
        "quota",
        429,
        {
            "code": "Some resource has been exhausted",
            "error": "Your team 16f2151a-40f4 has either used all available credits or reached its monthly limit.",
        },
    ),
    ("quota", 403, {"code": "permission-denied", "error": "You have run out of credits or need a Grok subscription."}),
    # Gemini (googleapis/python-genai#2044): by the day
    (
        "quota",
        429,
        google(
            429,
            EXHAUSTED,
            "RESOURCE_EXHAUSTED",
            quota_failure(
                "GenerateRequestsPerMinutePerProjectPerModel-FreeTier",
                "GenerateRequestsPerDayPerProjectPerModel-FreeTier",
            ),
            RETRY_INFO,
        ),
    ),
    # Moonshot (MoonshotAI/Kimi-K2#5)
    (
        "quota",
        403,
        {
            "error": {
                "message": "Your account is not active, organization exceeded current quota, please check your plan",
                "type": "exceeded_current_quota_error",
            }
        },
    ),
    # Zhipu (zai-org/GLM-5#148), also as Anthropic's API says it (zai-org/feedback#789)
    ("quota", 429, {"error": {"code": "1113", "message": "余额不足或无可用资源包,请充值。"}}),
    (
        "quota",
        429,
        {"type": "error", "error": {"type": "rate_limit_error", "code": "1113", "message": "[1113][Insufficient]"}},
    ),
    # DashScope, SiliconFlow (FoundationAgents/OpenManus#438), Fireworks, Cloudflare
    (
        "quota",
        400,
        openai("Access denied, please make sure your account is in good standing.", "Arrearage", "Arrearage"),
    ),
    ("quota", 403, {"code": 30011, "message": "Your paid balance is insufficient.", "data": None}),
    ("quota", 412, {"error": "Account acme is suspended, possibly due to reaching the monthly spending limit."}),
    (
        "quota",
        429,
        {"errors": [{"code": 4006, "message": "you have used up your daily free allocation of 10,000 neurons"}]},
    ),
    # --- rate_limit ---
    (
        "rate_limit",
        429,
        openai("Rate limit reached for gpt-4o on tokens per min (TPM).", "tokens", "rate_limit_exceeded"),
    ),
    (
        "rate_limit",
        429,
        openai("Request too large for gpt-4o on tokens per min (TPM): Limit 30000, Requested 342389.", "tokens"),
    ),
    ("rate_limit", 429, anthropic("This request would exceed your organization's rate limit.", "rate_limit_error")),
    # Groq (HunorLaczko/ha-groq-cloud-api#27)
    (
        "rate_limit",
        413,
        openai(
            "Request too large for model `llama-3.1-8b-instant` on tokens per minute (TPM): Limit 6000, Requested "
            "12328, please reduce your message size and try again.",
            "tokens",
            "rate_limit_exceeded",
        ),
    ),
    # Gemini: by the minute, with the same message (diegosouzapw/OmniRoute#9504)
    (
        "rate_limit",
        429,
        google(
            429,
            EXHAUSTED,
            "RESOURCE_EXHAUSTED",
            quota_failure("GenerateRequestsPerMinutePerProjectPerModel-FreeTier"),
            RETRY_INFO,
        ),
    ),
    ("rate_limit", 429, google(429, "Resource exhausted. Please try again later.", "RESOURCE_EXHAUSTED")),
    # OpenRouter: a 402 that passes by itself
    (
        "rate_limit",
        402,
        {
            "error": {
                "code": 402,
                "message": "Too much is in flight.",
                "metadata": {"limit_source": "openrouter_in_flight_budget"},
            }
        },
    ),
    ("rate_limit", 429, {"message": "Too many requests, please wait before trying again."}),
    ("rate_limit", 429, b"<html><title>429 Too Many Requests</title></html>"),
    ("rate_limit", 429, b""),
    # --- overloaded ---
    ("overloaded", 529, anthropic("Overloaded", "overloaded_error")),
    ("overloaded", 500, anthropic("Overloaded", "overloaded_error")),
    ("overloaded", 529, b""),
    ("overloaded", 503, google(503, "The model is overloaded. Please try again later.", "UNAVAILABLE")),
    (
        "overloaded",
        503,
        google(503, "This model is currently experiencing high demand. Please try again later.", "UNAVAILABLE"),
    ),
    ("overloaded", 503, openai("That model is currently overloaded with other requests.", "server_error")),
    ("overloaded", 503, openai("The engine is currently overloaded, please try again later", "server_error")),
    ("overloaded", 503, openai("Our servers are busy.", "service_unavailable_error", "server_is_overloaded")),
    # Moonshot (MoonshotAI/kimi-cli#2571), Mistral, Cerebras: with a 429
    (
        "overloaded",
        429,
        {"error": {"message": "The engine is currently overloaded", "type": "engine_overloaded_error"}},
    ),
    (
        "overloaded",
        429,
        {
            "object": "error",
            "message": "Service tier capacity exceeded for this model.",
            "type": "service_tier_capacity_exceeded",
            "code": "3505",
        },
    ),
    (
        "overloaded",
        429,
        {
            "message": "We're experiencing high traffic right now!",
            "type": "too_many_requests_error",
            "code": "queue_exceeded",
        },
    ),
    # Groq
    ("overloaded", 503, openai("llama-3.3-70b is currently over capacity. Please try again.", "internal_server_error")),
    ("overloaded", 498, openai("Flex tier capacity exceeded.", "capacity_exceeded", "capacity_exceeded")),
    # --- server ---
    ("server", 500, openai("The server had an error while processing your request.", "server_error")),
    ("server", 500, anthropic("Internal server error", "api_error")),
    ("server", 502, b"<html><h1>502 Bad Gateway</h1></html>"),
    ("server", 503, b"upstream connect error or disconnect/reset before headers"),
    ("server", 504, b""),
    ("server", 520, b"<html><title>Web server is returning an unknown error</title></html>"),
    ("server", 500, google(500, "An internal error has occurred.", "INTERNAL")),
    # --- credential ---
    ("credential", 401, openai("Incorrect API key provided: ***.", code="invalid_api_key")),
    ("credential", 401, anthropic("invalid x-api-key", "authentication_error")),
    ("credential", 403, anthropic("Your API key may not use this.", "permission_error")),
    (
        "credential",
        400,
        google(
            400,
            "API key not valid. Please pass a valid API key.",
            "INVALID_ARGUMENT",
            {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"},
        ),
    ),
    ("credential", 401, b""),
    # --- no_model ---
    (
        "no_model",
        404,
        openai("The model `gpt-9` does not exist or you do not have access to it.", code="model_not_found"),
    ),
    ("no_model", 403, openai("Project `p` does not have access to model `gpt-5`", code="model_not_found")),
    ("no_model", 404, anthropic("model: claude-9", "not_found_error")),
    ("no_model", 404, {"error": {"code": "DeploymentNotFound", "message": "The API deployment does not exist."}}),
    ("no_model", 404, google(404, "models/gemini-9 is not found for API version v1beta", "NOT_FOUND")),
    ("no_model", 404, openai("model 'llama9' not found, try pulling it first", "api_error")),
    ("no_model", 404, {"detail": "Not Found"}),
    ("no_model", 400, {"object": "error", "message": "Invalid model: m", "type": "invalid_model", "code": "1500"}),
    ("no_model", 400, openai("The model `m` has been decommissioned.", code="model_decommissioned")),
    ("no_model", 400, openai("Model Not Exist", code="invalid_request_error")),
    ("no_model", 400, {"error": {"message": "acme/m is not a valid model ID", "code": 400}}),
    ("no_model", 400, {"message": "The provided model identifier is invalid."}),
    # --- content_filter ---
    # Azure (vibrantlabsai/ragas#649)
    (
        "content_filter",
        400,
        {
            "error": {
                "message": "The response was filtered due to the prompt triggering Azure OpenAI's content management "
                "policy.",
                "type": None,
                "param": "prompt",
                "code": "content_filter",
                "status": 400,
                "innererror": {"code": "ResponsibleAIPolicyViolation", "content_filter_result": {}},
            }
        },
    ),
    # The same through a gateway that puts its own number in `code` (BerriAI/litellm#16231)
    ("content_filter", 400, openai("The prompt triggered Azure OpenAI's content management policy.", None, "400")),
    (
        "content_filter",
        400,
        openai(
            "Invalid prompt: your prompt was flagged as potentially violating our usage policy.", code="invalid_prompt"
        ),
    ),
    ("content_filter", 400, openai("Your request was rejected.", "image_generation_user_error", "moderation_blocked")),
    ("content_filter", 400, anthropic("Output blocked by content filtering policy")),
    ("content_filter", 400, openai("Content Exists Risk", code="invalid_request_error")),
    (
        "content_filter",
        400,
        openai("The request was rejected because it was considered high risk", "content_filter"),
    ),
    ("content_filter", 400, openai("Input data may contain inappropriate content.", None, "data_inspection_failed")),
    ("content_filter", 400, {"error": {"code": "1301", "message": "系统检测到输入或生成内容可能包含不安全或敏感内容"}}),
    # OpenRouter, "Errors and Debugging"
    (
        "content_filter",
        403,
        {
            "error": {
                "code": 403,
                "message": 'acme/m requires moderation on Acme. Your input was flagged for "violence".',
                "metadata": {"reasons": ["violence"], "flagged_input": "…", "provider_name": "Acme"},
            }
        },
    ),
    # --- timeout ---
    ("timeout", 408, {"error": {"code": 408, "message": "Your request timed out"}}),
    # --- invalid ---
    ("invalid", 400, openai("Unsupported value: 'temperature' does not support 0.", param="temperature")),
    (
        "invalid",
        400,
        openai("max_tokens is too large: 100000. This model supports at most 16384 completion tokens."),
    ),
    ("invalid", 400, openai("Previous response with id 'r' not found.", code="previous_response_not_found")),
    ("invalid", 404, openai("Item with id 'rs_1' not found. Items are not persisted when `store` is false.")),
    ("invalid", 404, openai("Response with id 'resp_1' not found.", param="response_id")),
    ("invalid", 404, openai("Not found.", param="input")),
    ("invalid", 404, openai("No such File object: file-1")),
    ("invalid", 413, anthropic("Request exceeds the maximum size", "request_too_large")),
    ("invalid", 409, b""),
    ("invalid", 422, {"detail": [{"loc": ["body", "n"], "msg": "field required", "type": "missing"}]}),
    ("invalid", 400, b"<html><title>400</title></html>"),
]


def written(body: Any) -> bytes:
    return body if isinstance(body, bytes) else json.dumps(body).encode()


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(("failure", "status", "body"), BODIES)
def test_the_class_of_an_error_response(failure: UpstreamFailure, status: int, body: Any, dialect: Dialect) -> None:
    assert failure_of(CODECS[dialect].read_error(status, written(body))) == failure


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_conversation_that_is_too_long_has_the_code_that_clients_look_for(dialect: Dialect) -> None:
    """Also where the server's own code is no more than the status."""
    for code in (None, 400):
        body = written(openai("The input (9 tokens) is longer than the model's context length (8 tokens).", code=code))
        assert CODECS[dialect].read_error(400, body).code == "context_length_exceeded"


FORGED: list[Any] = [
    openai("Invalid value: 'Your credit balance is too low'. Supported values are: 'a'."),
    openai("Invalid value:\nGenerateRequestsPerDay"),
    openai("Unknown parameter: 'Insufficient credits'."),
    {"detail": [{"loc": ["body"], "msg": "wrong", "type": "x", "input": {"code": "insufficient_quota"}}]},
    {"detail": [{"loc": ["body"], "msg": "wrong", "type": "x", "error": {"code": "invalid_api_key"}}]},
    openai("Invalid value: 'overloaded'."),
]


@pytest.mark.parametrize("body", FORGED)
def test_words_of_a_caller_that_an_upstream_repeats_do_not_rest_the_gateways_key(body: Any) -> None:
    assert failure_of(CODECS["chat"].read_error(400, written(body))) == "invalid"


ERRORS: list[tuple[PlanoError, UpstreamFailure]] = [
    (UpstreamUnavailable("m"), "connect"),
    (UpstreamTimeout("m"), "timeout"),
    (UpstreamProtocolError("m"), "protocol"),
    (UpstreamRefusedKey("m"), "credential"),
    (UpstreamStatus("m", status=599), "server"),
    (UpstreamStatus("m", status=418), "invalid"),
]


@pytest.mark.parametrize(("error", "failure"), ERRORS)
def test_the_class_of_an_error_without_a_response(error: PlanoError, failure: UpstreamFailure) -> None:
    assert failure_of(error) == failure


FRAMES: list[tuple[UpstreamFailure, Dialect, str | None, Any]] = [
    # SGLang (BerriAI/litellm#22624), and as vLLM writes it
    (
        "context_window",
        "chat",
        None,
        {"error": older_vllm("The input (9 tokens) is longer than the model's context length")},
    ),
    ("context_window", "chat", None, older_vllm("This model's maximum context length is 8 tokens.")),
    ("overloaded", "chat", None, openai("The model is overloaded.", "server_error")),
    ("overloaded", "chat", None, {"error": {"code": 529, "message": "m"}}),
    ("overloaded", "chat", None, google(503, "m", "UNAVAILABLE")),
    ("rate_limit", "chat", None, {"error": {"code": 429, "message": "m"}}),
    ("rate_limit", "chat", "error", openai("m", "rate_limit_error")),
    ("quota", "chat", None, openai("m", "insufficient_quota", "insufficient_quota")),
    # OpenRouter, "Errors and Debugging": beside an empty choice
    (
        "quota",
        "chat",
        None,
        {"error": {"code": 402, "message": "m"}, "choices": [{"delta": {}, "finish_reason": "error"}]},
    ),
    ("credential", "chat", None, {"error": {"code": 401, "message": "User not found."}}),
    ("server", "chat", None, {"error": {"code": 502, "message": "Provider disconnected"}, "choices": []}),
    ("server", "chat", None, {"choices": [{"index": 0, "delta": {}, "finish_reason": "error"}]}),
    ("overloaded", "chat", None, {"choices": [{"delta": {}, "finish_reason": "insufficient_system_resource"}]}),
    ("invalid", "chat", None, openai("m")),
    ("server", "chat", None, {"error": "m"}),
    # Anthropic (BerriAI/litellm#24004)
    ("overloaded", "messages", "error", anthropic("Overloaded", "overloaded_error")),
    ("rate_limit", "messages", "error", anthropic("m", "rate_limit_error")),
    ("quota", "messages", "error", anthropic("m", "billing_error")),
    ("server", "messages", "error", anthropic("m", "api_error")),
    ("context_window", "messages", "error", anthropic("prompt is too long: 9 tokens > 8 maximum")),
    ("invalid", "messages", "error", anthropic("m")),
    # OpenAI (BerriAI/litellm#28216)
    ("server", "responses", None, {"type": "response.failed", "response": {"error": {"code": "server_error"}}}),
    (
        "rate_limit",
        "responses",
        None,
        {"type": "response.failed", "response": {"error": {"code": "rate_limit_exceeded", "message": "m"}}},
    ),
    ("context_window", "responses", None, {"type": "error", "code": "context_length_exceeded", "message": "m"}),
    ("overloaded", "responses", None, {"type": "error", "error": {"code": "server_is_overloaded", "message": "m"}}),
    ("overloaded", "responses", None, {"type": "error", "error": {"code": "slow_down", "message": "m"}}),
    ("quota", "responses", None, {"type": "error", "error": {"type": "insufficient_quota", "message": "m"}}),
    ("overloaded", "responses", None, {"type": "error", "message": "Our servers are currently overloaded."}),
]


@pytest.mark.parametrize(("failure", "dialect", "event", "document"), FRAMES)
def test_the_class_of_an_error_inside_a_stream(
    failure: UpstreamFailure, dialect: Dialect, event: str | None, document: Any
) -> None:
    error = CODECS[dialect].error_in(Frame(event, written(document)))
    assert error is not None
    assert failure_of(error) == failure


WAITS: list[tuple[Any, float | None]] = [
    (google(429, EXHAUSTED, "RESOURCE_EXHAUSTED", RETRY_INFO), 36.0),
    (google(429, "Please retry in 23.5s.", "RESOURCE_EXHAUSTED"), 23.5),
    (openai("Rate limit reached. Please try again in 20s. Visit"), 20.0),
    (openai("Please try again in 857ms."), 0.857),
    (openai("Please try again in 7m12.5s."), 432.5),  # Groq
    (openai("Please try again in 1h2m3s."), 3723.0),
    (openai("Please retry after 8 seconds."), 8.0),  # Azure
    (openai("Please try again in 2 minutes."), 120.0),
    (openai("Please try again later."), None),
    (openai("Please try again."), None),
    (b"", None),
    (google(429, "m", "X", {"retryDelay": "soon"}), None),
    (google(429, "m", "X", {"retryDelay": 5}), None),
]


@pytest.mark.parametrize(("body", "seconds"), WAITS)
def test_the_wait_that_a_body_asks_for(body: Any, seconds: float | None) -> None:
    wait = CODECS["chat"].read_error(429, written(body)).retry_after
    assert wait == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_body_of_any_shape_and_size_has_a_class(dialect: Dialect) -> None:
    deep: Any = {"message": "m"}
    for _ in range(200):
        deep = {"error": deep, "details": [{}, []]}
    for body in (deep, [], {}, None, {"error": [[]]}, {"error": {"code": {}, "type": []}}, "x" * 1_000_000):
        assert failure_of(CODECS[dialect].read_error(500, written(body))) == "server"
