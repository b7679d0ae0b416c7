"""A Starlette WebSocket echo, driven by a client that holds strictly to RFC 6455."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from socket import SHUT_RDWR

import httpx
import pytest
import sites
from sites import Site, wait_for
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

FOLDER = sites.APPS / "starlette_echo"
IMPLEMENTATIONS = ("websockets", "websockets-sansio", "wsproto")


@pytest.fixture(scope="module", params=IMPLEMENTATIONS)
def site(request: pytest.FixtureRequest, server: str) -> Iterator[Site]:
    """The echo, by each of Uvicorn's WebSocket implementations."""
    flags = ["--ws", request.param]
    with Site(sites.command(server, "asgi", "echo:app", FOLDER, flags=flags)) as site:
        yield site


def socket(
    site: Site,
    path: str,
    *,
    compression: str | None = "deflate",
    subprotocols: Sequence[Subprotocol] | None = None,
) -> ClientConnection:
    """A WebSocket that takes messages of any size."""
    url = f"ws://127.0.0.1:{site.port}{path}"
    return connect(url, compression=compression, subprotocols=subprotocols, max_size=None)


@pytest.mark.parametrize("compression", ["deflate", None])
def test_what_is_sent_comes_back(site: Site, compression: str | None) -> None:
    messages: list[str | bytes] = ["", "ü 🙂", b"", bytes(range(256)), "x" * 100_000]
    messages.append(random.Random(8).randbytes(1_500_000))
    with socket(site, "/echo", compression=compression) as echo:
        for message in messages:
            echo.send(message)
            assert echo.recv(sites.WAIT_SECONDS_MAX) == message


def test_messages_overtake_nobody(site: Site) -> None:
    with socket(site, "/echo") as echo:
        for number in range(200):
            echo.send(str(number))
        answers = [echo.recv(sites.WAIT_SECONDS_MAX) for _ in range(200)]
    assert answers == [str(number) for number in range(200)]


def test_fragments_are_put_together(site: Site) -> None:
    with socket(site, "/echo") as echo:
        echo.send(iter(["one ", "two ", "three"]))
        assert echo.recv(sites.WAIT_SECONDS_MAX) == "one two three"


def test_a_ping_is_answered(site: Site) -> None:
    with socket(site, "/echo") as echo:
        assert echo.ping(b"here?").wait(sites.WAIT_SECONDS_MAX)


def test_a_subprotocol_is_agreed_upon(site: Site) -> None:
    subprotocols = [Subprotocol("chat.v2"), Subprotocol("chat.v1")]
    with socket(site, "/echo", subprotocols=subprotocols) as echo:
        assert echo.subprotocol == "chat.v2"


def test_a_refusal_is_a_403(site: Site) -> None:
    with pytest.raises(InvalidStatus) as refusal:
        socket(site, "/refuse")
    assert refusal.value.response.status_code == 403
    assert httpx.get(f"{site.url}/").status_code == 200


def test_the_server_has_the_last_word(site: Site) -> None:
    with socket(site, "/farewell") as farewell:
        assert farewell.response is not None
        assert farewell.response.headers["x-greeting"] == "welcome"
        assert farewell.recv(sites.WAIT_SECONDS_MAX) == "good bye"
        with pytest.raises(ConnectionClosed) as closed:
            farewell.recv(sites.WAIT_SECONDS_MAX)
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4001, "enough")


def test_the_application_learns_how_a_client_has_gone(site: Site) -> None:
    before = httpx.get(f"{site.url}/").text
    with socket(site, "/echo") as echo:
        echo.close(code=4002, reason="lunch")
    wait_for(lambda: "4002" in httpx.get(f"{site.url}/").text, f"4002 after {before}")


def test_a_client_that_vanishes_has_gone_with_1006_or_1005(site: Site) -> None:
    def abnormal() -> int:
        return len(re.findall("100[56]", httpx.get(f"{site.url}/").text))

    before = abnormal()
    with socket(site, "/echo") as echo:
        echo.send("still here")
        assert echo.recv(sites.WAIT_SECONDS_MAX) == "still here"
        # Without a word, and without waiting for one.
        echo.socket.shutdown(SHUT_RDWR)
    wait_for(lambda: abnormal() > before, "the application to hear of it")


def test_open_sockets_do_not_keep_a_server_from_ending(server: str) -> None:
    flags = ["--timeout-graceful-shutdown", "1"]
    command = sites.command(server, "asgi", "echo:app", FOLDER, flags=flags)
    with Site(command) as site, ExitStack() as stack:
        echoes = [stack.enter_context(socket(site, "/echo")) for _ in range(20)]
        for echo in echoes:
            echo.send("here")
            assert echo.recv(sites.WAIT_SECONDS_MAX) == "here"
        site.terminate()
        for echo in echoes:
            with pytest.raises(ConnectionClosed) as closed:
                echo.recv(sites.WAIT_SECONDS_MAX)
            # Service restart: come again.
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1012
        site.wait()
