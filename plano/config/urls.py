"""URLs of servers."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

from plano.dialects import CODECS


def wrong_url(text: str) -> str | None:
    """Says why a text cannot be the base URL of a provider; None if it can."""
    split = _split(text)
    if split is None or not text.isprintable():
        return "must be a URL with scheme and host, such as `https://llm.example.com/v1`"
    if split.username is not None or split.password is not None:
        return "must not have a user or password in it; give the credential as `access_key` or in `headers`"
    path = split.path.rstrip("/")
    for codec in CODECS.values():
        ending = codec.conventions.endpoint.path
        if path.endswith(ending):
            return f"must end before `{ending}`, which plano adds itself"
    return None


def is_url(text: str) -> bool:
    """Whether a text has the scheme and the host of a server that speaks HTTP."""
    return _split(text) is not None


def _split(url: str) -> SplitResult | None:
    try:
        split = urlsplit(url)
        _ = split.port  # raises for an invalid port
    except ValueError:
        return None
    return split if split.scheme in ("http", "https") and split.hostname else None
