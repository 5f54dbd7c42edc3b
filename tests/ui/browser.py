"""A real browser, Debian's Chromium without a window, driven over the DevTools protocol."""

from __future__ import annotations

import base64
import itertools
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from websockets.sync.client import ClientConnection, connect

INSTALL = Path(__file__).parents[2] / "scripts" / "install-chromium.sh"
NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
)
PATIENCE = 20.0
"""Seconds for whatever is waited for; nothing is expected to take them."""


def find_browser() -> str:
    """The browser's executable, installed if that is possible; an AssertionError says what to do if it is not."""
    found = _installed()
    if found is None:
        subprocess.run([INSTALL], check=False)
        found = _installed()
    assert found, "The page at /ui is tested in a real browser: install Chromium (`apt-get install chromium`)."
    return found


def _installed() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Navigated(Exception):
    """The page went elsewhere while it was asked something."""


class Browser:
    """One process with a profile of its own; `page()` opens a tab."""

    def __init__(self) -> None:
        self._profile = tempfile.mkdtemp(prefix="plano-chromium-")
        self._log = Path(self._profile) / "log"
        command = [find_browser(), *FLAGS, f"--user-data-dir={self._profile}", "about:blank"]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log)
        port, path = self._wait_for_port()
        self._open = ExitStack()
        self.connection = Connection(self._open.enter_context(connect(f"ws://127.0.0.1:{port}{path}", max_size=None)))

    def _wait_for_port(self) -> tuple[str, str]:
        file = Path(self._profile) / "DevToolsActivePort"

        def told() -> list[str]:
            assert self._process.poll() is None, self._log.read_text(errors="replace")
            return file.read_text().split() if file.exists() else []

        port, path = wait_until(lambda: (lines := told()) and len(lines) == 2 and lines)
        return port, path

    def page(self) -> Page:
        return Page(self.connection)

    def close(self) -> None:
        self._open.close()
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._profile, ignore_errors=True)


class Connection:
    """Calls over one socket; what comes in between is kept for whoever asks."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, session: str | None = None, **params: Any) -> Any:
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if session is not None:
            message["sessionId"] = session
        self._socket.send(json.dumps(message))
        while True:
            answer = json.loads(self._socket.recv(PATIENCE))
            if answer.get("id") == number:
                if "navigated" in str(answer.get("error")):
                    raise Navigated(method)
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
            self.events.append(answer)


class Page:
    """A tab, in a context of its own: nothing is shared with other tabs."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._context = connection.call("Target.createBrowserContext")["browserContextId"]
        target = connection.call("Target.createTarget", url="about:blank", browserContextId=self._context)
        self._session = connection.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.size(1280, 900)

    def call(self, method: str, **params: Any) -> Any:
        return self._connection.call(method, self._session, **params)

    def go(self, url: str) -> None:
        assert "errorText" not in self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def js(self, expression: str) -> Any:
        """The value of an expression, awaited if it is a promise."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def wait(self, expression: str) -> Any:
        """Wait until an expression is true."""

        def happened() -> Any:
            try:
                return self.js(expression)
            except Navigated:
                return False

        return wait_until(happened, lambda: f"{expression}\n{self.js('document.body.innerText')}")

    def text(self, selector: str) -> str:
        return str(self.js(f"document.querySelector({json.dumps(selector)}).innerText"))

    def click(self, selector: str) -> None:
        with suppress(Navigated):
            self.js(f"document.querySelector({json.dumps(selector)}).click()")

    def fill(self, selector: str, value: str) -> None:
        self.js(
            f"{{ const field = document.querySelector({json.dumps(selector)}); field.value = {json.dumps(value)};"
            "for (const kind of ['input', 'change']) field.dispatchEvent(new Event(kind, {bubbles: true})); }"
        )

    def size(self, width: int, height: int, *, mobile: bool = False, scale: float = 1) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=mobile
        )

    def scheme(self, name: str) -> None:
        """`light` or `dark`."""
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def picture(self, path: Path, *, whole: bool = False) -> Path:
        """A PNG of what is seen, or of the whole page."""
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))
        return path

    def complaints(self) -> list[str]:
        """Errors in the console, exceptions nobody caught, and what the content security policy forbade."""
        found = []
        for event in self._events():
            params = event.get("params", {})
            if event["method"] == "Runtime.exceptionThrown":
                found.append(json.dumps(params["exceptionDetails"])[:500])
            elif event["method"] == "Runtime.consoleAPICalled" and params["type"] in ("error", "assert"):
                found.append(json.dumps(params["args"])[:500])
            elif event["method"] == "Log.entryAdded" and params["entry"]["level"] == "error":
                found.append(params["entry"]["text"])
        return found

    def asked(self) -> list[str]:
        """URLs of everything that was requested."""
        return [
            event["params"]["request"]["url"]
            for event in self._events()
            if event["method"] == "Network.requestWillBeSent"
        ]

    def hosts(self) -> set[str]:
        return {urlsplit(url).netloc for url in self.asked()}

    def _events(self) -> list[dict[str, Any]]:
        self.js("0")  # reads what has come in
        return [event for event in self._connection.events if event.get("sessionId") == self._session]

    def close(self) -> None:
        self._connection.call("Target.disposeBrowserContext", browserContextId=self._context)


def wait_until(happened: Callable[[], Any], explain: Callable[[], str] = str) -> Any:
    """What `happened` returns once that is true."""
    end = time.monotonic() + PATIENCE
    while True:
        found = happened()
        if found:
            return found
        assert time.monotonic() < end, f"waited in vain for {explain()}"
        time.sleep(0.02)
