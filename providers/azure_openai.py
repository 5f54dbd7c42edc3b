"""Azure OpenAI: OpenAI's models behind two kinds of URL.

`https://<resource>.openai.azure.com/openai/v1/...` is its v1 API: there is no api-version, and the body's `model` names
the deployment. `.../openai/deployments/<deployment>/...?api-version=<date>` is the older API. The base URL of an entry
decides between them: it means the older API if its path has `deployments` in it or its query a dated `api-version`.
"""

from __future__ import annotations

from urllib.parse import SplitResult, parse_qs

from msgspec.structs import replace

from plano.provider import Provider
from plano.providers.openai import MODELS
from plano.providers.paths import EMBEDDINGS
from plano.providers.windows import WINDOWS

_UNDATED = ("v1", "preview", "latest")
"""The values of `api-version` that belong to the v1 API."""


def adapt(base: SplitResult) -> Provider:
    """The row for this base URL."""
    path = base.path.rstrip("/")
    version = parse_qs(base.query).get("api-version", ["v1"])[0]
    if path.endswith("/openai/v1") or ("/deployments" not in path and version in _UNDATED):
        return AZURE_OPENAI
    if path.rpartition("/")[0].endswith("/deployments"):
        return _deployments("")
    return _deployments("/deployments/{model}" if path in ("", "/openai") else "/{model}")


def _deployments(deployment: str) -> Provider:
    """The row of the older API, where `deployment` is the part of the path that names the deployment."""
    return replace(
        AZURE_OPENAI,
        prefix="/openai",
        paths={"chat": f"{deployment}/chat/completions"},
        operations={("chat", "embeddings"): f"{deployment}/embeddings"},
        query="api-version=2025-01-01-preview",
    )


AZURE_OPENAI = Provider(
    name="azure_openai",
    prefix="/openai/v1",
    paths={"chat": "/chat/completions", "responses": "/responses"},
    adapt=adapt,
    operations=EMBEDDINGS,
    auth="api-key",
    lists=None,  # its list has the models that can be deployed, not the deployments
    key_variables=("AZURE_OPENAI_API_KEY",),
    takes=MODELS,
    windows=WINDOWS["openai"],  # a deployment is mostly called by its model
)
