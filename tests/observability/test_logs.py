"""Lines of the log, as machines and people read them, and what must not be in them."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from plano import CallNext, Plano, Request, Response
from plano.config import load
from plano.filters.bodies import LOGGED_CHARACTERS
from plano.observability import logs
from plano.observability.access import Line
from plano.testing import FakeProvider, Usage
from plano.types import CLIENT_DIALECTS as DIALECTS
from plano.types import Secret
from tests.asgi import Answer, Leaving, scope
from tests.asgi import ask as ask_only

PATHS = {"chat": "/v1/chat/completions", "messages": "/v1/messages", "responses": "/v1/responses"}
PLANTED = {
    "caller": "sk-caller-XQ5d8fKm2ZpT7w",
    "upstream": "sk-upstream-a8Hc5LqN3vYs",
    "header": "hdr-R4tGz9WkPb6JxE",
    "proxy": "proxy-Vn7MdS2uCf",
    "stranger": "sk-stranger-yB3kL9eQzD",
}


@contextmanager
def logged(level: str = "info", format: logs.Format = "json", **options: Any) -> Iterator[io.StringIO]:
    """What `plano up` would write, and everything as it was before afterwards."""
    root, access = logging.getLogger(), logging.getLogger("plano.access")
    before = root.level, access.propagate
    stream = io.StringIO()
    handler = logs.setup(level, format, stream=stream, **options)
    try:
        yield stream
        handler.flush()
    finally:
        root.removeHandler(handler)
        access.removeHandler(handler)
        root.setLevel(before[0])
        access.propagate = before[1]


async def ask(app: Plano, *asked: Any) -> Answer:
    """And have it logged: lines are made several at once."""
    answer = await ask_only(app, *asked)
    app._survivors.observing.finished_requests.flush()
    return answer


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def gateway(provider: FakeProvider, **config: Any) -> Plano:
    entry = {"model": "openai/m", "access_key": PLANTED["upstream"]}
    config = {"model_providers": [entry], "state_storage": {"type": "none"}} | config
    return Plano(config, transport=provider)


def body(client: str, **more: Any) -> dict[str, Any]:
    asked = {"model": "openai/m", **more}
    return asked | (
        {"input": "Hello"} if client == "responses" else {"messages": [{"role": "user", "content": "Hello"}]}
    )


async def test_a_request_is_one_line_that_says_what_happened() -> None:
    provider = FakeProvider()
    provider.reply("Hi", usage=Usage(input_tokens=12, output_tokens=3, cached_tokens=4))
    app = gateway(provider, auth={"keys": [{"name": "app", "key": PLANTED["caller"]}]})
    headers = {"authorization": f"Bearer {PLANTED['caller']}", "x-request-id": "abc-1"}
    with logged() as stream:
        answer = await ask(app, "POST", "/v1/messages?beta=true", body("messages", max_tokens=5, top_k=3), headers)
    (line,) = lines(stream)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("time"))
    assert 0 < line.pop("upstream_seconds") < line.pop("seconds")
    assert line == {
        "level": "info",
        "logger": "plano.access",
        "method": "POST",
        "path": "/v1/messages",
        "status": 200,
        "id": "abc-1",
        "caller": "app",
        "client_dialect": "messages",
        "upstream_dialect": "chat",
        "asked": "openai/m",
        "served": "openai/m",
        "stream": False,
        "outcome": "completed",
        "bytes_in": len(json.dumps(body("messages", max_tokens=5, top_k=3))),
        "bytes_out": len(answer.body),
        "losses": 1,
        "input_tokens": 12,
        "output_tokens": 3,
        "cached_tokens": 4,
        "upstream_id": answer.headers["x-plano-upstream-request-id"],
    }
    assert answer.headers["x-request-id"] == "abc-1"
    assert provider.last.headers["x-request-id"] == "abc-1"


@pytest.mark.parametrize("client", DIALECTS)
async def test_a_stream_that_nobody_waits_for_says_so(client: str) -> None:
    provider = FakeProvider(pause=0.01)
    provider.reply("word " * 50)
    app = gateway(provider)
    exchange = Leaving(8, json.dumps(body(client, stream=True, max_tokens=90)).encode())
    with logged() as stream:
        await app(scope("POST", PATHS[client]), exchange.receive, exchange.send)
        await app.aclose()
    (line,) = lines(stream)
    assert (line["outcome"], line["stream"], line["estimated"]) == ("aborted", True, True)
    assert line["first_token_seconds"] <= line["seconds"]


@pytest.mark.parametrize(
    ("asked", "status", "error"),
    [(b"{", 400, "invalid_request"), ({"model": "nobody"}, 404, "model_not_found"), ({"model": "openai/m"}, 429, None)],
)
async def test_what_went_wrong_is_named(asked: Any, status: int, error: str | None) -> None:
    provider = FakeProvider()
    provider.fail(429)
    with logged() as stream:
        await ask(gateway(provider), "POST", PATHS["chat"], asked)
    (line,) = lines(stream)
    assert (line["status"], line["error"]) == (status, error or "rate_limit")


async def test_what_asks_no_model_has_a_line_too_and_probes_are_for_debugging() -> None:
    app = gateway(FakeProvider())
    for level, expected in (("info", ["/v1/models", "/nowhere\\x1b[1m"]), ("debug", [*"12345"])):
        with logged(level) as stream:
            for path in ("/v1/models?limit=1", "/nowhere\x1b[1m", "/healthz", "/readyz", "/metrics"):
                await ask(app, "GET", path)
        found = [line for line in lines(stream) if line["logger"] == "plano.access"]
        assert len(found) == len(expected)
        assert level == "debug" or [line["path"] for line in found] == expected


async def test_lines_for_people_are_lines() -> None:
    with logged(format="text") as stream:
        await ask(gateway(FakeProvider()), "POST", PATHS["chat"], body("chat"))
        logging.getLogger("plano").warning("something %s", "odd")
    first, second = stream.getvalue().splitlines()
    assert re.match(r"\d\d:\d\d:\d\d INFO    plano\.access: POST /v1/chat/completions 200 seconds=", first)
    assert re.match(r"\d\d:\d\d:\d\d WARNING plano: something odd", second)


@pytest.mark.parametrize("stream", [False, True])
async def test_lines_for_people_fit_on_a_terminal(stream: bool) -> None:
    with logged(format="text") as stream_of_text:
        for dialect, path in PATHS.items():
            await ask(gateway(FakeProvider()), "POST", path, body(dialect, stream=stream))
        await ask(gateway(FakeProvider()), "POST", PATHS["chat"], body("chat") | {"model": "x" * 150})
    found = stream_of_text.getvalue().splitlines()
    assert len(found) == 4
    assert max(map(len, found[:3])) <= 120
    assert len(found[3]) <= 150
    for line in found[:3]:
        assert set(fields(line)) == {"method", "path", "status", "seconds", "served", "in", "out"} | (
            {"losses"} if "losses=" in line else set()
        )
    assert fields(found[3])["asked"] == "x" * 39 + "…"
    assert fields(found[3])["error"] == "model_not_found"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("x\n14:53:08 INFO    plano.access: forged", r"x\n14:53:08 INFO    plano.access: forged"),
        ("a\r\tb\x00\x7f", r"a\r\tb\x00\x7f"),
        ("\x1b[2J\x9b2J", r"\x1b[2J\x9b2J"),
        ("a\x0bb\x0cc\x1cd\x85e\u2028f\u2029g", r"a\x0bb\x0cc\x1cd\x85e\u2028f\u2029g"),
        ("\u202eevil\u202c\u2066", r"\u202eevil\u202c\u2066"),
        ("Zürich 東京\u3000\xa0👩\u200d🔬 שלום", "Zürich 東京\u3000\xa0👩\u200d🔬 שלום"),
        (r"a\nb", r"a\nb"),
        ("key\nhunter2-hunter2\n", r"key\n***\n"),
    ],
)
def test_what_is_quoted_can_neither_forge_a_line_nor_steer_a_terminal(said: str, shown: str) -> None:
    with logged(format="text", secrets=[Secret("hunter2-hunter2")]) as stream:
        logging.getLogger("plano.bodies").info("request 1: %s", said)
        (handler,) = (
            each for each in logging.getLogger("plano.access").handlers if isinstance(each, logs.BatchHandler)
        )
        handler.take(logging.INFO, [(1e9, Line("POST", "/", 200, 0.1, error=said.replace("hunter2-", "")))])
    first, second, nothing = stream.getvalue().split("\n")
    assert first.endswith(f" plano.bodies: request 1: {shown}")
    assert fields(second)["error"] == shown.replace("***", "hunter2")
    assert nothing == ""


@pytest.mark.parametrize(
    "said",
    [
        "x status=200 served=openai/m",
        'x" status=200 served="openai/m',
        "x\\",
        'x\\" served=openai/m y="',
        "x\u3000status=200",
        "status=200",
    ],
)
async def test_a_value_cannot_look_like_another_field(said: str) -> None:
    with logged(format="text") as stream:
        await ask(gateway(FakeProvider()), "POST", PATHS["chat"], body("chat") | {"model": said})
        await ask(gateway(FakeProvider()), "GET", f"/{said}")
    asked, nowhere = stream.getvalue().splitlines()
    assert (fields(asked)["status"], fields(asked)["path"], "served" in fields(asked)) == ("404", PATHS["chat"], False)
    assert fields(asked)["asked"] == said.encode("ascii", "backslashreplace").decode()
    assert fields(nowhere)["path"] == f"/{said}".encode("ascii", "backslashreplace").decode()
    assert set(fields(nowhere)) == {"method", "path", "status", "seconds"}


def fields(line: str) -> dict[str, str]:
    """What a line for people says, read as logfmt; the first three values have no names."""
    rest = line.partition("plano.access: ")[2]
    pairs = re.findall(r'((?:\w+=)?)("(?:[^"\\]|\\.)*"|[^\s"=]+)', rest)
    assert " ".join(name + value for name, value in pairs) == rest
    names = ["method", "path", "status", *(name.removesuffix("=") for name, _ in pairs[3:])]
    values = [re.sub(r'\\(["\\])', r"\1", value[1:-1]) if value[0] == '"' else value for _, value in pairs]
    return dict(zip(names, values, strict=True))


async def test_a_body_is_one_line_in_the_text_log() -> None:
    with logged(format="text") as stream:
        app = gateway(FakeProvider(), log={"bodies": True})
        await ask(app, "POST", PATHS["chat"], b"x\n14:53:08 INFO plano.access: forged\n\x1b[2J")
    found = stream.getvalue()
    assert r"x\n14:53:08 INFO plano.access: forged\n\x1b[2J" in found
    assert "\x1b" not in found
    assert not [line for line in found.splitlines() if not re.match(r"\d\d:\d\d:\d\d INFO    plano\.", line)]


def test_a_traceback_for_people_has_lines_of_its_own_and_no_escapes() -> None:
    with logged(format="text") as stream:
        try:
            raise RuntimeError("\x1b[2J\tgone")
        except RuntimeError:
            logging.getLogger("plano").exception("failed\nwith it")
    first, second, *_, last = stream.getvalue().splitlines()
    assert first.endswith(r"plano: failed\nwith it")
    assert second == "Traceback (most recent call last):"
    assert last == "RuntimeError: \\x1b[2J\tgone"


async def test_a_host_gets_records_of_the_usual_kind(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="plano.access"):
        await ask(gateway(FakeProvider()), "POST", PATHS["chat"], body("chat"))
    (record,) = caplog.records
    assert isinstance(record.msg, Line)
    assert record.msg.fields()["served"] == "openai/m"
    assert record.getMessage().startswith("POST /v1/chat/completions 200 ")


async def test_the_access_log_can_be_switched_off(caplog: pytest.LogCaptureFixture) -> None:
    app = gateway(FakeProvider(), log={"access": False})
    with caplog.at_level(logging.DEBUG, logger="plano.access"):
        await ask(app, "POST", PATHS["chat"], body("chat"))
        await ask(app, "GET", "/v1/models")
    assert caplog.records == []


async def test_lines_wait_for_each_other_but_warnings_do_not() -> None:
    with logged() as stream:
        logger = logging.getLogger("plano")
        logger.info("one")
        logger.info("two")
        assert stream.getvalue() == ""
        await asyncio.sleep(2 * logs.FLUSH_SECONDS)
        assert [line["message"] for line in lines(stream)] == ["one", "two"]
        logger.info("three")
        logger.error("four")
        assert [line["message"] for line in lines(stream)] == ["one", "two", "three", "four"]


async def test_lines_are_written_whole_so_that_processes_can_share_a_pipe() -> None:
    written: list[str] = []

    class Pipe(io.StringIO):
        def write(self, text: str) -> int:
            written.append(text)
            return len(text)

    handler = logs.BatchHandler(Pipe(), logs.JSONFormatter(), delay=60)
    record = logging.makeLogRecord({"msg": "x" * 300, "levelno": logging.INFO})
    for _ in range(50):
        handler.emit(record)
    handler.emit(logging.makeLogRecord({"msg": "y" * 9000, "levelno": logging.INFO}))
    handler.flush()
    assert all(text.endswith("}\n") for text in written)
    assert all(len(text) <= 4096 for text in written[:-1])
    assert sum(text.count("\n") for text in written) == 51
    assert 2 < len(written) < 10


def test_without_an_event_loop_lines_are_written_at_once() -> None:
    with logged() as stream:
        logging.getLogger("plano").info("one")
        assert lines(stream)[0]["message"] == "one"


def test_a_traceback_is_part_of_its_line() -> None:
    with logged(secrets=[Secret("hunter2-hunter2")]) as stream:
        try:
            raise RuntimeError("the key hunter2-hunter2 is wrong")
        except RuntimeError:
            logging.getLogger("plano").exception("failed with %s", "hunter2-hunter2")
    (line,) = lines(stream)
    assert line["message"] == "failed with ***"
    assert "RuntimeError: the key *** is wrong" in line["exception"]


# --- keys -----------------------------------------------------------------------------------------


def planted(tmp_path: Path) -> dict[str, Any]:
    return {
        "model_providers": [
            {
                "model": "openai/m",
                "access_key": PLANTED["upstream"],
                "headers": {"x-extra": PLANTED["header"]},
            },
            {
                "model": "acme/gone",
                "base_url": "http://127.0.0.1:9/v1",
                "provider_interface": "openai",
                "access_key": PLANTED["upstream"],
                "proxy": f"http://user:{PLANTED['proxy']}@127.0.0.1:9",
            },
        ],
        "auth": {"keys": [{"name": "app", "key": PLANTED["caller"]}]},
        "state_storage": {"type": "sqlite", "path": str(tmp_path / "state.sqlite3")},
        "prices": {"models": {"openai/m": {"input": 1}}},
    }


async def leaky(request: Request, call_next: CallNext) -> Response:
    """A filter that says what it should not, when it breaks."""
    if "x-leak" in request.headers:
        raise RuntimeError(f"cannot go on with {PLANTED['upstream']}")
    return await call_next(request)


@pytest.mark.parametrize("format", ["json", "text"])
@pytest.mark.parametrize("bodies", [False, True])
async def test_planted_keys_are_found_nowhere(bodies: bool, format: logs.Format, tmp_path: Path) -> None:
    config = load(planted(tmp_path) | {"log": {"bodies": bodies}})
    provider = FakeProvider()
    seen: list[str] = []
    with logged("debug", format, secrets=config.secrets()) as stream:
        connected, alone = Plano(config, transport=provider, filters=[leaky]), Plano(config, filters=[leaky])
        for key in (PLANTED["caller"], PLANTED["stranger"]):
            for headers in ({"authorization": f"Bearer {key}"}, {"x-api-key": key, "x-leak": "1"}):
                provider.fail(401, "Incorrect API key provided: sk-ups***")
                provider.reply("Hi")
                for client in DIALECTS:
                    for app, model in ((connected, "openai/m"), (connected, "openai/m"), (alone, "acme/gone")):
                        asked = body(client, max_tokens=9) | {"model": model}
                        seen.append(await everything(app, "POST", PATHS[client], asked, headers))
                    asked = body(client) | {"model": PLANTED["stranger"]}  # a key in the wrong place
                    await ask(connected, "POST", PATHS[client], asked, headers)
                for path in ("/metrics", "/readyz", "/v1/models", f"/v1/models?key={key}", f"/x?key={key}"):
                    seen.append(await everything(connected, "GET", path, b"", headers))
        seen += [f"{config!r} {app.models!r} {app.pipeline}" for app in (connected, alone)]
        await connected.aclose()
        await alone.aclose()
    found = stream.getvalue()
    assert "cannot go on with ***" in found
    assert ("plano.bodies" in found) == bodies
    for text in [found, *seen]:
        for name, secret in PLANTED.items():
            assert secret not in text, name


async def everything(app: Plano, method: str, path: str, asked: Any, headers: dict[str, str]) -> str:
    answer = await ask(app, method, path, asked, headers)
    return f"{answer.headers} {answer.body.decode()}"


async def test_a_body_log_leaves_out_what_is_secret_and_what_is_long() -> None:
    provider = FakeProvider()
    provider.reply("Hi there")
    app = gateway(provider, log={"bodies": True})
    asked = body("chat", metadata={"api_key": "plain-words", "password": 'with \\" quotes', "max_tokens": "9"})
    asked["messages"][0]["content"] = f"Use {PLANTED['upstream']} or AIzaSyA1234567890 {'QUJD' * 100}"
    with logged(format="text") as stream:
        await ask(app, "POST", PATHS["chat"], asked)
        await ask(app, "POST", PATHS["chat"], body("chat", stream=True))
        await ask(app, "POST", PATHS["chat"], body("chat") | {"user": "n " * LOGGED_CHARACTERS})
    logged_bodies = [line for line in stream.getvalue().splitlines() if "plano.bodies" in line]
    first, reply = logged_bodies[:2]
    assert '"api_key": "***", "password": "***", "max_tokens": "9"' in first
    assert "Use *** or *** <400 characters of base64>" in first
    assert "Hi there" in reply
    text = stream.getvalue()
    assert '"content":"Hi"' in text.replace(" ", "")
    assert "[DONE]" in text
    assert max(map(len, text.splitlines())) < LOGGED_CHARACTERS + 200


async def test_bodies_are_not_logged_unless_the_configuration_says_so() -> None:
    with logged("debug") as stream:
        await ask(gateway(FakeProvider()), "POST", PATHS["chat"], body("chat") | {"user": "not-for-logs"})
    assert "not-for-logs" not in stream.getvalue()
    assert "Hello" not in stream.getvalue()


def test_a_line_that_cannot_be_written_is_said_and_spoils_no_other() -> None:
    class Unspeakable:
        def __str__(self) -> str:
            raise ValueError("no words")

    with logged() as stream:
        (handler,) = (
            each for each in logging.getLogger("plano.access").handlers if isinstance(each, logs.BatchHandler)
        )
        ids: list[Any] = ["first", Unspeakable(), "last"]
        with pytest.raises(ValueError, match="no words"):
            handler.take(logging.INFO, [(1e9, Line("POST", "/", 200, 0.1, id=id)) for id in ids])
    assert [line["id"] for line in lines(stream)] == ["first", "last"]


def test_lines_of_several_threads_stay_whole_and_none_is_lost() -> None:
    def info(number: int) -> None:
        for at in range(200):
            handler.take(logging.INFO, [(1e9, Line("POST", "/é", 200, 0.1, id=f"{number}-{at}"))])
            if at % 50 == 0:
                logging.getLogger("plano").warning("%d-%d", number, at)

    with logged() as stream:
        (handler,) = (
            each for each in logging.getLogger("plano.access").handlers if isinstance(each, logs.BatchHandler)
        )
        handler._delay = 60.0
        threads = [threading.Thread(target=info, args=(number,)) for number in range(4)]
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            sys.setswitchinterval(interval)
    found = [line["id"] for line in lines(stream) if "id" in line]
    assert sorted(found) == sorted(f"{number}-{at}" for number in range(4) for at in range(200))
