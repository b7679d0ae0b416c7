"""A FastAPI service: models, dependencies, lifespan, background tasks, a WebSocket, a proxy."""

from __future__ import annotations

import concurrent.futures
import hashlib
import json
import random
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import sites
from sites import Site, wait_for
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

FOLDER = sites.APPS / "fastapi_notes"


@pytest.fixture(scope="module")
def diary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the service writes down."""
    return tmp_path_factory.mktemp("notes") / "diary"


@pytest.fixture(scope="module")
def site(server: str, diary: Path) -> Iterator[Site]:
    command = sites.command(server, "asgi", "notes:app", FOLDER)
    with Site(command, environment={"NOTES_DIARY": str(diary)}) as site:
        yield site


@pytest.fixture
def client(site: Site) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=site.url, timeout=sites.WAIT_SECONDS_MAX) as client:
        yield client


def test_the_lifespan_reaches_every_request(client: httpx.Client, diary: Path) -> None:
    assert diary.read_text().splitlines()[0] == "began"
    told = client.get("/").json()
    assert told == {"greeting": "hello from the lifespan", "client": "127.0.0.1"}


def test_models_are_checked_and_tasks_run_behind_the_answer(
    client: httpx.Client, diary: Path
) -> None:
    note = {"title": "tea", "stars": 5}
    answer = client.post("/notes", json=note, headers={"x-user": "ann"})
    assert (answer.status_code, answer.json()) == (201, {"user": "ann", "note": note})
    wait_for(lambda: "ann added tea\n" in diary.read_text(), "the background task")
    wrong = client.post("/notes", json={"title": "", "stars": 9}, headers={"x-user": "ann"})
    assert wrong.status_code == 422
    assert {error["loc"][-1] for error in wrong.json()["detail"]} == {"title", "stars"}
    assert client.post("/notes", json=note).status_code == 401
    assert client.post("/notes", content=b"{", headers={"x-user": "ann"}).status_code == 422


def test_the_description_is_served(client: httpx.Client) -> None:
    assert "/notes" in client.get("/openapi.json").json()["paths"]
    assert "swagger" in client.get("/docs").text


def test_a_big_upload_arrives_whole(client: httpx.Client) -> None:
    content = random.Random(7).randbytes(12_000_000)
    digest = hashlib.sha256(content).hexdigest()
    answer = client.post("/upload", files={"file": ("big.bin", content)})
    assert answer.json() == {"name": "big.bin", "size": len(content), "sha256": digest}
    pieces = (content[at : at + 50_000] for at in range(0, len(content), 50_000))
    assert client.post("/raw", content=pieces).json() == {"size": len(content), "sha256": digest}


def test_a_stream_of_many_pieces(client: httpx.Client) -> None:
    with client.stream("GET", "/numbers?count=20000") as answer:
        assert [int(line) for line in answer.iter_lines()] == list(range(20_000))


def test_the_loop_goes_on_while_threads_sleep(client: httpx.Client, site: Site) -> None:
    """Twenty sleeps overlap; one after the other they would take twice what is waited for."""
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        asked = [
            pool.submit(httpx.get, f"{site.url}/blocking?ms=2000", timeout=sites.WAIT_SECONDS_MAX)
            for _ in range(20)
        ]
        assert client.get("/").status_code == 200
        assert [one.result().json() for one in asked] == [{"slept": 2000.0}] * 20


def test_a_mistake_is_a_500_with_one_traceback(client: httpx.Client, site: Site) -> None:
    assert client.get("/fails").status_code == 500
    wait_for(lambda: "this endpoint has a mistake" in site.log(), "the traceback")
    assert site.log().count("RuntimeError: this endpoint has a mistake") == 1
    # Uvicorn's classes end the connection behind it.
    assert httpx.get(f"{site.url}/").status_code == 200


def test_a_websocket_of_models(site: Site) -> None:
    with connect(f"ws://127.0.0.1:{site.port}/chat/kitchen") as chat:
        for title in ("tea", "milk"):
            chat.send(json.dumps({"title": title, "stars": 1}))
            assert json.loads(chat.recv(sites.WAIT_SECONDS_MAX)) == {
                "room": "kitchen",
                "title": title.upper(),
            }


def test_behind_a_proxy_with_a_root_path(server: str, tmp_path: Path) -> None:
    flags = ["--root-path", "/api", "--proxy-headers", "--forwarded-allow-ips", "127.0.0.1"]
    command = sites.command(server, "asgi", "notes:app", FOLDER, flags=flags)
    forwarded = {
        "host": "notes.example.org",
        "x-forwarded-proto": "https",
        "x-forwarded-for": "192.0.2.9",
    }
    with Site(command, environment={"NOTES_DIARY": str(tmp_path / "diary")}) as site:
        told = httpx.get(f"{site.url}/url", headers=forwarded).json()
        assert told == {"url": "https://notes.example.org/api/notes", "root_path": "/api"}
        assert httpx.get(f"{site.url}/", headers=forwarded).json()["client"] == "192.0.2.9"
        assert httpx.get(f"{site.url}/openapi.json").json()["servers"] == [{"url": "/api"}]


def test_a_stop_finishes_the_request_and_ends_the_lifespan(server: str, tmp_path: Path) -> None:
    diary = tmp_path / "diary"
    command = sites.command(server, "asgi", "notes:app", FOLDER)
    with (
        Site(command, environment={"NOTES_DIARY": str(diary)}) as site,
        concurrent.futures.ThreadPoolExecutor(1) as pool,
        connect(f"ws://127.0.0.1:{site.port}/chat/last") as chat,
    ):
        slow = pool.submit(httpx.get, f"{site.url}/blocking?ms=700", timeout=20)
        wait_for(lambda: "sleeping 700" in diary.read_text(), "the request to be in progress")
        site.terminate()
        with pytest.raises(ConnectionClosed):
            chat.recv(sites.WAIT_SECONDS_MAX)
        assert slow.result().status_code == 200
        site.wait()
    assert diary.read_text().splitlines() == ["began", "sleeping 700", "ended"]
