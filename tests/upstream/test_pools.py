"""Entries with several keys, and targets at a base URL of their own."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from msgspec.structs import replace

from plano import CallNext, Plano, Request, Response
from plano.config import Config
from plano.config.settings import Tls
from plano.connections import Connections
from plano.providers import CATALOGUE
from plano.routing.models import Entry, ModelIndex
from plano.routing.settings import AliasEntry, AliasTarget
from plano.testing import FakeProvider, Reply
from plano.testing.script import Verbatim
from plano.transport import Timeouts
from plano.types import CLIENT_DIALECTS as DIALECTS
from plano.types import Dialect, Secret
from plano.upstream.model_lists import ModelLists
from plano.upstream.send import Upstream
from plano.upstream.signing import Signers
from tests.asgi import ask
from tests.test_pairs import PATHS
from tests.test_vendor_rules import asked_in
from tests.upstream.test_signing import Signer
from tests.upstream.test_signing import row as signed_row
from tests.upstream.through import ORDER, asked, row, target_of

KEYS = ("sk-first-0123456789", "sk-second-0123456789", "sk-third-0123456789")
POOL = tuple((Secret(key), 1.0 + number) for number, key in enumerate(KEYS))
ELSEWHERE = "https://elsewhere.test/v1"


def pool(*dialects: Dialect, model: str = "m", **more: Any) -> ModelIndex:
    """The names of an entry with three keys, and an alias of the same at another host."""
    entry = Entry(provider=row(*dialects), model=model, name=f"made_up/{model}", keys=POOL, **more)
    away = AliasTarget(model="made_up/m", endpoint=ELSEWHERE)
    return ModelIndex([entry], {"away": AliasEntry(targets=(away,))})


def targets(index: ModelIndex, name: str = "made_up/m") -> tuple[Any, ...]:
    found = index.candidates(name, index.resolve(name))
    assert found is not None
    ((member,),) = (group.members for group in found.groups)
    return member.keys


def test_each_key_is_a_target_at_a_place_of_its_own() -> None:
    index = pool()
    found = targets(index)
    assert [(each.key.reveal(), each.key_no, each.place) for each in found] == [
        (key, number, f"made_up/m#{number}") for number, key in enumerate(KEYS)
    ]
    assert {each.server for each in found} == {"made_up/m"}
    assert index.resolve("made_up/m") == found[0]
    away = targets(index, "away")
    assert [each.place for each in away] == [f"made_up/m@elsewhere.test/v1#{number}" for number in range(3)]
    assert {each.server for each in away} == {"made_up/m@elsewhere.test/v1"}
    assert {endpoint.url.split("/")[2] for each in away for endpoint in each.endpoints.values()} == {"elsewhere.test"}


def test_an_entry_with_one_key_is_one_place() -> None:
    for more in ({"key": Secret(KEYS[0])}, {"keys": POOL[:1]}):
        target = target_of(row(), **more)
        assert (target.place, target.server, target.pool) == ("made_up/m", "made_up/m", ())
        assert target.key == Secret(KEYS[0])


def test_a_place_shows_nothing_of_a_url_that_could_be_a_secret() -> None:
    away = AliasTarget(model="made_up/m", endpoint="https://user:secret@elsewhere.test/v1/?key=secret")
    index = ModelIndex(
        [Entry(provider=row(), model="m", name="made_up/m", keys=POOL)], {"away": AliasEntry(targets=(away,))}
    )
    assert [each.place for each in targets(index, "away")] == [f"made_up/m@elsewhere.test/v1#{n}" for n in range(3)]


def test_the_targets_of_a_pool_are_the_same_ones_for_each_request() -> None:
    index = pool(model="*")
    for name in ("made_up/a", "made_up/b", "made_up/a"):
        assert targets(index, name)[1] is targets(index, name)[1]
        assert targets(index, name)[1].model == name.removeprefix("made_up/")


def test_pools_under_a_wildcard_are_bounded() -> None:
    entry = Entry(provider=row(), model="*", name="made_up/*", keys=POOL)
    index = ModelIndex([entry], cache=10)
    for number in range(100):
        assert targets(index, f"made_up/m-{number}")[2].model == f"m-{number}"
    assert len(index._pools) == 10


@pytest.mark.parametrize("client", DIALECTS)
async def test_each_key_goes_to_its_own_host_alone(client: Dialect) -> None:
    provider, index = FakeProvider(), pool()
    for name, host in (("made_up/m", "made-up.test"), ("away", "elsewhere.test")):
        for number, target in enumerate(targets(index, name)):
            assert (await asked(provider, target, client)).status == 200
            sent = provider.last
            header = sent.headers.get("x-api-key") or sent.headers["authorization"].removeprefix("Bearer ")
            assert (sent.url.split("/")[2], header) == (host, KEYS[number])
            assert not any(key.encode() in sent.body for key in KEYS)


async def test_targets_of_a_pool_do_not_drive_each_other_out() -> None:
    provider = FakeProvider()
    found = [*targets(index := pool("chat")), *targets(index, "away")]
    upstream = Upstream(lambda target: provider, Timeouts())
    for _ in range(2):
        for target in found:
            request = Request(dialect="chat", model="m", raw=b'{"model":"m","messages":[]}', target=target)
            assert (await upstream(request)).ok
    assert len(upstream._endpoints) == len(found)
    assert [each.target for each in upstream._endpoints.values()] == found


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("upstream", DIALECTS)
@pytest.mark.parametrize("client", DIALECTS)
@pytest.mark.parametrize("status", [200, 400, 401, 429, 500])
async def test_no_key_of_a_pool_is_shown_whichever_was_sent(
    client: Dialect, upstream: Dialect, status: int, stream: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    provider = FakeProvider()
    said = {"message": f"Bad keys: {', '.join(KEYS)}", "type": "invalid_request_error", "code": KEYS[2]}
    body = json.dumps({"type": "error", "error": said}).encode()
    headers = {"content-type": "application/json", "retry-after": "1", "x-request-id": f"of {KEYS[0]}"}
    provider.raw(status, headers, body)
    for target in targets(pool(upstream)):
        answer = await asked(provider, target, client, stream=stream)
        shown = answer.body.decode() + str(answer.headers) + caplog.text
        assert answer.status >= 400
        assert not any(key in shown for key in KEYS), shown
        if status != 401:
            assert "Bad keys: ***, ***, ***" in shown


def test_a_signer_is_made_for_each_place() -> None:
    Signer.made = 0
    entry = Entry(provider=signed_row(Signer), model="*", name="signed/*", keys=POOL)
    index, signers = ModelIndex([entry]), Signers()
    for name in ("signed/a", "signed/b"):
        for target in targets(index, name):
            assert signers.signer_of(target) is signers.signer_of(target)
    assert Signer.made == len(KEYS)


async def test_a_place_has_the_transport_of_its_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "elsewhere.test")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.test:1")
    connections = Connections(None)
    senders, index = connections.senders(Config()), pool()
    here, away = targets(index), targets(index, "away")
    assert {senders.sender_for(each) for each in here} == {connections.find(here[0], Tls())}
    assert {senders.sender_for(each) for each in away} == {connections.find(away[0], Tls())}
    assert senders.sender_for(here[0]) is not senders.sender_for(away[0])
    await connections.aclose()


@pytest.mark.parametrize("client", ["messages", "responses"])
async def test_a_server_that_lacks_an_api_is_known_for_all_keys_and_for_no_other_host(
    client: Dialect, caplog: pytest.LogCaptureFixture
) -> None:
    provider, index = FakeProvider(), pool(assumed=(client,))
    here, away = targets(index), targets(index, "away")
    order = [here[0], here[1], here[2], away[0], away[1]]

    async def in_turn(request: Request, call_next: CallNext) -> Response:
        return await call_next(request.replace(target=order.pop(0)))

    config = {"model_providers": [{"model": "openai/m", "access_key": "k", "default": True}]}
    gateway = Plano(config, filters=[in_turn], order=ORDER, transport=provider)
    provider.script(lambda recorded: missing(recorded, client))
    while order:
        answer = await ask(gateway, "POST", PATHS[client], asked_in(client, model="m"))
        assert answer.status == 200, answer.body
    await gateway.aclose()
    paths = [(sent.url.split("/")[2], sent.path.rpartition("/")[2]) for sent in provider.requests]
    lacking, chat = PATHS[client].rpartition("/")[2], "completions"
    assert paths == [
        *(("made-up.test", last) for last in (lacking, chat, chat, chat)),
        *(("elsewhere.test", last) for last in (lacking, chat, chat)),
    ]
    assert [line.split(":")[0] for line in caplog.messages] == ["made_up/m", "made_up/m@elsewhere.test/v1"]


def missing(recorded: Any, client: Dialect) -> Any:
    return Reply("Hello") if recorded.path.endswith("completions") else Verbatim(404, {}, b"404 page not found")


async def test_an_error_in_the_log_names_the_key_by_its_number(caplog: pytest.LogCaptureFixture) -> None:
    provider = FakeProvider()
    provider.fail(401, "No.")
    for target in targets(pool("chat")):
        assert (await asked(provider, target, "chat")).status == 502
    assert [line.split(":")[0] for line in caplog.messages] == [f"made_up/m#{number}" for number in range(3)]


@pytest.mark.parametrize(("timeout", "status"), [(0.05, 504), (None, 200), (20.0, 200)])
@pytest.mark.parametrize("client", DIALECTS)
async def test_an_entry_has_a_timeout_of_its_own(client: Dialect, timeout: float | None, status: int) -> None:
    provider = FakeProvider(delay=0.2)
    assert (await asked(provider, target_of(row(client), timeout=timeout), client)).status == status


async def test_the_timeouts_of_an_entry_are_worked_out_once() -> None:
    provider = FakeProvider()
    listeners = Timeouts(connect=3.0, first_byte=300.0, idle=300.0)
    sent: list[Timeouts] = []

    class Noting:
        async def send(self, outgoing: Any) -> Any:
            sent.append(outgoing.timeouts)
            return await provider.send(outgoing)

    upstream = Upstream(lambda target: Noting(), listeners)  # type: ignore[arg-type,return-value]
    own, other = target_of(row("chat"), timeout=7.0), replace(target_of(row("chat")), name="made_up/other")
    for target in (own, own, other):
        await upstream(Request(dialect="chat", model="m", raw=b'{"model":"m","messages":[]}', target=target))
    assert sent[0] == Timeouts(connect=3.0, first_byte=7.0, idle=7.0)
    assert sent[1] is sent[0]
    assert sent[2] is listeners


@pytest.mark.parametrize(("dead", "asked_keys"), [(0, [0]), (1, [0, 1]), (2, [0, 1, 2])])
async def test_a_list_of_models_is_got_with_the_first_key_that_works(dead: int, asked_keys: list[int]) -> None:
    provider = FakeProvider(models=("listed",))

    class Refusing:
        def __init__(self) -> None:
            self.keys: list[int] = []

        async def send(self, outgoing: Any) -> Any:
            key = dict(outgoing.headers)[b"authorization"].decode().removeprefix("Bearer ")
            self.keys.append(KEYS.index(key))
            if self.keys[-1] < dead:
                outgoing.url = "https://made-up.test/v1/nowhere"
            return await provider.send(outgoing)

    sender = Refusing()
    entry = Entry(provider=replace(CATALOGUE["openai"], name="made_up"), model="*", name="made_up/*", keys=POOL)
    index = ModelIndex([entry])
    await ModelLists(index, lambda target: sender).refresh(patience=20.0)  # type: ignore[arg-type,return-value]
    assert sender.keys == asked_keys
    assert index.resolve("listed").name == "made_up/listed"


SEALED = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "c2VhbGVk"}
SPOKEN = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": []}


@pytest.mark.parametrize(
    ("first", "then", "kept"), [(0, 0, True), (0, 1, True), (0, 3, False), (3, 3, True), (3, 4, True), (3, 0, False)]
)
async def test_stored_reasoning_goes_back_to_its_host_alone(first: int, then: int, kept: bool) -> None:
    provider, index = FakeProvider(), pool("responses")
    found = [*targets(index), *targets(index, "away")]
    order = [found[first], found[then]]

    async def in_turn(request: Request, call_next: CallNext) -> Response:
        return await call_next(request.replace(target=order.pop(0)))

    config = {"model_providers": [{"model": "openai/m", "access_key": "k", "default": True}]}
    gateway = Plano(config, filters=[in_turn], order=ORDER, transport=provider)
    reply = {"id": "resp_1", "object": "response", "status": "completed", "output": [SEALED, SPOKEN]}
    provider.raw(200, {"content-type": "application/json"}, json.dumps(reply).encode())
    for more in ({"store": True}, {"previous_response_id": "resp_1"}):
        answer = await ask(gateway, "POST", PATHS["responses"], asked_in("responses", model="m", **more))
        assert answer.status == 200, answer.body
    await gateway.aclose()
    assert (b"c2VhbGVk" in provider.last.body) is kept
    assert answer.headers.get("x-plano-dropped") == (None if kept else "messages.thinking")
