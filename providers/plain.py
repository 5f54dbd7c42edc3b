"""Providers that need no code of their own.

If a provider documents a dialect as a beta, or serves it only in its newest versions, `speaks` leaves that dialect
out: its clients are translated, and an entry can still ask for it with `apis`.
"""

from __future__ import annotations

from plano.provider import ModelList, Provider
from plano.providers import compatible
from plano.providers.paths import ALL, CHAT, CHAT_MESSAGES, CHAT_RESPONSES, EMBEDDINGS
from plano.providers.windows import WINDOWS

PLAIN: tuple[Provider, ...] = (
    Provider(
        name="gemini",
        base_url="https://generativelanguage.googleapis.com",
        prefix="/v1beta/openai",
        paths=CHAT,
        operations=EMBEDDINGS,
        key_variables=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        lists=ModelList(strip="models/"),
        takes=compatible.GEMINI,
        windows=WINDOWS["gemini"],
    ),
    Provider(
        name="groq",
        base_url="https://api.groq.com",
        prefix="/openai/v1",
        paths=CHAT_RESPONSES,
        speaks=("chat",),  # its responses API is a beta without include, store and previous_response_id
        key_variables=("GROQ_API_KEY",),
        takes=compatible.GROQ,
    ),
    Provider(
        name="deepseek",
        base_url="https://api.deepseek.com",
        prefixes={"messages": "/anthropic/v1"},
        paths=CHAT_MESSAGES,
        speaks=("chat",),
        key_variables=("DEEPSEEK_API_KEY",),
        takes=compatible.DEEPSEEK,
        windows=WINDOWS["deepseek"],
    ),
    Provider(
        name="together_ai",
        base_url="https://api.together.ai",
        paths=CHAT_RESPONSES,
        speaks=("chat",),  # responses keeps no state, and only for some of its models
        operations=EMBEDDINGS,
        key_variables=("TOGETHER_API_KEY", "TOGETHERAI_API_KEY", "TOGETHER_AI_API_KEY"),
        takes=compatible.TOGETHER,
    ),
    Provider(
        name="openrouter",
        base_url="https://openrouter.ai",
        prefix="/api/v1",
        paths=ALL,
        speaks=("chat",),  # responses is a beta, and only chat has its routing fields
        auth="bearer",
        operations=EMBEDDINGS,
        key_variables=("OPENROUTER_API_KEY",),
        takes=compatible.OPENROUTER,
    ),
    Provider(
        name="vercel",
        base_url="https://ai-gateway.vercel.sh",
        paths=ALL,
        operations=EMBEDDINGS,
        key_variables=("AI_GATEWAY_API_KEY", "VERCEL_AI_GATEWAY_API_KEY"),
        takes=compatible.VERCEL,
    ),
    Provider(
        name="zhipu",
        base_url="https://open.bigmodel.cn",
        prefix="/api/paas/v4",
        prefixes={"messages": "/api/anthropic/v1"},
        paths=CHAT_MESSAGES,
        speaks=("chat",),
        operations=EMBEDDINGS,
        key_variables=("ZHIPU_API_KEY", "ZHIPUAI_API_KEY"),
        takes=compatible.ZHIPU,
    ),
    Provider(
        name="qwen",
        base_url="https://dashscope-intl.aliyuncs.com",
        prefix="/compatible-mode/v1",
        prefixes={"messages": "/apps/anthropic/v1"},
        paths=ALL,
        speaks=("chat",),
        operations=EMBEDDINGS,
        key_variables=("DASHSCOPE_API_KEY",),
        takes=compatible.QWEN,
    ),
    Provider(
        name="xiaomi",
        base_url="https://api.xiaomimimo.com",
        prefixes={"messages": "/anthropic/v1"},
        paths=CHAT_MESSAGES,
        speaks=("chat",),
        key_variables=("MIMO_API_KEY", "XIAOMI_API_KEY", "XIAOMI_MIMO_API_KEY"),
        takes=compatible.XIAOMI,
    ),
    Provider(
        name="digitalocean",
        base_url="https://inference.do-ai.run",
        paths=ALL,
        speaks=("chat",),  # the others only for some of its models
        auth="bearer",
        key_variables=("DIGITALOCEAN_INFERENCE_KEY", "DIGITALOCEAN_ACCESS_TOKEN", "GRADIENT_AI_API_KEY"),
        takes=compatible.PLAIN,
    ),
    Provider(
        name="edenai",
        base_url="https://api.edenai.run",
        prefix="/v3",
        paths=ALL,
        speaks=("chat",),
        auth="bearer",
        key_variables=("EDENAI_API_KEY",),
        takes=compatible.PLAIN,
    ),
    Provider(
        name="meta",
        base_url="https://api.meta.ai",
        paths=ALL,
        key_variables=("META_API_KEY",),
        takes=compatible.PLAIN,
    ),
    Provider(
        name="minimax",
        base_url="https://api.minimax.io",
        prefixes={"messages": "/anthropic/v1"},
        paths=CHAT_MESSAGES,
        speaks=("chat",),
        key_variables=("MINIMAX_API_KEY",),
        takes=compatible.MINIMAX,
    ),
    Provider(
        name="perplexity",
        base_url="https://api.perplexity.ai",
        paths={"responses": "/responses"},
        operations=EMBEDDINGS,
        lists=None,
        key_variables=("PERPLEXITY_API_KEY", "PERPLEXITYAI_API_KEY"),
        takes=compatible.PERPLEXITY,
    ),
    Provider(
        name="fireworks",
        base_url="https://api.fireworks.ai",
        prefix="/inference/v1",
        paths=ALL,
        speaks=("chat",),  # the others only for some of its models
        operations=EMBEDDINGS,
        key_variables=("FIREWORKS_API_KEY", "FIREWORKS_AI_API_KEY"),
        takes=compatible.FIREWORKS,
    ),
    Provider(
        name="cerebras",
        base_url="https://api.cerebras.ai",
        paths=CHAT,
        key_variables=("CEREBRAS_API_KEY",),
        takes=compatible.CEREBRAS,
    ),
    Provider(
        name="nvidia",
        base_url="https://integrate.api.nvidia.com",
        paths=CHAT,
        operations=EMBEDDINGS,
        key_variables=("NVIDIA_API_KEY", "NVIDIA_NIM_API_KEY"),
        takes=compatible.NVIDIA,
    ),
    # Servers that people run themselves. Their newest versions have all three dialects, older ones chat.
    Provider(
        name="ollama",
        base_url="http://127.0.0.1:11434",
        paths=ALL,
        speaks=("chat",),
        auth="bearer",
        operations=EMBEDDINGS,
        takes=compatible.OLLAMA,
    ),
    Provider(
        name="vllm",
        base_url="http://127.0.0.1:8000",
        paths=ALL,
        speaks=("chat",),
        auth="bearer",
        operations=EMBEDDINGS,
        takes=compatible.VLLM,
    ),
    Provider(
        name="lmstudio",
        base_url="http://127.0.0.1:1234",
        paths=ALL,
        speaks=("chat",),
        auth="bearer",
        operations=EMBEDDINGS,
        takes=compatible.EARLY,
    ),
    Provider(
        name="plano",  # models that the original's project publishes, on whatever server they run
        paths=CHAT,
        takes=compatible.PLAIN,
    ),
    # Answered inside the process; the name is one that no resolver knows (RFC 6761).
    Provider(
        name="demo",
        base_url="http://demo.invalid",
        paths=ALL,
        operations={
            ("messages", "count_tokens"): "/messages/count_tokens",
            ("responses", "count_tokens"): "/responses/input_tokens",
            **EMBEDDINGS,
        },
        auth="none",
        lists=None,
    ),
)
