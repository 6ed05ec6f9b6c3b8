"""docs/api/start.md in a real browser: its command registers the app, its page signs somebody in and does a task."""

from __future__ import annotations

import re
import shutil
import threading
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from chromium import CHROMIUM, tab
from running_api import serving
from test_api_docs import shell

from api.settings import Settings

DOCS = Path(__file__).parents[2] / "docs" / "api"
TEXT = (DOCS / "start.md").read_text("utf-8")
PHONE = DOCS / "examples" / "mobile"


class Files(SimpleHTTPRequestHandler):
    """What `python3 -m http.server` serves, without its log."""

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")
@pytest.mark.skipif(shutil.which("curl") is None, reason="the commands use curl, which is not on this machine")
def test_the_single_page_app_works_as_it_stands(settings: Settings, tmp_path: Path) -> None:
    (html,) = re.findall(r"```html\n(.*?)```", TEXT, re.DOTALL)
    _, register = re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
    site = tmp_path / "site"
    site.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Files, directory=str(site))) as web:
        thread = threading.Thread(target=web.serve_forever, daemon=True)
        thread.start()
        origin = f"http://127.0.0.1:{web.server_port}"
        # As `oa up` has it: no public address is set, so the issuer is the address that was asked.
        with serving(replace(settings, cors_origins=(origin,))) as api, tab(tmp_path / "browser") as page:
            with shell(register, api) as process:
                client, complaints = process.communicate(timeout=30)
            assert process.returncode == 0, complaints
            html = html.replace("http://127.0.0.1:8000", api)
            html = html.replace('CLIENT = "..."', f'CLIENT = "{client.strip()}"')
            (site / "index.html").write_text(html, "utf-8")
            page.open(f"{origin}/")
            page.press("#begin")
            page.fill("form[action='/sign-in/development'] input[name=name]", "ada-in-a-browser")
            page.press("form[action='/sign-in/development'] button")
            page.press("button[value=allow]")
            said = page.until(f"location.origin === '{origin}' && said.innerText.includes('live:') && said.innerText")
            left = page.value("location.href")
        web.shutdown()
    signed_in, open_work, written, live = said.split("\n")[:4]
    assert signed_in == "signed in: ada-in-a-browser"
    assert "INITIAL_PROMPT" in open_work
    assert written == "written: PENDING"
    assert re.fullmatch(r"live: \d+ kinds of work", live)
    assert left == f"{origin}/"


@pytest.mark.parametrize("language", ["swift", "kotlin"])
def test_the_phones_code_is_that_of_the_example(language: str) -> None:
    (shown,) = re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)
    (file,) = (PHONE / language).glob("TenMinutes.*")
    assert file.read_text("utf-8").endswith(shown)
