"""Requests that are signed one by one, and endpoints that say in their path what others have in the body."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from msgspec.structs import replace

from plano import CallNext, Plano, Request, Response
from plano.credentials.signer import Unsigned
from plano.errors import UpstreamUnavailable
from plano.operations import EndpointPath
from plano.provider import Provider, Target
from plano.routing.models import Entry, ModelIndex
from plano.testing import FakeProvider
from plano.transport import Outgoing
from plano.types import RawHeaders, Secret
from plano.upstream.signing import MAX_SIGNERS, Signers, sign
from tests.asgi import Answer, ask

ORDER = ("metrics", "intake", "auth", "alias", "filters", "state", "translation")
HELLO = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}


class Signer:
    """Signs URL, body and the number of the attempt with the entry's key."""

    made = 0

    def __init__(self, target: Target) -> None:
        assert target.key is not None
        type(self).made += 1
        self._key = target.key.reveal().encode()
        self.seen: list[Unsigned] = []

    async def sign(self, outgoing: Unsigned) -> RawHeaders:
        self.seen.append(outgoing)
        covered = b"%b %b %d" % (outgoing.url.encode(), outgoing.body, len(self.seen))
        return [
            (b"authorization", hashlib.sha256(self._key + covered).hexdigest().encode()),
            (b"user-agent", b"signed"),
        ]


def row(signer: Any) -> Provider:
    return Provider(name="signed", base_url="https://signed.test", paths={"chat": "/chat/completions"}, signer=signer)


def target_of(provider: Provider, **more: Any) -> Target:
    return ModelIndex([Entry(provider=provider, model="m", name="signed/m", **more)]).resolve("signed/m")


def signature(url: str, body: bytes, attempt: int) -> str:
    return hashlib.sha256(b"sk-secret%b %b %d" % (url.encode(), body, attempt)).hexdigest()


async def asked(provider: FakeProvider, target: Target, times: int = 1, **more: Any) -> Answer:
    """Asks `target`, so many times in a row within one request."""

    async def attempts(request: Request, call_next: CallNext) -> Response:
        request = request.replace(target=target)
        for _ in range(times - 1):
            await (await call_next(request)).aclose()
        return await call_next(request)

    config = {"model_providers": [{"model": "openai/m", "access_key": "k", "default": True}]}
    gateway = Plano(config, filters=[attempts], order=ORDER, transport=provider)
    answer = await ask(gateway, "POST", "/v1/chat/completions", HELLO | more)
    await gateway.aclose()
    return answer


async def test_each_attempt_is_signed_with_its_url_and_its_body() -> None:
    provider = FakeProvider()
    Signer.made = 0
    target = target_of(row(Signer), key=Secret("sk-secret"))
    assert (await asked(provider, target, times=3, temperature=0.5)).status == 200
    for attempt, sent in enumerate(provider.requests, 1):
        assert sent.headers["authorization"] == signature(sent.url, sent.body, attempt)
        assert b"0.5" in sent.body
    assert len(provider.requests) == 3
    assert Signer.made == 1


async def test_what_a_signer_says_takes_the_place_of_the_same_header() -> None:
    provider = FakeProvider()
    await asked(provider, target_of(row(Signer), key=Secret("sk-secret")))
    (sent,) = provider.requests
    assert [value for name, value in sent.raw_headers if name.lower() == b"user-agent"] == [b"signed"]


async def test_a_signers_key_does_not_travel() -> None:
    provider = FakeProvider()
    await asked(provider, target_of(row(Signer), key=Secret("sk-secret")))
    assert b"sk-secret" not in repr(provider.requests[0].raw_headers).encode()


async def test_a_callers_own_credential_is_not_signed() -> None:
    provider = FakeProvider()
    await asked(provider, target_of(row(Signer), passthrough_auth=True))
    assert "authorization" not in provider.requests[0].headers


async def test_a_signer_without_a_credential_is_a_failure_of_the_attempt(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def __init__(self, target: Target) -> None:
            pass

        async def sign(self, outgoing: Unsigned) -> RawHeaders:
            raise UpstreamUnavailable("There is no token to be had.") from OSError("no route")

    provider = FakeProvider()
    answer = await asked(provider, target_of(row(Broken)))
    assert answer.status == 502
    assert answer.json()["error"]["message"] == "There is no token to be had."
    assert provider.requests == []
    assert caplog.messages == ["signed/m: There is no token to be had. (OSError: no route)"]


async def test_the_prepared_headers_stay_as_they_are() -> None:
    constant = [(b"user-agent", b"plano"), (b"x-org", b"acme")]
    outgoing = Outgoing(url="https://signed.test", headers=[(b"x-request-id", b"1")], constant=constant)
    await sign(outgoing, Signer(target_of(row(Signer), key=Secret("k"))))
    assert constant == [(b"user-agent", b"plano"), (b"x-org", b"acme")]
    assert [name for name, _ in outgoing.all_headers] == [b"x-org", b"x-request-id", b"authorization", b"user-agent"]


def test_signers_are_kept_by_entry_and_key_and_not_without_end() -> None:
    signers = Signers()
    target = target_of(row(Signer), key=Secret("first"))
    first = signers.signer_of(target)
    assert first is signers.signer_of(replace(target, model="other"))
    assert first is not signers.signer_of(replace(target, key=Secret("other")))
    for number in range(MAX_SIGNERS):
        signers.signer_of(replace(target, key=Secret(str(number))))
    assert first is not signers.signer_of(target)
    assert signers.signer_of(target_of(row(None), key=Secret("k"))) is None


@pytest.mark.parametrize("stream", [False, True])
async def test_what_stands_in_the_path_is_left_out_of_the_body(stream: bool) -> None:
    path = EndpointPath(
        path="/{model}/once/chat/completions", streamed="/{model}/live/chat/completions", omits=("model", "stream")
    )
    provider = FakeProvider()
    target = target_of(Provider(name="signed", base_url="https://signed.test", paths={"chat": path}))
    await asked(provider, target, stream=stream, seed=1)
    (sent,) = provider.requests
    assert sent.path == f"/v1/m/{'live' if stream else 'once'}/chat/completions"
    assert list(json.loads(sent.body)) == ["messages", "seed"]
