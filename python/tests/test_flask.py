"""A Flask shop from a factory: `shop:create_app()`."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator

import httpx
import pytest
import sites
from sites import Site

FOLDER = sites.APPS / "flask_shop"
FILE = random.Random(3).randbytes(1_000_003)


@pytest.fixture(scope="module")
def site(server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The shop, with one worker: streams wait for gates that other requests open."""
    path = tmp_path_factory.mktemp("shop") / "file.bin"
    path.write_bytes(FILE)
    command = sites.command(server, "wsgi", "shop:create_app()", FOLDER)
    with Site(command, environment={"SHOP_FILE": str(path)}) as site:
        yield site


@pytest.fixture
def client(site: Site) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=site.url, timeout=sites.WAIT_SECONDS_MAX) as client:
        yield client


def test_json_links_and_errors(client: httpx.Client, site: Site) -> None:
    assert client.get("/").json() == {"name": "shop", "link": f"{site.url}/items/7"}
    assert client.get("/items/7?quantity=2").json() == {"number": 7, "quantity": 2}
    missing = client.get("/items/101")
    assert (missing.status_code, missing.json()) == (404, {"error": "no such item"})
    refused = client.delete("/items/7")
    assert refused.status_code == 405
    assert set(refused.headers["allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}


def test_the_session_is_in_the_cookie(client: httpx.Client) -> None:
    assert client.post("/cart/1").json() == [1]
    assert client.post("/cart/2").json() == [1, 2]


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_body_streams_into_the_application(client: httpx.Client, framing: str) -> None:
    content = random.Random(4).randbytes(5_000_000)
    pieces = (content[at : at + 70_000] for at in range(0, len(content), 70_000))
    answer = client.post("/upload", content=content if framing == "length" else pieces)
    assert answer.json() == {
        "sha256": hashlib.sha256(content).hexdigest(),
        "length": len(content) if framing == "length" else None,
    }


def test_a_form_with_a_file(client: httpx.Client) -> None:
    picture = random.Random(5).randbytes(300_000)
    answer = client.post("/picture", files={"picture": ("cat.png", picture, "image/png")})
    assert answer.json() == {"name": "cat.png", "sha256": hashlib.sha256(picture).hexdigest()}


def test_files_whole_in_ranges_and_not_modified(client: httpx.Client) -> None:
    whole = client.get("/file")
    assert whole.content == FILE
    part = client.get("/file", headers={"range": "bytes=1000-1999"})
    assert (part.status_code, part.content) == (206, FILE[1000:2000])
    assert part.headers["content-range"] == f"bytes 1000-1999/{len(FILE)}"
    end = client.get("/file", headers={"range": "bytes=-10"})
    assert end.content == FILE[-10:]
    assert client.get("/file", headers={"range": "bytes=9999999-"}).status_code == 416
    same = client.get("/file", headers={"if-none-match": whole.headers["etag"]})
    assert (same.status_code, same.content) == (304, b"")
    head = client.head("/file")
    assert (head.headers["content-length"], head.content) == (str(len(FILE)), b"")
    assert client.get("/memory").text == "from memory\n"


def test_a_stream_keeps_its_request_and_arrives_as_it_is_made(client: httpx.Client) -> None:
    with client.stream("GET", "/stream/open?who=me") as answer:
        lines = answer.iter_lines()
        assert next(lines) == "first for me"
        assert client.post("/gates/open").status_code == 204
        assert list(lines) == ["second"]


def test_a_stream_that_breaks_is_not_taken_for_whole(client: httpx.Client, site: Site) -> None:
    # Closed within a chunked body, or reset: either way no client takes it for the whole.
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        client.get("/breaks")
    sites.wait_for(lambda: "this stream has a mistake" in site.log(), "the traceback")
    assert client.get("/").status_code == 200


def test_a_mistake_is_a_500_with_flasks_own_log(client: httpx.Client, site: Site) -> None:
    assert client.get("/fails").status_code == 500
    sites.wait_for(lambda: "this view has a mistake" in site.log(), "the traceback")
    assert site.log().count("RuntimeError: this view has a mistake") == 1
