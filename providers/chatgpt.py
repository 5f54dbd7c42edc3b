"""ChatGPT's own backend, for accounts with a subscription: the responses API with fewer settings.

Its key is the OAuth token of a signed-in account. `ChatGPT-Account-Id` and `originator` go into the entry's
`headers`; with `passthrough_auth` they come from the client, beside its own token.
"""

from __future__ import annotations

from plano.capabilities import Fields, Refused, Takes, decoded, encoded
from plano.losses import Losses
from plano.provider import Provider
from plano.providers.openai import MODELS
from plano.types import UpstreamDialect


def prepare(dialect: UpstreamDialect, model: str, fields: Fields, losses: Losses) -> None:
    """Fit a request to the backend, which only streams, keeps nothing, and takes `input` only as a list.

    It also refuses a request without instructions. The reply's stream is joined for a client that wants a body.
    """
    fields["stream"] = encoded(True)
    fields["store"] = encoded(False)
    if decoded(fields.get("instructions")) in (None, ""):
        fields["instructions"] = encoded(_INSTRUCTIONS)
    said = fields.get("input")
    if said is not None and bytes(memoryview(said)[:1]) == b'"':  # a list may be long, and is not taken apart
        fields["input"] = encoded([{"type": "message", "role": "user", "content": decoded(said)}])


_INSTRUCTIONS = "You are a helpful assistant."

_REFUSED = Refused(fields=("max_output_tokens", "temperature", "top_p"), reason="ChatGPT's backend does not take it")

CHATGPT = Provider(
    name="chatgpt",
    base_url="https://chatgpt.com",
    prefix="/backend-api/codex",
    paths={"responses": "/responses"},
    lists=None,
    key_variables=("CHATGPT_ACCESS_TOKEN",),
    takes={"": Takes(refuses=(_REFUSED,)), **{name: Takes(thinking=row.thinking) for name, row in MODELS.items()}},
    prepare=prepare,
)
