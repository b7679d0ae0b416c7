"""A deploy while a site is used: nobody is cut off, and new code serves.

For maitred alone: the references restart, and what they lose is theirs to tell.
"""

from __future__ import annotations

import hashlib
import http.client
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import sites
from sites import Site, wait_for
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

APPLICATIONS = {
    "wsgi": """
def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "1")])
    return [b"%d"]
""",
    "asgi": """
async def app(scope, receive, send):
    if scope["type"] != "http":
        raise ValueError("only http")
    headers = [(b"content-length", b"1")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"%d"})
""",
}


@pytest.fixture(autouse=True)
def only_maitred(server: str) -> None:
    if server != "maitred":
        pytest.skip("the references restart")


def answer_of(client: httpx.Client, url: str) -> str:
    """The text, or what has happened instead."""
    try:
        answer = client.get(url)
    except httpx.HTTPError as error:
        return repr(error)
    return answer.text if answer.status_code == 200 else str(answer)


@contextmanager
def asking(url: str) -> Iterator[list[str]]:
    """Asks one request after the other, meanwhile, on a kept connection; every answer in order."""
    answers: list[str] = []
    ends = threading.Event()

    def ask() -> None:
        with httpx.Client(timeout=sites.WAIT_SECONDS_MAX) as client:
            while not ends.is_set():
                answers.append(answer_of(client, url))

    asker = threading.Thread(target=ask)
    asker.start()
    try:
        yield answers
    finally:
        ends.set()
        asker.join(sites.WAIT_SECONDS_MAX)


@pytest.mark.parametrize("interface", ["wsgi", "asgi"])
def test_new_code_serves_after_a_reload_and_nobody_is_refused(
    server: str, interface: str, tmp_path: Path
) -> None:
    # Compiled files are told apart by seconds, and this one changes faster.
    environment = {"PYTHONDONTWRITEBYTECODE": "1"}
    file = tmp_path / "deployed.py"
    file.write_text(APPLICATIONS[interface] % 1)
    command = sites.command(server, interface, "deployed:app", tmp_path, workers=2)
    with Site(command, environment=environment) as site, asking(site.url) as answers:
        wait_for(lambda: "1" in answers, "the old code's answers")
        for version in (2, 3):
            file.write_text(APPLICATIONS[interface] % version)
            site.reload()
            wait_for(lambda: str(version) in answers, "the new code's answers")  # noqa: B023
            # Another worker may still have the old code; not for long.
            wait_for(lambda: answers[-20:] == [str(version)] * 20, "new code alone")  # noqa: B023
    assert set(answers) == {"1", "2", "3"}


@pytest.mark.parametrize("interface", ["wsgi", "asgi"])
def test_broken_code_does_not_take_the_site_away(
    server: str, interface: str, tmp_path: Path
) -> None:
    environment = {"PYTHONDONTWRITEBYTECODE": "1"}
    file = tmp_path / "deployed.py"
    file.write_text(APPLICATIONS[interface] % 1)
    command = sites.command(server, interface, "deployed:app", tmp_path, workers=2)
    with Site(command, environment=environment) as site, asking(site.url) as answers:
        file.write_text("raise RuntimeError('this deploy has a mistake')\n")
        site.reload()
        wait_for(lambda: "this deploy has a mistake" in site.log(), "the traceback")
        seen = len(answers)
        wait_for(lambda: len(answers) > seen + 20, "answers after that")
    assert set(answers) == {"1"}


@pytest.mark.parametrize("interface", ["wsgi", "asgi"])
def test_an_upload_goes_on_through_a_reload(server: str, interface: str, library: Path) -> None:
    content = random.Random(9).randbytes(4 * 1024 * 1024)
    command = sites.command(
        *(server, interface, sites.LIBRARY[interface], sites.APPS / "django_library"),
        # The application has the request from the first byte on.
        flags=["--buffer-request", "0"] if interface == "wsgi" else [],
    )
    with Site(command, environment={"LIBRARY_DATA": str(library)}) as site:
        pid = httpx.get(f"{site.url}/request").json()["pid"]
        upload = http.client.HTTPConnection("127.0.0.1", site.port, timeout=20)
        upload.putrequest("POST", "/raw")
        upload.putheader("Content-Length", str(len(content)))
        upload.endheaders()
        upload.send(content[: len(content) // 2])
        site.reload()
        wait_for(
            lambda: httpx.get(f"{site.url}/request").json()["pid"] != pid, "the worker after it"
        )
        upload.send(content[len(content) // 2 :])
        answer = upload.getresponse()
        assert answer.status == 200
        assert hashlib.sha256(content).hexdigest() in answer.read().decode()
        upload.close()


def test_open_sockets_are_told_to_come_again(server: str) -> None:
    flags = ["--graceful-timeout", "1"]
    folder = sites.APPS / "starlette_echo"
    with Site(sites.command(server, "asgi", "echo:app", folder, flags=flags)) as site:
        with connect(f"ws://127.0.0.1:{site.port}/echo") as echo:
            echo.send("before")
            assert echo.recv(sites.WAIT_SECONDS_MAX) == "before"
            site.reload()
            with pytest.raises(ConnectionClosed) as closed:
                echo.recv(sites.WAIT_SECONDS_MAX)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
        with connect(f"ws://127.0.0.1:{site.port}/echo") as echo:
            echo.send("after")
            assert echo.recv(sites.WAIT_SECONDS_MAX) == "after"
