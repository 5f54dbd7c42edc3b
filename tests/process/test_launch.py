"""The configuration's text, which is read once: every worker loads the same, even if the file changes."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from plano.config import load
from plano.errors import ConfigError
from plano.process.launch import Launch, Source

TEXT = """\
model_providers: [{model: openai/gpt-4o, access_key: $KEY}]
listeners: [{name: l, type: model, address: 0.0.0.0, port: 8000}]
state_storage: {type: none}
drain: {timeout: 2m, delay: 5s}
log_level: warning
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KEY", "sk-upstream-0123456789")
    file = tmp_path / "plano_config.yaml"
    file.write_text(TEXT)
    return file


def test_it_loads_what_was_read_and_not_what_the_file_says_now(file: Path) -> None:
    launch = Launch(source=Source.of(file))
    before = launch.config()
    file.write_text("nonsense")
    handed_on: Launch = pickle.loads(pickle.dumps(launch))
    assert handed_on.config() == before
    assert before.providers == load({"model_providers": [{"model": "openai/gpt-4o", "access_key": "$KEY"}]}).providers
    with pytest.raises(ConfigError, match=r"plano_config\.yaml:1"):
        launch.again().config()
    file.unlink()
    with pytest.raises(ConfigError, match="there is no such file"):
        launch.again()


def test_options_take_precedence_over_the_file(file: Path) -> None:
    source = Source.of(file)
    config = Launch(source=source).config()
    listener = config.listener
    assert (listener.address, listener.port, config.log_level, config.loopback) == ("0.0.0.0", 8000, "warning", False)
    assert (config.drain.timeout, config.drain.delay, config.ui) == (120.0, 5.0, False)
    config = Launch(source=source, host="::1", port=0, level="debug", drain_seconds=0.0).config()
    listener = config.listener
    assert (listener.address, listener.port, config.log_level, config.loopback) == ("::1", 0, "debug", True)
    assert (config.drain.timeout, config.drain.delay, config.ui) == (0.0, 5.0, True)


def test_no_key_is_in_what_is_handed_on_but_what_the_file_itself_says(file: Path) -> None:
    assert b"sk-upstream" not in pickle.dumps(Launch(source=Source.of(file)))


def test_without_a_file_it_is_the_environment_again() -> None:
    launch = Launch(source=Source())
    assert launch.config().file is None
    assert launch.again().source.file is None


LIMIT = "ratelimits: [{selector: {by: tenant}, limit: {requests: 10, unit: minute}}]\n"
BUDGET = "budgets: [{name: lab, selector: {by: tenant}, limit: {tokens: 10, unit: day}}]\n"
REDIS = "shared_state: {type: redis, url: 'redis://127.0.0.1:6379/0'}\n"


@pytest.mark.parametrize("limits", [LIMIT, BUDGET])
def test_several_processes_need_one_place_to_count_limits(file: Path, limits: str) -> None:
    file.write_text(TEXT + limits)
    assert Launch(source=Source.of(file)).config().rules or Launch(source=Source.of(file)).config().budgets
    with pytest.raises(ConfigError, match="callers would get 2 times as much"):
        Launch(source=Source.of(file), workers=2).config()
    file.write_text(TEXT + limits + REDIS)
    Launch(source=Source.of(file), workers=2).config()
