"""The page to try the API by hand: it needs nothing from elsewhere, and a real browser fills it from the schema."""

from __future__ import annotations

import json
import re
import secrets
import subprocess
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from auth_site import AuthSite
from browsing import Browser
from chromium import CHROMIUM, FLAGS, tab
from running_api import Caller, serving

from oa.embedded import free_port


def page(caller: Caller) -> str:
    response = caller.http.get(f"{caller.base}/graphql", headers={"accept": "text/html"})
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/html")
    return response.text


def test_the_page_loads_nothing_from_elsewhere(anyone: Caller) -> None:
    assert re.findall(r"(?:https?:)?//[\w.-]+\.\w+|@import|\bsrc=", page(anyone)) == []


def test_what_the_page_asks_of_the_schema_may_be_asked(anyone: Caller) -> None:
    html = page(anyone)
    parts = dict(re.findall(r'const (type|value) = [`"](.*?)[`"];', html))
    value = parts["value"].replace("${type}", parts["type"])
    (document,) = re.findall(r"`(\{ __schema.*?)`", html, re.DOTALL)
    document = document.replace("${type}", parts["type"]).replace("${value}", value)
    types = {each["name"]: each for each in anyone.ask(document)["__schema"]["types"]}
    (langs, _) = next(field for field in types["Subscription"]["fields"] if field["name"] == "taskAvailable")["args"]
    wrapped, depth = langs["type"], 0
    while wrapped.get("ofType"):
        wrapped, depth = wrapped["ofType"], depth + 1
    assert (wrapped["name"], depth) == ("String", 3)


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")
def test_a_browser_shows_the_schema(anyone: Caller, tmp_path: Path) -> None:
    command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={tmp_path}", "--virtual-time-budget=10000", "--dump-dom"]
    shown = subprocess.run([*command, f"{anyone.base}/graphql"], capture_output=True, text=True, timeout=60, check=True)
    documentation = shown.stdout.partition('<nav id="docs">')[2].partition("</nav>")[0]
    for name in ("requestTask", "taskAvailable", "viewer"):
        assert f"<a>{name}</a>" in documentation
    assert '<option value="MODERATOR">' in shown.stdout


def test_outside_embedded_mode_one_signs_in_to_the_page_as_its_client(auth: AuthSite) -> None:
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    client, _ = auth.client(name="Page", redirect_uris=[f"{base}/graphql"])
    with serving(replace(auth.settings, public_url=base, token_issuer=base, page_client=client), port):
        browser = Browser(base)
        html = browser.get("/graphql", accept="text/html").text
        assert f'<meta name="client" content="{client}">' in html
        browser.sign_in("ada-at-the-page")
        verifier, back = secrets.token_urlsafe(32), f"{base}/graphql"
        browser.authorize(client, back, verifier, state="s1", scope=None)
        given = browser.allow()
        # What comes back opens the page again, which redeems the code as its script does.
        assert browser.get(f"/graphql?code={given['code']}&state=s1", accept="text/html").text == html
        form = {
            "grant_type": "authorization_code", "code": given["code"], "redirect_uri": back, "client_id": client,
            "code_verifier": verifier,
        }  # fmt: skip
        got = httpx.post(f"{base}/oauth/token", data=form, timeout=20).json()
        viewer = Caller(base, got["access_token"]).ask("{ viewer { user { displayName } } }")["viewer"]
        assert viewer == {"user": {"displayName": "ada-at-the-page"}}


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")
@pytest.mark.parametrize("width", [390, 1280])
def test_a_person_signs_in_and_asks_in_the_page(auth: AuthSite, tmp_path: Path, width: int) -> None:
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    client, _ = auth.client(name="Page", redirect_uris=[f"{base}/graphql"])
    mine = replace(auth.settings, public_url=base, token_issuer=base, page_client=client)
    with serving(mine, port), tab(tmp_path) as page:
        page.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=width < 800
        )
        page.open(f"{base}/graphql")
        page.press("#login")
        page.fill("form[action='/sign-in/development'] input[name=name]", f"ada-{width}")
        page.press("form[action='/sign-in/development'] button")
        page.press("button[value=allow]")
        assert page.until("who.textContent.startsWith('signed in') && who.textContent") == "signed in for 15 minutes"
        assert page.value("location.href") == f"{base}/graphql"
        page.press("#run")
        answer = page.until("answer.textContent.includes('data') && answer.textContent")
        assert json.loads(answer)["data"]["viewer"]["user"] == {"displayName": f"ada-{width}"}
        assert page.value("document.documentElement.scrollWidth") == width
        for control in ("#query", "#variables", "#headers", "#answer", "#find", "#docs", "#run", "#stop"):
            box = f"document.querySelector('{control}').getBoundingClientRect()"
            assert page.value(f"{box}.left >= 0 && {box}.right <= {width} && {box}.height >= 24"), control


def test_the_page_offers_what_there_is(anyone: Caller) -> None:
    html = page(anyone)
    assert '<meta name="development" content="yes">' in html
    assert '<meta name="client" content="">' in html
