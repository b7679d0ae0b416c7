"""WebSockets through an ASGI application, with each of Uvicorn's classes."""

import signal
import time
from collections.abc import Iterator

import pytest
from asgi_serving import Server, ask, request, wait_until
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

KINDS = ["websockets", "websockets-sansio", "wsproto"]


@pytest.fixture(params=KINDS)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    flags = ("--workers", "2", "--ws", request.param, "--graceful-timeout", "5")
    with Server("basic:app", *flags) as server:
        yield server


def url(server: Server) -> str:
    return server.url.replace("http", "ws") + "/"


def test_messages_come_back(server: Server) -> None:
    with connect(url(server)) as client:
        messages: list[str | bytes] = ["one", "zwei ☃", "x" * 300_000, b"\x00\xff" * 1000]
        for message in messages:
            client.send(message)
            assert client.recv(timeout=30) == message
        client.ping().wait(30)


def test_a_reload_closes_them_with_service_restart(server: Server) -> None:
    with connect(url(server)) as client:
        client.send("before")
        assert client.recv(timeout=30) == "before"
        before = len(server.workers())
        server.signal(signal.SIGHUP)
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(timeout=30)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
        wait_until(lambda: len(server.workers()) == before + 2, "two new workers")
    with connect(url(server)) as client:
        client.send("after")
        assert client.recv(timeout=30) == "after"


def test_a_websocket_does_not_keep_a_server_that_stops(server: Server) -> None:
    with connect(url(server)) as client:
        client.send("x")
        client.recv(timeout=30)
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < 20
        with pytest.raises(ConnectionClosed):
            client.recv(timeout=30)


def test_a_handshake_that_is_none_is_refused(server: Server) -> None:
    with server.connect() as client:
        client.sendall(request("/", "connection: upgrade", "upgrade: websocket"))
        assert client.makefile("rb").readline().split()[1] in (b"400", b"426")


def test_without_websockets_an_upgrade_is_a_request() -> None:
    with Server("basic:app", "--ws", "none") as server, server.connect() as client:
        answer = ask(client, "/", "connection: upgrade", "upgrade: websocket")
        assert answer.status == 200
        assert answer.body == b"hello\n"


def test_they_hold_up_nothing_that_moves() -> None:
    """Open WebSockets stay where they are while idle connections beside them are rescued."""
    with Server("basic:app", "--workers", "2") as server:
        sockets = [connect(url(server)) for _ in range(20)]
        with server.connect() as client:
            assert ask(client).status == 200
        for websocket in sockets:
            websocket.send("pid")
        pids = {int(websocket.recv(timeout=30)) for websocket in sockets}
        assert len(pids) == 2
        for websocket in sockets:
            websocket.close()
        assert server.stop() == 0
        assert server.account()["protocol_errors"] == 0
