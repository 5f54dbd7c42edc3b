"""ChatGPT's own backend, for accounts with a subscription: the responses API with fewer settings.

Its key is the OAuth token of a signed-in account. `ChatGPT-Account-Id` and `originator` go into the entry's `headers`.
"""

from __future__ import annotations

from plano.capabilities import Fields, Refused, Takes, decoded, encoded
from plano.losses import Losses, refuse
from plano.provider import Provider
from plano.providers.openai import MODELS
from plano.types import UpstreamDialect


def prepare(dialect: UpstreamDialect, model: str, fields: Fields, losses: Losses) -> None:
    """Insist on a stream, and set `store` to false, because the backend keeps nothing.

    Raises:
        UnsupportedConversion: the request does not ask for a stream, and the backend only streams.
    """
    if decoded(fields.get("stream")) is not True:
        raise refuse("stream", "ChatGPT's backend only streams; ask with `stream: true`")
    fields["store"] = encoded(False)


_REFUSED = Refused(fields=("max_output_tokens", "temperature", "top_p"), reason="ChatGPT's backend does not take it")

CHATGPT = Provider(
    name="chatgpt",
    base_url="https://chatgpt.com",
    prefix="/backend-api/codex",
    paths={"responses": "/responses"},
    key_variable="CHATGPT_ACCESS_TOKEN",
    takes={"": Takes(refuses=(_REFUSED,)), **{name: Takes(thinking=row.thinking) for name, row in MODELS.items()}},
    prepare=prepare,
)
