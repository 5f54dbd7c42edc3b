"""Every row of the catalogue, from every client's API and with every feature: what goes up is what the row says."""

from __future__ import annotations

import re
from typing import Any

import pytest

from plano import Plano
from plano.capabilities import OWN_FIELDS, Takes, encoded
from plano.capabilities.efforts import EFFORTS
from plano.capabilities.thinking import SWITCHES
from plano.dialects import CODECS
from plano.provider import Provider
from plano.providers import CATALOGUE
from plano.testing import FakeProvider
from plano.types import CLIENT_DIALECTS, ClientDialect, UpstreamDialect
from tests.asgi import ask
from tests.providers.test_rules import HISTORY, USER, tools
from tests.test_pairs import PATHS

ROWS = {name: row for name, row in CATALOGUE.items() if name != "demo"}


def sample(pattern: str) -> str:
    """A model's id that a pattern stands for."""
    return re.sub(r"\[(.).*?\]", r"\1", pattern).replace("*", "x").strip("-.:/") + "-a" if pattern else "any-model"


def models(row: Provider) -> list[str]:
    return list(dict.fromkeys(["any-model", *map(sample, row.takes)]))


class Sent:
    """The body that went up, and the fields that were reported."""

    def __init__(self, row: Provider, model: str, dialect: UpstreamDialect, body: dict[str, Any], dropped: set[str]):
        self.dialect = dialect
        self.body = body
        self.dropped = dropped
        self.takes = row.takes_for(dialect, model) or Takes()


class Gateway:
    """A gateway with every model of one provider, and the upstream that records what it gets."""

    def __init__(self, row: Provider, client: ClientDialect) -> None:
        entry = {"model": f"{row.name}/*", "access_key": "k"}
        if row.base_url is None:
            entry["base_url"] = "https://llm.example"
        self._row = row
        self._client = client
        self._provider = FakeProvider()
        self._app = Plano({"model_providers": [entry]}, transport=self._provider)

    async def send(self, model: str, more: dict[str, Any]) -> Sent:
        name, path = f"{self._row.name}/{model}", PATHS[self._client]
        body = {"model": name, "input" if self._client == "responses" else "messages": USER, "stream": True}
        if self._client == "messages":
            body["max_tokens"] = 9000
        answer = await ask(self._app, "POST", path, {**body, **more})
        assert answer.status == 200, (model, more, answer.body)
        path = self._provider.last.path.partition("?")[0]
        dialect = next(each for each in CODECS if path.endswith(CODECS[each].conventions.endpoint.path))
        dropped = {name for name in answer.headers.get("x-plano-dropped", "").split(", ") if name}
        return Sent(self._row, model, dialect, self._provider.last.json, dropped)


# --- efforts ----------------------------------------------------------------------------------------


def effort_in(client: ClientDialect, effort: str) -> dict[str, Any]:
    if client == "chat":
        return {"reasoning_effort": effort}
    if client == "responses":
        return {"reasoning": {"effort": effort}}
    return {"thinking": {"type": "disabled"}} if effort == "none" else {"output_config": {"effort": effort}}


def effort_of(sent: Sent) -> Any:
    """The effort that went up."""
    if sent.dialect == "chat":
        return sent.body.get("reasoning_effort")
    return sent.body.get({"responses": "reasoning", "messages": "output_config"}[sent.dialect], {}).get("effort")


def hold_effort(asked: str, sent: Sent) -> None:
    thinking, said = sent.takes.thinking, effort_of(sent)
    reported = any("effort" in name or "thinking" in name for name in sent.dropped)
    if thinking is None or thinking.claude:
        return  # of the messages API, the tables of its own rules hold this
    off, on = asked == "none", [word for word in thinking.efforts if word != "none"]
    switch = thinking.switch if sent.dialect == "chat" else ""
    assert said is None or said in thinking.efforts
    if thinking.when == "never":
        assert said is None
    elif off and switch:
        assert sent.body[switch] == SWITCHES[switch][1]
    elif off and (thinking.when == "always" or "none" not in thinking.efforts):
        assert reported or thinking.when == "asked"
    elif off:
        assert said == "none"
    elif on:
        assert said == asked or (said in on and reported)
    elif thinking.budget and sent.dialect == "chat":
        assert sent.body[thinking.budget] > 0
    else:
        assert reported


# --- the features -----------------------------------------------------------------------------------


def own_fields(client: ClientDialect) -> dict[str, Any]:
    if client == "messages":
        return {"metadata": {"user_id": "u"}}
    said = {"store": False, "metadata": {"a": "b"}, "user": "u", "safety_identifier": "s", "prompt_cache_key": "k"}
    return said | ({"verbosity": "low"} if client == "chat" else {"text": {"verbosity": "low"}})


def hold_fields(asked: dict[str, Any], sent: Sent) -> None:
    if sent.takes.knows is not None:
        unknown = set(OWN_FIELDS) - set(sent.takes.knows)
        assert not unknown & set(sent.body)
        assert (unknown & set(asked)) - {"store", "metadata"} <= sent.dropped


def instructions(client: ClientDialect) -> dict[str, Any]:
    later = {"role": "system", "content": "later"}
    turns = [*USER, later, {"role": "assistant", "content": "ok"}, *USER]
    if client == "messages":
        return {"system": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "messages": turns}
    if client == "responses":
        return {"instructions": "a", "input": [{"role": "developer", "content": "b"}, *turns]}
    return {"messages": [{"role": "system", "content": "a"}, {"role": "developer", "content": "b"}, *turns]}


def hold_instructions(sent: Sent) -> None:
    if sent.dialect != "chat":
        return
    roles = [message["role"] for message in sent.body["messages"]]
    if sent.takes.systems == "one":
        assert (roles[0], roles.count("system"), "developer" in roles) == ("system", 1, False)
        assert "messages.role" in sent.dropped
    if sent.takes.developer is False:
        assert "developer" not in roles


def hold_history(sent: Sent) -> None:
    if sent.dialect != "chat" or sent.takes.thoughts is None:
        return
    said = next(message for message in sent.body["messages"] if message["role"] == "assistant")
    fields = {"reasoning_content", "reasoning", "reasoning_details"} & set(said)
    expected = {"": set(), "parts": set(), "reasoning_details": {"reasoning"}}.get(
        sent.takes.thoughts, {sent.takes.thoughts}
    )
    assert fields == expected
    assert (said.get("content") is not None and said["content"][0]["type"] == "thinking") == (
        sent.takes.thoughts == "parts"
    )


SAMPLING = {"temperature": 0.3, "top_p": 0.4}
CHAT_SAMPLING = {**SAMPLING, "presence_penalty": 0.5, "frequency_penalty": 0.5, "stop": ["x"], "logit_bias": {"1": 1}}


def hold_sampling(asked: dict[str, Any], sent: Sent) -> None:
    fields = {name: sent.body.get(name) for name in asked}
    for refused in sent.takes.refuses or ():
        thinks = sent.takes.thinking is not None and sent.takes.thinking.when in ("always", "default")
        if thinks or not refused.thinking:
            assert not [name for name in refused.fields if fields.get(name) is not None]
            assert set(refused.fields) & set(asked) <= sent.dropped
    for kept, excluded in (sent.takes.excludes or {}).items():
        assert sent.body.get(kept) is None or excluded not in sent.body


def forced(client: ClientDialect) -> dict[str, Any]:
    return {"tools": tools(client), "tool_choice": {"type": "any"} if client == "messages" else "required"}


def hold_force(sent: Sent) -> None:
    choice = sent.body.get("tool_choice")
    kind = choice["type"] if isinstance(choice, dict) else choice
    if sent.takes.forces == "never":
        assert (kind, "tool_choice" in sent.dropped) == ("auto", True)
    elif sent.takes.forces == "unthinking" and sent.takes.thinking is not None:
        assert kind == "auto" or not sent.takes.thinking.thinks(
            {name: encoded(value) for name, value in sent.body.items()}
        )
    else:
        assert kind in ("required", "any")


def limit(client: ClientDialect) -> dict[str, Any]:
    return {{"chat": "max_completion_tokens", "responses": "max_output_tokens"}.get(client, "max_tokens"): 200_000}


def hold_limit(client: ClientDialect, sent: Sent) -> None:
    for old, new in (sent.takes.renames or {}).items():
        assert old not in sent.body, f"it is called {new} there"
    if sent.takes.max_tokens is not None and sent.dialect != client:
        said = {sent.body[name] for name in sent.body if name.startswith("max_")}
        assert said == {sent.takes.max_tokens}
        assert "max_tokens" in sent.dropped


@pytest.mark.parametrize("client", CLIENT_DIALECTS)
@pytest.mark.parametrize("name", ROWS)
async def test_a_body_goes_up_as_the_row_says(name: str, client: ClientDialect) -> None:
    row = ROWS[name]
    send = Gateway(row, client).send
    for model in models(row):
        for effort in EFFORTS:
            hold_effort(effort, await send(model, effort_in(client, effort)))
        hold_fields(own_fields(client), await send(model, own_fields(client)))
        hold_instructions(await send(model, instructions(client)))
        hold_history(await send(model, {"tools": tools(client), **HISTORY[client]}))
        sampling = CHAT_SAMPLING if client == "chat" else SAMPLING
        hold_sampling(sampling, await send(model, sampling))
        hold_force(await send(model, forced(client)))
        hold_limit(client, await send(model, limit(client)))
