"""Server-sent events: a stream without an end, beside others, left by its client or its server."""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest
import sites
from sites import Site, wait_for

FOLDER = sites.APPS / "sse_ticker"


@pytest.fixture(scope="module")
def site(server: str) -> Iterator[Site]:
    with Site(sites.command(server, "asgi", "ticker:app", FOLDER)) as site:
        yield site


def events(answer: httpx.Response) -> Iterator[str]:
    """The data of each event. Whoever drops the iterator has left the stream."""
    for line in answer.iter_lines():
        if line.startswith("data: "):
            yield line.removeprefix("data: ")


def open_streams(site: Site) -> int:
    count: int = httpx.get(f"{site.url}/state").json()["open"]
    return count


def test_events_come_one_by_one_and_are_taken_up_again(site: Site) -> None:
    with httpx.stream("GET", f"{site.url}/ticks") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert list(itertools.islice(events(answer), 3)) == ["tick 0", "tick 1", "tick 2"]
    with httpx.stream("GET", f"{site.url}/ticks", headers={"last-event-id": "2"}) as answer:
        assert next(events(answer)) == "tick 3"


def test_a_stream_ends_when_its_client_has_gone(site: Site) -> None:
    wait_for(lambda: open_streams(site) == 0, "earlier streams to end")
    with httpx.stream("GET", f"{site.url}/ticks") as answer:
        ticks = events(answer)
        assert next(ticks) == "tick 0"
        assert open_streams(site) == 1
    wait_for(lambda: open_streams(site) == 0, "the application to hear of it")


def test_other_requests_are_answered_beside_many_streams(site: Site) -> None:
    limits = httpx.Limits(max_connections=60)
    with httpx.Client(limits=limits, timeout=20) as client, ExitStack() as stack:
        streams = [
            events(stack.enter_context(client.stream("GET", f"{site.url}/ticks")))
            for _ in range(50)
        ]
        assert [next(ticks) for ticks in streams] == ["tick 0"] * 50
        assert client.get(f"{site.url}/state").json()["open"] == 50
    wait_for(lambda: open_streams(site) == 0, "the application to hear of it")


def test_curl_sees_events_without_buffering(site: Site) -> None:
    command = ["curl", "--silent", "--no-buffer", "--max-time", "20", f"{site.url}/ticks"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as curl:
        assert curl.stdout is not None
        data = (line.strip() for line in curl.stdout if line.startswith("data: "))
        assert list(itertools.islice(data, 3)) == ["data: tick 0", "data: tick 1", "data: tick 2"]
        curl.kill()


def test_a_stream_does_not_keep_the_server_from_ending(server: str) -> None:
    flags = ["--timeout-graceful-shutdown", "1"]
    with (
        Site(sites.command(server, "asgi", "ticker:app", FOLDER, flags=flags)) as site,
        httpx.stream("GET", f"{site.url}/ticks", timeout=20) as answer,
    ):
        ticks = events(answer)
        assert next(ticks) == "tick 0"
        site.terminate()
        # sse-starlette ends its streams when the server stops, or the server cuts them off.
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError, StopIteration)):
            while True:
                next(ticks)
        site.wait()
