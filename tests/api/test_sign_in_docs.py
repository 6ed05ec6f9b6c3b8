"""docs/api/sign-in.md: its commands run as they stand, its single-page app signs somebody in."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import pytest
from auth_site import WEB
from test_api_docs import shell

from api.oauth.endpoints import metadata_of
from api.oauth.providers import read_providers
from graphql_schema.export import SIGN_IN_FILE

TEXT = SIGN_IN_FILE.read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.skipif(shutil.which("curl") is None, reason="the commands use curl, which is not on this machine")
def test_the_service_works_as_it_stands(auth):
    with shell("\necho\n".join(blocks("sh")), auth.base) as process:
        out, said = process.communicate(timeout=30)
    assert process.returncode == 0, said
    answers = [json.loads(line) for line in out.splitlines() if line]
    assert answers[0]["data"]["jobs"]["nodes"] == []
    assert answers[1]["data"]["requestTask"]["task"]["id"]


DRIVER = """
const kept = {};
console.log(await authorizationUrl(kept));
const { createInterface } = await import("node:readline");
for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await tokensFrom(line, kept)));
  break;
}
process.exit(0);
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="the single-page app's code is JavaScript, which needs Node")
def test_the_single_page_app_signs_somebody_in(auth, tmp_path):
    (code,) = blocks("js")
    client, browser = auth.client()[0], auth.browser()
    code = code.replace("https://api.example.org", auth.base).replace('CLIENT_ID = "..."', f'CLIENT_ID = "{client}"')
    program = tmp_path / "app.mjs"
    program.write_text(code + DRIVER)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(["node", program], **pipes) as node:
        browser.sign_in()
        browser.get(node.stdout.readline().strip())
        browser.allow()
        back = browser.page.headers["location"]
        assert back.startswith(WEB)
        out, _ = node.communicate(f"{back}\n", timeout=30)
    assert auth.caller(json.loads(out)["access_token"]).ask("{ viewer { user { id } } }")["viewer"]


def test_every_address_is_in_the_table():
    table = TEXT.partition("## Register")[0]
    for name, value in metadata_of("").items():
        if name.endswith(("_endpoint", "_uri")):
            assert f"`{value}`" in table, name


def test_the_example_of_providers_is_one(tmp_path):
    (block,) = blocks("json")
    file = tmp_path / "providers.json"
    file.write_text(block)
    file.chmod(0o600)
    assert list(read_providers(file, environ={"GOOGLE_SECRET": "x"})) == ["google", "github", "discord"]
