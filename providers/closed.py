"""Services that have closed, and what takes their place."""

from __future__ import annotations

from datetime import date

from msgspec import Struct

from plano.types import UpstreamDialect


class Closed(Struct, frozen=True, kw_only=True):
    """A service, or one API of it, that does not answer any more.

    Attributes:
        service: its name, for people.
        provider: the name that its models' prefix had, if no other service has that name now.
        host: its host.
        dialect: the API that has closed, if the host has others that are open.
        closed: the day on which it closed.
        instead: what to use now, as a sentence.
    """

    service: str
    provider: str | None = None
    host: str
    dialect: UpstreamDialect | None = None
    closed: date
    instead: str

    def __str__(self) -> str:
        return f"{self.service} closed on {self.closed.day} {self.closed:%B %Y}. {self.instead}"


CLOSED: tuple[Closed, ...] = (
    Closed(  # GitHub community announcement 203602
        service="GitHub Models",
        provider="github",
        host="models.github.ai",
        closed=date(2026, 7, 30),
        instead="Ask the models' own providers, such as `openai/*`, or a router, such as `openrouter/*`",
    ),
    Closed(
        service="Meta's Llama API",
        host="api.llama.com",
        closed=date(2026, 7, 6),
        instead="Its successor is `meta/*` with a `META_API_KEY` and without `base_url`",
    ),
    Closed(  # AI SDK, changelog of @ai-sdk/perplexity
        service="Perplexity's chat API",
        provider="perplexity",
        host="api.perplexity.ai",
        dialect="chat",
        closed=date(2026, 9, 27),
        instead="Leave `apis` out: its responses API serves every client, with models such as `perplexity/sonar`",
    ),
)


def closed_service(provider: str, host: str | None, apis: tuple[UpstreamDialect, ...]) -> Closed | None:
    """The closed service that an entry with this provider, this host of its own, or these APIs would ask, or None."""
    for each in CLOSED:
        named = provider == each.provider if host is None else host == each.host
        if named and (each.dialect is None or each.dialect in apis):
            return each
    return None
