"""The Kotlin example, compiled by Kotlin's own compiler and run against a running API, warnings being errors.

Sign-in by code with PKCE as an app does it, with a private scheme and with a loopback port, a browser that follows the
pages in place of a Custom Tab; then the first task, its answer, and open work as server-sent events.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from auth_site import NATIVE, AuthSite

ROOT = Path(__file__).parents[2]
MOBILE = ROOT / "docs" / "api" / "examples" / "mobile"
LIBRARY = Path("/usr/share/java/com.android.json.jar")
"""`org.json` as Android has it, of Debian's libandroid-json-java."""
IN_APP = "org.example.app:/callback"
QUICK = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xmx1g"
"""A program that lives for seconds is done sooner without the optimising compiler."""


def compiler() -> list[str]:
    """How Kotlin's compiler is started; nothing where it is missing."""
    installed = MOBILE / "node_modules" / "kotlin-compiler" / "bin" / "kotlinc"
    if installed.is_file():
        return ["bash", str(installed)]
    found = shutil.which("kotlinc")
    return [found] if found else []


MISSING = [
    name
    for name, there in {
        "java (17 or newer)": shutil.which("java"),
        "kotlinc (`make examples`)": compiler(),
        "org.json (Debian: libandroid-json-java)": LIBRARY.is_file(),
    }.items()
    if not there
]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not on this machine: {', '.join(MISSING)}")


@pytest.fixture(scope="module")
def class_path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The example and its driver, compiled; the documents are the program's resources."""
    out = tmp_path_factory.mktemp("kotlin")
    program = out / "phone.jar"
    sources = [*sorted((MOBILE / "kotlin").glob("*.kt")), Path(__file__).with_name("PhoneDriver.kt")]
    ran = subprocess.run(
        [*compiler(), "-Werror", "-include-runtime", "-cp", LIBRARY, "-d", program, *sources],
        env={**os.environ, "JAVA_OPTS": QUICK}, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return f"{program}:{LIBRARY}:{MOBILE / 'operations'}"


@pytest.mark.parametrize(
    ("registered", "redirect"), [(IN_APP, IN_APP), (NATIVE, NATIVE.replace("127.0.0.1", "127.0.0.1:53682"))]
)
def test_a_phone_signs_in_and_does_a_task(auth: AuthSite, class_path: str, registered: str, redirect: str) -> None:
    client, _ = auth.client(redirect_uris=[registered])
    browser = auth.browser()
    name = browser.sign_in()
    main = "org.openassistant.example.PhoneDriverKt"
    command = ["java", *QUICK.split(), "-cp", class_path, main, auth.base, client, redirect]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as phone:
        assert phone.stdout is not None
        browser.get(phone.stdout.readline().strip())
        browser.allow()
        back = browser.page.headers["location"]
        assert back.startswith(redirect)
        out, complaints = phone.communicate(f"{back}\n", timeout=60)
    assert phone.returncode == 0, complaints
    said = out.splitlines()
    assert [line.partition(":")[0] for line in said] == [
        "signed in", "open", "written", "live", "renewed", "kept", *["refused"] * 6,
    ]  # fmt: skip
    signed_in, open_work, written, live, renewed, kept, *refused = said
    assert signed_in == f"signed in: {name}"
    assert "INITIAL_PROMPT" in open_work
    assert written.startswith("written: Why do leaves fall?")
    assert live.endswith("kinds of work")
    assert renewed == f"renewed: {name} 2 true"
    assert kept == "kept: true 2"
    assert [line.removeprefix("refused: ") for line in refused] == [
        "FORBIDDEN", "FORBIDDEN", "access_denied", "invalid_grant", "UNAUTHENTICATED", "UNAUTHENTICATED",
    ]  # fmt: skip
