"""More providers with OpenAI's chat API that need no code of their own.

A row is here because its base URL or its key's variable saves an entry two lines; any other compatible server is
`provider_interface: openai` with a `base_url`.
"""

from __future__ import annotations

from plano.provider import Provider
from plano.providers import compatible
from plano.providers.other_apis import claude
from plano.providers.paths import ALL, CHAT, CHAT_MESSAGES, CHAT_RESPONSES, EMBEDDINGS

OTHERS: tuple[Provider, ...] = (
    Provider(
        name="baseten",
        base_url="https://inference.baseten.co",
        paths=CHAT,
        key_variables=("BASETEN_API_KEY",),
        takes=compatible.PLAIN,
    ),
    Provider(
        name="cloudflare",  # an entry's base URL is https://api.cloudflare.com/client/v4/accounts/ID/ai/v1
        paths=CHAT_RESPONSES,
        speaks=("chat",),  # responses only for some of its models
        operations=EMBEDDINGS,
        key_variables=("CLOUDFLARE_API_KEY", "CLOUDFLARE_API_TOKEN"),
        lists=None,
        takes=compatible.EARLY,
    ),
    Provider(
        name="cohere",
        base_url="https://api.cohere.ai",
        prefix="/compatibility/v1",
        paths=CHAT,
        operations=EMBEDDINGS,
        key_variables=("COHERE_API_KEY", "CO_API_KEY"),
        lists=None,
        takes=compatible.COHERE,
    ),
    Provider(
        name="databricks",  # an entry's base URL is the workspace, https://NAME.cloud.databricks.com
        prefix="/serving-endpoints",
        prefixes={"messages": "/serving-endpoints/anthropic/v1"},
        paths=ALL,
        speaks=("chat",),  # the others only for OpenAI's and Anthropic's models
        auth="bearer",
        operations=EMBEDDINGS,
        key_variables=("DATABRICKS_TOKEN", "DATABRICKS_API_KEY"),
        lists=None,
        takes={**compatible.EARLY, **claude("databricks-")},
    ),
    Provider(
        name="deepinfra",
        base_url="https://api.deepinfra.com",
        prefix="/v1/openai",
        prefixes={"messages": "/anthropic/v1"},
        paths=CHAT_MESSAGES,
        speaks=("chat",),
        operations=EMBEDDINGS,
        key_variables=("DEEPINFRA_API_KEY",),
        takes=compatible.DEEPINFRA,
    ),
    Provider(
        name="huggingface",
        base_url="https://router.huggingface.co",
        paths=CHAT_RESPONSES,
        speaks=("chat",),  # responses is a beta
        key_variables=("HF_TOKEN", "HUGGINGFACE_API_KEY"),
        takes=compatible.PLAIN,
    ),
    Provider(
        name="nebius",
        base_url="https://api.tokenfactory.nebius.com",
        paths=CHAT,
        operations=EMBEDDINGS,
        key_variables=("NEBIUS_API_KEY",),
        takes=compatible.NEBIUS,
    ),
    Provider(
        name="novita",
        base_url="https://api.novita.ai",
        prefix="/openai/v1",
        paths=CHAT,
        operations=EMBEDDINGS,
        key_variables=("NOVITA_API_KEY",),
        takes=compatible.SILICONFLOW,
    ),
    Provider(
        name="ovhcloud",
        base_url="https://oai.endpoints.kepler.ai.cloud.ovh.net",
        paths=CHAT,
        operations=EMBEDDINGS,
        key_variables=("OVHCLOUD_API_KEY",),
        takes=compatible.PLAIN,
    ),
    Provider(
        name="qwen_cn",
        base_url="https://dashscope.aliyuncs.com",
        prefix="/compatible-mode/v1",
        prefixes={"messages": "/apps/anthropic/v1"},
        paths=ALL,
        speaks=("chat",),
        operations=EMBEDDINGS,
        key_variables=("DASHSCOPE_API_KEY",),
        takes=compatible.QWEN,
    ),
    Provider(
        name="requesty",
        base_url="https://router.requesty.ai",
        paths=CHAT_MESSAGES,
        speaks=("chat",),
        auth="bearer",
        operations=EMBEDDINGS,
        key_variables=("REQUESTY_API_KEY",),
        takes=compatible.OPENROUTER,
    ),
    Provider(
        name="sambanova",
        base_url="https://api.sambanova.ai",
        paths=CHAT,
        operations=EMBEDDINGS,
        key_variables=("SAMBANOVA_API_KEY",),
        takes=compatible.EARLY,
    ),
    Provider(
        name="scaleway",
        base_url="https://api.scaleway.ai",
        paths=CHAT_RESPONSES,
        speaks=("chat",),
        operations=EMBEDDINGS,
        key_variables=("SCW_SECRET_KEY", "SCALEWAY_API_KEY"),
        takes=compatible.PLAIN,
    ),
    Provider(
        name="siliconflow",
        base_url="https://api.siliconflow.com",
        paths=CHAT,
        operations=EMBEDDINGS,
        key_variables=("SILICONFLOW_API_KEY",),
        takes=compatible.SILICONFLOW,
    ),
    Provider(
        name="snowflake",  # an entry's base URL is the account, https://NAME.snowflakecomputing.com
        prefix="/api/v2/cortex/v1",
        paths=ALL,
        speaks=("chat",),  # messages only for Claude, and responses is a preview
        auth="bearer",
        key_variables=("SNOWFLAKE_PAT", "SNOWFLAKE_API_KEY"),
        lists=None,
        takes={**compatible.PLAIN, **claude("")},
    ),
    Provider(
        name="stepfun",
        base_url="https://api.stepfun.com",
        paths=ALL,
        speaks=("chat",),
        auth="bearer",
        key_variables=("STEPFUN_API_KEY",),
        takes=compatible.STEPFUN,
    ),
    Provider(
        name="venice",
        base_url="https://api.venice.ai",
        prefix="/api/v1",
        paths=CHAT_RESPONSES,
        speaks=("chat",),  # responses is an alpha
        operations=EMBEDDINGS,
        key_variables=("VENICE_API_KEY",),
        takes=compatible.PLAIN,
    ),
    Provider(
        name="volcengine",
        base_url="https://ark.cn-beijing.volces.com",
        prefix="/api/v3",
        paths=CHAT_RESPONSES,
        speaks=("chat",),
        operations=EMBEDDINGS,
        key_variables=("ARK_API_KEY", "VOLCENGINE_API_KEY"),
        takes=compatible.VOLCENGINE,
    ),
    Provider(
        name="zai",
        base_url="https://api.z.ai",
        prefix="/api/paas/v4",
        prefixes={"messages": "/api/anthropic/v1"},
        paths=CHAT_MESSAGES,
        speaks=("chat",),
        operations=EMBEDDINGS,
        key_variables=("ZAI_API_KEY", "ZHIPU_API_KEY"),
        takes=compatible.ZHIPU,
    ),
    # Servers that people run themselves. Their newest versions have all three dialects, older ones chat.
    Provider(
        name="llamacpp",
        base_url="http://127.0.0.1:8080",
        paths=ALL,
        speaks=("chat",),
        auth="bearer",
        operations=EMBEDDINGS,
        takes=compatible.PLAIN,
    ),
    Provider(
        name="sglang",
        base_url="http://127.0.0.1:30000",
        paths=ALL,
        speaks=("chat",),
        auth="bearer",
        operations=EMBEDDINGS,
        takes=compatible.SGLANG,
    ),
)
