"""Every form in which servers report an error gives the message to the client, in its own dialect."""

from __future__ import annotations

import json
from typing import Any

import pytest

from plano.dialects import CLIENT_CODECS, CODECS
from plano.types import CLIENT_DIALECTS, ClientDialect
from tests import oracles

EXTRA = {"type": "extra_forbidden", "loc": ["body", "store"], "msg": "Extra inputs are not permitted", "input": False}
SAID = "body.store: Extra inputs are not permitted"

FORMS: dict[str, tuple[Any, str, str | None]] = {
    "OpenAI": ({"error": {"message": "m", "type": "t", "param": "p", "code": "c"}}, "m", "c"),
    "Anthropic": ({"type": "error", "error": {"type": "api_error", "message": "m"}, "request_id": "r"}, "m", None),
    "Google": ({"error": {"code": 400, "message": "m", "status": "INVALID_ARGUMENT"}}, "m", "400"),
    "Google, compatible side": ([{"error": {"code": 400, "message": "m"}}], "m", "400"),
    "Cohere": ({"id": "1", "message": "m"}, "m", None),
    "vLLM": ({"object": "error", "message": "m", "type": "BadRequestError", "param": None, "code": 400}, "m", "400"),
    "Mistral": ({"object": "error", "message": "m", "type": "invalid_model", "code": "1500"}, "m", "1500"),
    "Mistral, validation": ({"object": "error", "message": {"detail": [EXTRA]}, "type": "t"}, SAID, None),
    "FastAPI, validation": ({"detail": [EXTRA, {"loc": ["body", "n", 0], "msg": "x"}]}, f"{SAID}; body.n.0: x", None),
    "FastAPI, a text": ({"detail": "Not Found"}, "Not Found", None),
    "FastAPI, an object": ({"detail": {"error": {"message": "m"}}}, "m", None),
    "FastAPI, under error": ({"error": {"detail": [EXTRA]}}, SAID, None),
    "FastAPI, under error's message": ({"error": {"message": {"detail": [EXTRA]}, "code": 422}}, SAID, "422"),
    "FastAPI, without a place": ({"detail": [{"msg": "x"}, {"msg": "y", "loc": "body"}]}, "x; y", None),
    "Amazon": ({"message": "m"}, "m", None),
    "Amazon, in capitals": ({"Message": "m"}, "m", None),
    "Amazon, with a type": ({"__type": "ValidationException", "message": "m"}, "m", "ValidationException"),
    "Cloudflare": ({"result": None, "success": False, "errors": [{"code": 7000, "message": "m"}]}, "m", "7000"),
    "watsonx": ({"errors": [{"code": "no_model", "message": "m", "more_info": "i"}], "trace": "t"}, "m", "no_model"),
    "Ollama": ({"error": "m"}, "m", None),
    "xAI": ({"code": "invalid-argument", "error": "m"}, "m", "invalid-argument"),
    "a framework's": ({"statusCode": 400, "error": "Bad Request", "message": "m"}, "m", None),
    "OAuth": ({"error": "invalid_grant", "error_description": "m"}, "m", None),
    "Databricks": ({"error_code": "BAD_REQUEST", "message": "m"}, "m", "BAD_REQUEST"),
    "Replicate": ({"title": "Payment required", "detail": "m", "status": 402}, "m", None),
    "only a title": ({"title": "m", "status": 402}, "m", None),
    "several": ({"errors": ["x", {"message": "y"}]}, "x; y", None),
    "a flag": ({"error": True, "message": "m"}, "m", None),
    "a list of texts": (["x", "y"], "x; y", None),
    "a text": ("m", "m", None),
    "nothing in it": ({"error": {"message": ""}, "detail": []}, "", None),
    "an empty object": ({}, "", None),
    "a number": (7, "", None),
    "deeper than anybody looks": ({"error": {"error": {"error": {"error": {"error": [[[[["m"]]]]]}}}}}, "", None),
}


@pytest.mark.parametrize("upstream", CLIENT_DIALECTS)
@pytest.mark.parametrize("form", FORMS)
def test_the_message_is_found_in_every_form(form: str, upstream: ClientDialect) -> None:
    body, message, code = FORMS[form]
    error = CODECS[upstream].read_error(422, json.dumps(body).encode())
    assert error.message == (message or "The upstream answered with status 422.")
    assert error.code == code
    assert error.param == ("p" if form == "OpenAI" else None)
    for client in CLIENT_DIALECTS:
        assert oracles.error(client, CLIENT_CODECS[client].write_error(error))["message"] == error.message


TEXTS = {
    b"": "",
    b" \n": "",
    b"Service Unavailable\n": "Service Unavailable",
    b"upstream connect error\r\nor  disconnect": "upstream connect error or disconnect",
    b"<html>\n<head><TITLE>502 Bad\n Gateway</TITLE></head><body><h1>no</h1></body></html>": "502 Bad Gateway",
    b"<!DOCTYPE html><html lang='de'><title dir=ltr>K\xc3\xb6ln &amp; Bonn</title>": "Köln & Bonn",
    b"<html><body><h1>503 Down</h1></body></html>": "503 Down",
    b"<html><style>b{}</style><script>alert(1)</script><p>It is <b>down</b>.</html>": "It is down .",
    b"<?xml version='1.0'?><Error><Code>Slow</Code><Message>Slow down</Message></Error>": "Slow Slow down",
    b"<html></html>": "",
    b"\xff\xfe": "��",
    b'{"error": {"message": "cut': '{"error": {"message": "cut',
    b"x" * 100_000: "x" * 500,
    b"<title" * 10_000: "<title" * 83 + "<t",
}


@pytest.mark.parametrize("upstream", CLIENT_DIALECTS)
@pytest.mark.parametrize("body", TEXTS, ids=range(len(TEXTS)))
def test_a_body_that_is_no_json_becomes_the_message(body: bytes, upstream: ClientDialect) -> None:
    error = CODECS[upstream].read_error(503, body)
    assert error.message == (TEXTS[body] or "The upstream answered with status 503.")
    assert error.status == 503


def test_a_long_list_is_told_in_part() -> None:
    error = CODECS["chat"].read_error(422, json.dumps({"detail": [EXTRA] * 1000}).encode())
    assert error.message == "; ".join([SAID] * 20)
