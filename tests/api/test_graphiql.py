"""GraphiQL at the API's address: its files by name and to the byte, and a person at work with it in a real browser."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from auth_site import AuthSite
from chromium import CHROMIUM, Tab, tab
from running_api import serving
from starlette.applications import Starlette
from starlette.testclient import TestClient

from api import graphiql
from api.app import create_app
from api.ide import Ide
from api.settings import Settings, from_env
from core.errors import BadInput
from oa.embedded import free_port
from oa.stack import plan

FOLDER = Path(os.environ.get("OA_GRAPHIQL") or Path(__file__).parents[2] / "var" / "graphiql")
fetched = pytest.mark.skipif(not FOLDER.is_dir(), reason="`make graphiql` was not run")
QUERY = ".graphiql-query-editor .CodeMirror"
HEADERS = ".graphiql-editor-tool .graphiql-editor:nth-of-type(2) .CodeMirror"
SHOWN = "document.querySelector('.graphiql-response .CodeMirror').CodeMirror.getValue()"
WATCH = "window.refused = []; addEventListener('securitypolicyviolation', (e) => refused.push(e.violatedDirective))"


@pytest.fixture
def client() -> TestClient:
    return TestClient(Starlette(routes=[graphiql.route({name: name.encode() for name in graphiql.SHA256})]))


def test_its_files_are_served_by_name_and_kept(client: TestClient) -> None:
    for name in graphiql.SHA256:
        response = client.get(graphiql.address(name))
        assert response.content == name.encode()
        assert response.headers["content-type"].startswith("text/css" if name.endswith(".css") else "text/javascript")
        assert response.headers["cache-control"] == "public, max-age=31536000, immutable"
        again = client.get(graphiql.address(name), headers={"if-none-match": response.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("name", ["", "other.js", "../app.py", "%2e%2e/app.py", "..%2fapp.py", "graphiql.min.js/"])
def test_nothing_else_is_served(client: TestClient, name: str) -> None:
    assert client.get(f"/graphiql/{name}", follow_redirects=False).status_code in (307, 404)


def test_a_folder_without_the_files_or_with_others_ends_the_start(tmp_path: Path) -> None:
    environ = {"OA_MODE": "embedded", "OA_MONGODB_URI": "mongodb://127.0.0.1:1", "OA_GRAPHIQL": str(tmp_path)}
    with pytest.raises(BadInput, match=r"OA_GRAPHIQL is .* has no react.production.min.js; .*make graphiql"):
        from_env(environ)
    for name in graphiql.SHA256:
        (tmp_path / name).write_text("alert(1)")
    with pytest.raises(BadInput, match=r"OA_GRAPHIQL is .* whose react.production.min.js is another"):
        from_env(environ)


def test_the_stack_of_one_machine_has_it_where_it_was_fetched(tmp_path: Path) -> None:
    assert "OA_GRAPHIQL" not in plan(tmp_path, {}, {}).environment
    (tmp_path / "graphiql").mkdir()
    assert plan(tmp_path, {}, {}).environment["OA_GRAPHIQL"] == str(tmp_path / "graphiql")
    assert plan(tmp_path, {"OA_GRAPHIQL": "/mine"}, {}).environment["OA_GRAPHIQL"] == "/mine"


def test_the_page_allows_its_own_scripts_and_no_more() -> None:
    page = Ide(development=False, client='"><script>alert(1)</script>', with_graphiql=True)
    first, second = page.response(), page.response()
    policy, html = first.headers["content-security-policy"], bytes(first.body).decode()
    allowed = dict(part.split(" ", 1) for part in policy.split("; "))
    (own,) = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(own.encode()).digest()).decode()
    assert allowed["script-src"] == f"'self' 'sha256-{digest}'"
    assert allowed["default-src"] == "'none'"
    assert allowed["connect-src"] == "'self'"
    (nonce,) = re.findall(r'<style nonce="(.*?)">', html)
    assert allowed["style-src"] == f"'self' 'nonce-{nonce}'"
    assert nonce not in second.headers["content-security-policy"]
    loaded = re.findall(r'(?:src|href)="(/graphiql/[^"]+)" integrity="([^"]+)"', html)
    assert loaded == [(graphiql.address(name), graphiql.integrity(name)) for name in graphiql.SHA256]
    assert not re.search(r"(?:https?:)?//[\w.-]+\.\w+|@import", html)


@fetched
def test_files_are_served_where_the_page_is_offered(settings: Settings, tmp_path: Path) -> None:
    with serving(replace(settings, graphiql=FOLDER)) as base:
        for name, wanted in graphiql.SHA256.items():
            response = httpx.get(base + graphiql.address(name))
            assert hashlib.sha256(response.content).hexdigest() == wanted
            assert response.headers["x-content-type-options"] == "nosniff"
        assert httpx.get(f"{base}/graphiql/graphiql.js").status_code == 404
        page = httpx.get(f"{base}/graphql", headers={"accept": "text/html"})
        assert "GraphiQL" in page.text
        assert page.headers["cache-control"] == "no-store"


@fetched
def test_production_has_neither_files_nor_page_unless_a_client_is_named(auth: AuthSite) -> None:
    closed = replace(
        auth.settings, mode="production", mail_outbox=None, graphiql=FOLDER, public_url="https://api.example.org",
        rate_limits="",
    )  # fmt: skip
    for given, status in ((closed, 404), (replace(closed, page_client="page"), 200)):
        web = TestClient(create_app(given), base_url="http://127.0.0.1")
        for name in graphiql.SHA256:
            assert web.get(graphiql.address(name)).status_code == status


@contextmanager
def working(auth: AuthSite, folder: Path, width: int) -> Iterator[tuple[Tab, str]]:
    """A tab of `width` pixels, and the address of an API with GraphiQL whose page signs people in."""
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    client, _ = auth.client(name="Page", redirect_uris=[f"{base}/graphql"])
    mine = replace(auth.settings, public_url=base, token_issuer=base, page_client=client, graphiql=FOLDER)
    mine = replace(mine, introspection="signed-in")
    with serving(mine, port), tab(folder) as page:
        metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 800}
        page.call("Emulation.setDeviceMetricsOverride", **metrics)
        page.call("Page.enable")
        page.call("Page.addScriptToEvaluateOnNewDocument", source=WATCH)
        page.open(f"{base}/graphql")
        yield page, base


def write(page: Tab, editor: str, text: str) -> None:
    """Replace what an editor holds."""
    found = f"document.querySelector({json.dumps(editor)})"
    page.until(f"{found} && ({found}.CodeMirror.setValue({json.dumps(text)}), true)")


def press_key(page: Tab, key: str) -> None:
    for kind in ("keyDown", "keyUp"):
        text = {"text": key} if kind == "keyDown" else {}
        page.call("Input.dispatchKeyEvent", type=kind, key=key, **text)


@fetched
@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")
@pytest.mark.parametrize("width", [390, 1280])
def test_a_person_signs_in_and_works_with_it(auth: AuthSite, tmp_path: Path, width: int) -> None:
    name = f"grace-{width}"
    with working(auth, tmp_path, width) as (page, base):
        page.until("!!document.querySelector('.graphiql-execute-button')")
        page.press("#login")
        page.fill("form[action='/sign-in/development'] input[name=name]", name)
        page.press("form[action='/sign-in/development'] button")
        page.press("button[value=allow]")
        assert page.until("who.textContent.includes('until') && who.textContent").startswith(f"{name}, until ")
        assert page.value("location.href") == f"{base}/graphql"

        # GraphiQL is whole once it has the schema, and with it the roles that there are.
        page.until("role.options.length > 1")
        page.press(".graphiql-execute-button")
        answer = page.until(f"{SHOWN}.includes('viewer') && {SHOWN}")
        assert json.loads(answer)["data"]["viewer"]["user"] == {"displayName": name}

        # The schema, which is for who is signed in, completes what is written.
        write(page, QUERY, "{ ")
        page.value(f"document.querySelector('{QUERY}').CodeMirror.focus()")
        page.value(f"document.querySelector('{QUERY}').CodeMirror.execCommand('goDocEnd')")
        for key in "vie":
            press_key(page, key)
        hints = "[...document.querySelectorAll('.CodeMirror-hint')].map((each) => each.textContent).join(' ')"
        assert "viewer" in page.until(f"{hints}.includes('viewer') && {hints}")

        write(page, QUERY, 'subscription { taskAvailable(langs: ["en"]) { kind count } }')
        page.press(".graphiql-execute-button")
        assert page.until(f"{SHOWN}.includes('taskAvailable') && {SHOWN}").count("taskAvailable") == 1
        page.press(".graphiql-execute-button[aria-label^='Stop']")

        # A dialog adds a style of its own; the documentation is of our schema.
        page.press("[aria-label='Open settings dialog']")
        page.until("!!document.querySelector('.graphiql-dialog')")
        assert page.value("document.querySelector('.graphiql-dialog').textContent.includes('Persist headers')") is False
        page.press(".graphiql-dialog-close")
        page.press("[aria-label='Show Documentation Explorer']")
        page.until("document.querySelector('.graphiql-plugin').textContent.includes('Mutation')")
        assert page.value("document.documentElement.scrollWidth") == width
        # Beside the editors; on a phone in their place, until it is hidden again.
        editors = "document.querySelector('.graphiql-sessions').getBoundingClientRect().width"
        assert (page.value(editors) > 0) is (width > 800)
        page.press("[aria-label='Hide Documentation Explorer']")
        page.until(f"{editors} > 300")
        assert page.value("refused.join()") == ""

        page.press("#leave")
        assert page.until("who.textContent === 'signed out' && login.hidden === false") is True


@fetched
@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")
def test_no_token_or_header_is_kept_in_the_browser(auth: AuthSite, tmp_path: Path) -> None:
    with working(auth, tmp_path, 1280) as (page, _):
        page.until("!!document.querySelector('.graphiql-execute-button')")
        page.until("document.querySelector('#role').options.length")
        page.press("#sign")
        page.until("who.textContent.includes('until')")
        write(page, HEADERS, '{"x-request-id": "a-secret-of-mine"}')
        write(page, QUERY, "{ __typename }")
        page.until("localStorage['graphiql:tabState'].includes('__typename')")  # the tab has what the editors have
        page.press(".graphiql-execute-button")
        page.until(f"{SHOWN}.includes('Query')")
        page.until("localStorage['graphiql:queries'].includes('__typename')")
        kept = page.value("JSON.stringify(localStorage)")
        assert "a-secret-of-mine" not in kept
        assert page.value("session.token").count(".") == 2
        assert page.value("JSON.stringify(localStorage).includes(session.token)") is False
        assert page.value("JSON.stringify(sessionStorage)") == "{}"
