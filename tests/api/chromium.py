"""A real browser, Chromium without a window, driven by its DevTools protocol; one tab."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from running_api import eventually
from websockets.sync.client import ClientConnection, connect

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage"]


class Tab:
    """What a person does with a page: open it, press, type, read."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.ids = itertools.count(1)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of a command of the protocol."""
        number = next(self.ids)
        self.socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            said = json.loads(self.socket.recv(timeout=20))
            if said.get("id") == number:
                return said.get("result", {})

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)

    def value(self, script: str) -> Any:
        """What an expression is in the page; None where it threw, or the page went away meanwhile."""
        said = self.call("Runtime.evaluate", expression=script, returnByValue=True, userGesture=True)
        return None if "exceptionDetails" in said else said.get("result", {}).get("value")

    def until(self, script: str) -> Any:
        """The first truthy value of an expression."""
        return eventually(lambda: self.value(script))

    def press(self, selector: str) -> None:
        """Click what is there, once the page with it is whole."""
        self.once(selector, "click()")

    def fill(self, selector: str, text: str) -> None:
        """Put a text into a field."""
        self.once(selector, f"value = {json.dumps(text)}")

    def once(self, selector: str, act: str) -> None:
        """Do something with an element, as soon as the page is loaded and has it."""
        found = f"document.querySelector({json.dumps(selector)})"
        self.until(f"document.readyState === 'complete' && {found} && ({found}.{act}, true)")


@contextmanager
def tab(folder: Path) -> Iterator[Tab]:
    """A new tab of a new browser that keeps its things in `folder`."""
    command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={folder}", "--remote-debugging-port=0", "about:blank"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as browser:
        try:
            told = folder / "DevToolsActivePort"
            port = eventually(lambda: told.is_file() and told.read_text().partition("\n")[0])
            pages = [each for each in httpx.get(f"http://127.0.0.1:{port}/json/list").json() if each["type"] == "page"]
            with connect(pages[0]["webSocketDebuggerUrl"], max_size=None) as socket:
                yield Tab(socket)
        finally:
            browser.terminate()
