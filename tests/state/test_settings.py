from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from plano.errors import ConfigError
from plano.state import StateSettings, StoreType, Turn, open_store
from plano.types import Secret

DAY = 86_400.0


@pytest.mark.parametrize(
    ("settings", "ttl"),
    [
        (StateSettings(), DAY),
        (StateSettings(type="sqlite"), 30 * DAY),
        (StateSettings(type="redis"), 30 * DAY),
        (StateSettings(ttl_seconds=5.0), 5.0),
    ],
)
def test_memory_keeps_a_day_and_the_others_thirty(settings: StateSettings, ttl: float) -> None:
    assert settings.ttl == ttl


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        (StateSettings(type="sqlite", path="/nosuchfolder/state.sqlite3"), "/nosuchfolder"),
        (StateSettings(type="redis"), r"state_storage\.url"),
        (StateSettings(type="postgres"), r"state_storage\.connection_string"),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(settings: StateSettings, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        open_store(settings)


def test_which_stores_work_across_processes_is_known_before_they_are_used(tmp_path: Path) -> None:
    settings = [
        StateSettings(),
        StateSettings(type="sqlite", path=str(tmp_path / "state.sqlite3")),
        StateSettings(type="redis", url=Secret("redis://127.0.0.1:1")),
        StateSettings(type="postgres", connection_string=Secret("host=127.0.0.1")),
    ]
    stores = [open_store(each) for each in settings]

    assert [(store.name, store.shared) for store in stores] == [
        ("memory", False),
        ("sqlite", True),
        ("redis", True),
        ("postgres", True),
    ]
    assert list(tmp_path.iterdir()) == []


def test_the_memory_store_imports_no_client_library() -> None:
    code = (
        "import sys, plano.state as s; s.open_store(s.StateSettings()); "
        "print({'redis', 'psycopg', 'sqlite3'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2])

    assert run.stdout.strip() == "set()", run.stderr


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_a_store_may_be_used_by_one_event_loop_after_another(kind: StoreType, tmp_path: Path) -> None:
    """As a test client does that runs a loop per request."""
    store = open_store(StateSettings(type=kind, path=str(tmp_path / "state.sqlite3")))
    asyncio.run(store.put("acme", Turn(id="one", kind="chat", created=0.0, payload=b"x")))

    assert len(asyncio.run(store.get_chain("acme", "one"))) == 1
    asyncio.run(store.aclose())


def test_settings_do_not_show_their_secrets() -> None:
    settings = StateSettings(
        type="redis", url=Secret("redis://:hunter2@h"), connection_string=Secret("password=hunter2")
    )

    assert "hunter2" not in repr(settings)
