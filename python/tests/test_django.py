"""A Django site behind its WSGI and its ASGI entry: the same stories, told to both."""

from __future__ import annotations

import contextlib
import hashlib
import random
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import sites
from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test.client import BOUNDARY, MULTIPART_CONTENT, encode_multipart
from sites import Site, wait_for

# Django's test client encodes here; the site itself runs in the server.
settings.configure()

FOLDER = sites.APPS / "django_library"
UPLOAD_SIZE = 24 * 1024 * 1024


@pytest.fixture(scope="module", params=["wsgi", "asgi"])
def site(request: pytest.FixtureRequest, server: str, library: Path) -> Iterator[Site]:
    """The site, with one worker: streams wait for gates that other requests open."""
    interface: str = request.param
    command = sites.command(server, interface, sites.LIBRARY[interface], FOLDER)
    with Site(command, environment={"LIBRARY_DATA": str(library)}) as site:
        assert httpx.get(f"{site.url}/request").json()["interface"] == interface
        yield site


@pytest.fixture
def client(site: Site) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=site.url, timeout=sites.WAIT_SECONDS_MAX) as client:
        yield client


def token(page: httpx.Response) -> str:
    """The CSRF token of a form."""
    found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text)
    assert found is not None, page.text
    return found[1]


def test_a_form_adds_a_book_and_the_session_remembers_it(client: httpx.Client) -> None:
    title = f"Middlemarch <{random.random()}>"
    form = {"title": title, "csrfmiddlewaretoken": token(client.get("/books"))}
    answer = client.post("/books", data=form)
    assert (answer.status_code, answer.headers["location"]) == (302, "/")
    page = client.get("/").text
    assert title.replace("<", "&lt;").replace(">", "&gt;") in page
    assert "added by you: 1" in page
    assert client.post("/books", data={"title": "without a token"}).status_code == 403


def test_the_admin_is_all_there(client: httpx.Client) -> None:
    page = client.get("/admin/", follow_redirects=True)
    login = {
        "username": "keeper",
        "password": "of the books",
        "csrfmiddlewaretoken": token(page),
        "next": "/admin/library/book/add/",
    }
    page = client.post(page.url, data=login, follow_redirects=True)
    assert page.status_code == 200
    assert "Add book" in page.text
    for style in re.findall(r'href="(/static/[^"]+\.css)"', page.text):
        assert client.get(style).headers["content-type"].startswith("text/css")
    title = f"From the admin {random.random()}"
    form = {"title": title, "csrfmiddlewaretoken": token(page), "_save": "Save"}
    page = client.post("/admin/library/book/add/", data=form, follow_redirects=True)
    # The message comes once, out of a cookie or the session.
    assert "was added successfully" in page.text
    assert title in page.text


def test_a_big_upload_by_djangos_own_encoding_arrives_whole(client: httpx.Client) -> None:
    content = random.Random(1).randbytes(UPLOAD_SIZE)
    name = "Wörter.bin"
    form = {
        "author": "Ælfric",
        "large": SimpleUploadedFile(name, content),
        "small": SimpleUploadedFile("small.txt", b"few"),
    }
    body = encode_multipart(BOUNDARY, form)
    answer = client.post("/upload", content=body, headers={"content-type": MULTIPART_CONTENT})
    assert answer.status_code == 200
    assert answer.json() == {
        "fields": {"author": "Ælfric"},
        "files": {
            "large": {
                "name": name,
                "size": len(content),
                "sha256": hashlib.sha256(content).hexdigest(),
                "is_in_memory": False,
            },
            "small": {
                "name": "small.txt",
                "size": 3,
                "sha256": hashlib.sha256(b"few").hexdigest(),
                "is_in_memory": True,
            },
        },
    }


def test_an_upload_without_a_length_is_read_piece_by_piece(
    client: httpx.Client, server: str
) -> None:
    pieces = [random.Random(number).randbytes(number * 997) for number in range(40)]
    whole = b"".join(pieces)
    # Django under WSGI trusts CONTENT_LENGTH alone. maitred has received this body before it calls
    # the application, and knows it; Gunicorn does not, and the same body is empty there.
    is_wsgi = client.get("/request").json()["interface"] == "wsgi"
    answer = client.post("/raw", content=iter(pieces))
    expected = b"" if is_wsgi and server == "reference" else whole
    assert answer.json() == {
        "size": len(expected),
        "sha256": hashlib.sha256(expected).hexdigest(),
    }
    # What was not read does not become the next request: it is skipped, or the connection ends.
    with contextlib.suppress(httpx.RemoteProtocolError):
        assert client.get("/request").status_code == 200


def test_curl_uploads_a_file_and_waits_for_leave(site: Site, tmp_path: Path) -> None:
    content = random.Random(2).randbytes(2 * 1024 * 1024)
    (tmp_path / "file").write_bytes(content)
    curl = ["curl", "--silent", "--show-error", "--fail", "--max-time", "20", "--verbose"]
    upload = [*curl, "--header", "Expect: 100-continue", "--upload-file", str(tmp_path / "file")]
    done = subprocess.run([*upload, f"{site.url}/raw"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "100 Continue" in done.stderr
    assert hashlib.sha256(content).hexdigest() in done.stdout


def test_static_files_by_whitenoise(client: httpx.Client) -> None:
    style = client.get("/static/library/style.css")
    assert style.text == (FOLDER / "library/static/library/style.css").read_text()
    assert style.headers["content-type"].startswith("text/css")
    known = {"if-none-match": style.headers["etag"]}
    again = client.get("/static/library/style.css", headers=known)
    assert (again.status_code, again.content) == (304, b"")
    part = client.get("/static/library/style.css", headers={"range": "bytes=5-9"})
    assert (part.status_code, part.text) == (206, style.text[5:10])
    head = client.head("/static/library/style.css")
    assert head.headers["content-length"] == style.headers["content-length"]
    assert client.get("/static/library/../settings.py").status_code == 404


def test_a_file_response_sends_the_file(client: httpx.Client, library: Path) -> None:
    expected = (library / "book.bin").read_bytes()
    answer = client.get("/file")
    assert answer.headers["content-length"] == str(len(expected))
    assert answer.headers["content-disposition"] == 'attachment; filename="book.bin"'
    assert answer.content == expected


def test_a_stream_arrives_as_it_is_made(client: httpx.Client) -> None:
    with client.stream("GET", "/stream/made") as answer:
        lines = answer.iter_lines()
        # The second line is not made before this one has come and the gate has been opened.
        assert next(lines) == "first"
        assert client.post("/gates/made").json() == {"is_closed": False}
        assert list(lines) == ["second"]
    wait_for(lambda: client.get("/gates/made").json()["is_closed"], "the stream to be closed")


def test_a_stream_whose_client_has_gone_is_closed(client: httpx.Client, site: Site) -> None:
    with httpx.stream("GET", f"{site.url}/stream/left") as answer:
        assert next(answer.iter_lines()) == "first"
    client.post("/gates/left")
    wait_for(lambda: client.get("/gates/left").json()["is_closed"], "the stream to be closed")


def test_the_request_is_told_as_it_was(client: httpx.Client, site: Site) -> None:
    headers = [
        ("cookie", "a=1"),
        ("x-list", "one"),
        ("x-list", "two"),
        ("accept-language", "de"),
    ]
    target = "/request?q=%C3%BC+x&empty="
    told = client.get(target, headers=headers).json()
    assert told["query"] == {"q": "ü x", "empty": ""}
    assert told["cookies"] == {"a": "1"}
    assert told["headers"]["X-List"].replace(" ", "") == "one,two"
    assert told["headers"]["Accept-Language"] == "de"
    assert (told["method"], told["path"], told["scheme"]) == ("GET", "/request", "http")
    assert told["host"] == f"127.0.0.1:{site.port}"
    assert told["remote"] == "127.0.0.1"


def test_paths_beyond_ascii_are_found(client: httpx.Client) -> None:
    assert client.get("/stream/").status_code == 404
    assert client.get("/gates/%C3%BC%20%25").json() == {"is_closed": False}


def test_a_mistake_is_a_500_and_nothing_of_it_is_shown(client: httpx.Client) -> None:
    answer = client.get("/fails")
    assert answer.status_code == 500
    assert client.get("/request").status_code == 200, "the worker serves on"
    # Django answers itself, and mails its traceback to administrators that this site has not.
    assert "this view has a mistake" not in answer.text


def test_head_has_the_length_and_no_body(client: httpx.Client) -> None:
    whole, head = client.get("/"), client.head("/")
    assert head.status_code == 200
    assert head.headers["content-length"] == whole.headers["content-length"]
    assert head.content == b""
