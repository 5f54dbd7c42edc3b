"""Providers that need no code of their own.

If a provider documents a dialect as a beta, or serves it only in its newest versions, `speaks` leaves that dialect
out: its clients are translated, and an entry can still ask for it with `apis`.
"""

from __future__ import annotations

from collections.abc import Mapping

from plano.provider import Provider
from plano.providers import compatible
from plano.providers.paths import EMBEDDINGS
from plano.types import UpstreamDialect

_CHAT: Mapping[UpstreamDialect, str] = {"chat": "/chat/completions"}
_CHAT_RESPONSES: Mapping[UpstreamDialect, str] = {**_CHAT, "responses": "/responses"}
_ALL: Mapping[UpstreamDialect, str] = {**_CHAT_RESPONSES, "messages": "/messages"}


PLAIN: tuple[Provider, ...] = (
    Provider(
        name="gemini",
        base_url="https://generativelanguage.googleapis.com",
        prefix="/v1beta/openai",
        paths=_CHAT,
        operations=EMBEDDINGS,
        key_variable="GEMINI_API_KEY",
        takes=compatible.GEMINI,
        models=(
            "gemini-3-pro-preview",
            "gemini-3-flash-preview",
            "gemini-2.5-pro",
            "gemini-2.5-flash",
            "gemini-2.5-flash-lite",
            "gemini-2.0-flash",
        ),
    ),
    Provider(
        name="groq",
        base_url="https://api.groq.com",
        prefix="/openai/v1",
        paths=_CHAT_RESPONSES,
        speaks=("chat",),  # its responses API is a beta without include, store and previous_response_id
        key_variable="GROQ_API_KEY",
        takes=compatible.GROQ,
        models=("llama-3.3-70b-versatile", "llama-3.1-8b-instant"),
    ),
    Provider(
        name="deepseek",
        base_url="https://api.deepseek.com",
        paths=_CHAT,
        key_variable="DEEPSEEK_API_KEY",
        takes=compatible.DEEPSEEK,
        models=("deepseek-chat", "deepseek-reasoner"),
    ),
    Provider(
        name="together_ai",
        base_url="https://api.together.xyz",
        paths=_CHAT,
        operations=EMBEDDINGS,
        key_variable="TOGETHER_API_KEY",
        takes=compatible.TOGETHER,
    ),
    Provider(
        name="openrouter",
        base_url="https://openrouter.ai",
        prefix="/api/v1",
        paths=_ALL,
        speaks=("chat",),  # responses is a beta, and only chat has its routing fields
        auth="bearer",
        operations=EMBEDDINGS,
        key_variable="OPENROUTER_API_KEY",
        takes=compatible.OPENROUTER,
    ),
    Provider(
        name="vercel",
        base_url="https://ai-gateway.vercel.sh",
        paths=_ALL,
        operations=EMBEDDINGS,
        key_variable="AI_GATEWAY_API_KEY",
        takes=compatible.VERCEL,
    ),
    Provider(
        name="zhipu",
        base_url="https://open.bigmodel.cn",
        prefix="/api/paas/v4",
        paths=_CHAT,
        operations=EMBEDDINGS,
        key_variable="ZHIPU_API_KEY",
        takes=compatible.ZHIPU,
        models=("glm-5", "glm-4.7", "glm-4.6", "glm-4.5", "glm-4.5-air"),
    ),
    Provider(
        name="qwen",
        base_url="https://dashscope-intl.aliyuncs.com",
        prefix="/compatible-mode/v1",
        paths=_CHAT,
        operations=EMBEDDINGS,
        key_variable="DASHSCOPE_API_KEY",
        takes=compatible.QWEN,
        models=("qwen3-max", "qwen3-coder-plus", "qwen-max", "qwen-plus", "qwen-flash"),
    ),
    Provider(
        name="xiaomi",
        base_url="https://api.xiaomimimo.com",
        paths=_CHAT,
        key_variable="MIMO_API_KEY",
        takes=compatible.XIAOMI,
        models=("mimo-v2-flash",),
    ),
    Provider(
        name="digitalocean",
        base_url="https://inference.do-ai.run",
        paths=_CHAT,
        key_variable="DIGITALOCEAN_INFERENCE_KEY",
        takes=compatible.PLAIN,
    ),
    Provider(
        name="edenai",
        base_url="https://api.edenai.run",
        prefix="/v3",
        paths=_CHAT,
        key_variable="EDENAI_API_KEY",
        takes=compatible.PLAIN,
    ),
    Provider(
        name="github",
        base_url="https://models.github.ai",
        prefix="/inference",
        paths=_CHAT,
        operations=EMBEDDINGS,
        key_variable="GITHUB_MODELS_TOKEN",
    ),
    Provider(
        name="meta",
        base_url="https://api.llama.com",
        prefix="/compat/v1",
        paths=_CHAT,
        key_variable="LLAMA_API_KEY",
        takes=compatible.PLAIN,
    ),
    Provider(
        name="minimax",
        base_url="https://api.minimax.io",
        paths=_CHAT,
        key_variable="MINIMAX_API_KEY",
        takes=compatible.MINIMAX,
        models=("MiniMax-M2.5", "MiniMax-M2.1", "MiniMax-M2"),
    ),
    Provider(
        name="perplexity",
        base_url="https://api.perplexity.ai",
        prefix="",
        paths=_CHAT,
        key_variable="PERPLEXITY_API_KEY",
        takes=compatible.EARLY,
        models=("sonar", "sonar-pro", "sonar-reasoning-pro", "sonar-deep-research"),
    ),
    Provider(
        name="fireworks",
        base_url="https://api.fireworks.ai",
        prefix="/inference/v1",
        paths=_CHAT_RESPONSES,
        speaks=("chat",),  # responses only for some of its models
        operations=EMBEDDINGS,
        key_variable="FIREWORKS_API_KEY",
        takes=compatible.FIREWORKS,
    ),
    Provider(
        name="cerebras",
        base_url="https://api.cerebras.ai",
        paths=_CHAT,
        key_variable="CEREBRAS_API_KEY",
        takes=compatible.CEREBRAS,
    ),
    Provider(
        name="nvidia",
        base_url="https://integrate.api.nvidia.com",
        paths=_CHAT,
        operations=EMBEDDINGS,
        key_variable="NVIDIA_API_KEY",
        takes=compatible.NVIDIA,
    ),
    # Servers that people run themselves. Their newest versions have all three dialects, older ones chat.
    Provider(
        name="ollama",
        base_url="http://127.0.0.1:11434",
        paths=_ALL,
        speaks=("chat",),
        auth="bearer",
        operations=EMBEDDINGS,
        takes=compatible.OLLAMA,
    ),
    Provider(
        name="vllm",
        base_url="http://127.0.0.1:8000",
        paths=_ALL,
        speaks=("chat",),
        auth="bearer",
        operations=EMBEDDINGS,
        takes=compatible.VLLM,
    ),
    Provider(
        name="lmstudio",
        base_url="http://127.0.0.1:1234",
        paths=_ALL,
        speaks=("chat",),
        auth="bearer",
        operations=EMBEDDINGS,
        takes=compatible.EARLY,
    ),
    Provider(
        name="plano",  # models that the original's project publishes, on whatever server they run
        paths=_CHAT,
        takes=compatible.PLAIN,
    ),
    # Answered inside the process; the name is one that no resolver knows (RFC 6761).
    Provider(
        name="demo",
        base_url="http://demo.invalid",
        paths=_ALL,
        operations={
            ("messages", "count_tokens"): "/messages/count_tokens",
            ("responses", "count_tokens"): "/responses/input_tokens",
            **EMBEDDINGS,
        },
        auth="none",
        models=("echo",),
    ),
)
