"""What a WSGI application finds: environ and `wsgi.input` (PEP 3333, RFC 3875)."""

import contextlib
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from wsgi_serving import Server, serving, wait_for


@pytest.fixture(scope="module", params=["1", "2"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """With one thread, that thread runs the worker's loop too; with two it does not."""
    with serving("pep3333:app", "--threads", request.param) as server:
        yield server


def environ_of(server: Server, target: str, *lines: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(server.ask("GET", target, *lines).body)
    return found


def test_the_request_line_and_the_client(server: Server) -> None:
    with server.client() as client:
        port = client.socket.getsockname()[1]
        client.request("BREW", "/environ/caf%C3%A9%2Fx;p=1?a=%41&b")
        environ = json.loads(client.reply().body)
    assert environ["REQUEST_METHOD"] == "BREW"
    assert environ["SCRIPT_NAME"] == ""
    assert environ["PATH_INFO"] == "/environ/caf\u00c3\u00a9/x;p=1"
    assert environ["QUERY_STRING"] == "a=%41&b"
    assert environ["REQUEST_URI"] == environ["RAW_URI"] == "/environ/caf%C3%A9%2Fx;p=1?a=%41&b"
    assert environ["SERVER_PROTOCOL"] == "HTTP/1.1"
    assert environ["REMOTE_ADDR"] == "127.0.0.1"
    assert environ["REMOTE_PORT"] == str(port)
    assert environ["SERVER_NAME"] == "test.example"
    assert environ["SERVER_PORT"] == "8080"
    assert environ["SERVER_SOFTWARE"].startswith("maitred/")
    assert environ["type"] == "dict"


def test_what_the_server_says_of_itself(server: Server) -> None:
    environ = environ_of(server, "/environ")
    assert environ["wsgi.version"] == [1, 0]
    assert environ["wsgi.url_scheme"] == "http"
    assert environ["wsgi.multithread"] is (server.flag("--threads") == "2")
    assert environ["wsgi.multiprocess"] is False
    assert environ["wsgi.run_once"] is False
    assert environ["wsgi.input_terminated"] is True
    assert "CONTENT_LENGTH" not in environ
    assert "CONTENT_TYPE" not in environ


def test_header_fields(server: Server) -> None:
    environ = environ_of(
        server,
        "/environ",
        "X-One: 1",
        "X-Latin: caf\u00e9",
        "Accept: a",
        "Accept: b",
        "Cookie: a=1",
        "Cookie: b=2",
        "X_Forwarded_For: 6.6.6.6",
        "Content-Type: text/csv",
    )
    assert environ["HTTP_HOST"] == "test.example:8080"
    assert environ["HTTP_X_ONE"] == "1"
    assert environ["HTTP_X_LATIN"] == "caf\u00e9"
    assert environ["HTTP_ACCEPT"] == "a,b"
    assert environ["HTTP_COOKIE"] == "a=1; b=2"
    assert "HTTP_X_FORWARDED_FOR" not in environ
    assert environ["CONTENT_TYPE"] == "text/csv"
    assert not {"HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"} & environ.keys()


def test_environs_are_not_shared(server: Server) -> None:
    with server.client() as client:
        client.request("GET", "/environ", "X-One: 1")
        assert "HTTP_X_ONE" in json.loads(client.reply().body)
        client.request("GET", "/environ")
        assert "HTTP_X_ONE" not in json.loads(client.reply().body)


def test_a_root_path_is_script_name() -> None:
    with serving("pep3333:app", "--root-path", "/api/") as server:
        below = environ_of(server, "/api/environ?x")
        assert (below["SCRIPT_NAME"], below["PATH_INFO"]) == ("/api", "/environ")
        # A proxy has cut it off.
        cut = environ_of(server, "/environ/apix")
        assert (cut["SCRIPT_NAME"], cut["PATH_INFO"]) == ("/api", "/environ/apix")
        assert environ_of(server, "/api")["PATH_INFO"] == ""


PROXIED = ("X-Forwarded-For: 6.6.6.6, 1.2.3.4", "X-Forwarded-Proto: https")


def test_a_trusted_proxy_speaks_for_the_client(server: Server) -> None:
    environ = environ_of(server, "/environ", *PROXIED)
    assert environ["REMOTE_ADDR"] == "1.2.3.4"
    assert environ["REMOTE_PORT"] == "0"
    assert environ["wsgi.url_scheme"] == "https"


@pytest.mark.parametrize("flags", [["--forwarded-allow-ips", "10.0.0.1"], ["--no-proxy-headers"]])
def test_another_one_does_not(flags: list[str]) -> None:
    with serving("pep3333:app", *flags) as server:
        environ = environ_of(server, "/environ", *PROXIED)
        assert environ["REMOTE_ADDR"] == "127.0.0.1"
        assert environ["wsgi.url_scheme"] == "http"


def test_what_is_added_to_responses() -> None:
    flags = ["--no-server-header", "--no-date-header", "--header", "X-Deploy: blue"]
    with serving("pep3333:app", *flags) as server:
        reply = server.ask("GET", "/plain")
        assert (reply.one("server"), reply.one("date")) == (None, None)
        assert reply.one("x-deploy") == "blue"


def test_wsgiref_finds_nothing() -> None:
    with serving("checked:app") as server:
        reply = server.ask("POST", "/a", body=b"one\ntwo\n")
        assert (reply.status, json.loads(reply.body)) == ("200 OK", ["/a", "one\ntwo\n"])
        assert server.ask("POST", "/file", body=b"one\ntwo\n").body == b"one\ntwo\n"
        assert server.ask("GET", "/file").body == b""
        assert server.ask("HEAD", "/a").body == b""
        assert server.ask("GET", "/empty").status == "204 No Content"
        server.said(re.compile("said by the application"))
        assert "AssertionError" not in server.log()
        assert "Warning" not in server.log()


LINES = b"one\ntwo\n\nfour\nlast"


def read_of(server: Server, kind: str, body: bytes) -> list[Any]:
    reply = server.ask("POST", f"/body_read?{kind}", body=body)
    assert reply.status == "200 OK", server.log()
    found: list[Any] = json.loads(reply.body)
    return found


def test_a_body_is_read_as_a_file(server: Server) -> None:
    assert read_of(server, "all", LINES) == [[18], sum(LINES), "18"]
    assert read_of(server, "lines", LINES) == [[4, 2, 2, 1, 5, 4, 0], sum(LINES), "18"]
    assert read_of(server, "bytes", LINES)[0] == [1, 1, 1]
    assert read_of(server, "all", b"")[0] == [0]


def test_a_large_body_streams(server: Server) -> None:
    body = bytes(range(256)) * (3 << 12)
    size = len(body)
    assert read_of(server, "sizes", body) == [
        [5, 0, 70000, size - 70005, 0, 0],
        sum(body),
        str(size),
    ]
    assert read_of(server, "lines", body)[1] == sum(body)


@pytest.mark.parametrize("chunks", [3, 300])
def test_a_chunked_body_has_its_end(server: Server, chunks: int) -> None:
    with server.client() as client:
        client.send("POST /body_read?all HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(chunks):
            client.send(b"2000\r\n" + b"x" * 0x2000 + b"\r\n")
        client.send(b"0\r\n\r\n")
        lengths, total, told = json.loads(client.reply().body)
    assert (lengths, total) == ([chunks * 0x2000], chunks * 0x2000 * ord("x"))
    # What was kept until it was whole has a length; what streams has not.
    assert told == (str(chunks * 0x2000) if chunks == 3 else None)


def test_what_is_not_read_stays_with_the_client() -> None:
    with serving("pep3333:app", "--threads", "2") as server, server.client() as client:
        size = 64 << 20
        client.send(f"POST /upload_slowly HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n")
        client.socket.settimeout(0.5)
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < size:
                sent += client.socket.send(b"x" * min(65536, size - sent))
        # 1 MiB is kept by the server, the rest by the kernel's buffers of both sides.
        assert sent < 32 << 20
        client.socket.settimeout(30)
        assert server.ask("GET", "/open").body == b"open"
        while sent < size:
            sent += client.socket.send(b"x" * min(65536, size - sent))
        assert client.reply().body == str(size).encode()


def test_who_waits_for_100_gets_it(server: Server) -> None:
    with server.client() as client:
        client.send(
            "POST /body_read?all HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
            "Expect: 100-continue\r\n\r\n"
        )
        assert client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.send("hello")
        assert json.loads(client.reply().body)[0] == [5]


@pytest.mark.parametrize("threads", ["1", "2"])
def test_a_client_that_leaves_within_its_body_is_no_failure(
    threads: str,
) -> None:
    with serving("pep3333:app", "--threads", threads) as server:
        with server.client() as client:
            client.send(
                "POST /upload_fails HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999\r\n\r\nx"
            )
            client.send(b"x" * (2 << 20))
        failed = '"upload failed: ConnectionResetError"'
        wait_for(lambda: failed in server.ask("GET", "/notes").body.decode(), failed)
        line = server.said(re.compile("INFO .*a request's body did not come.*"))[0]
        assert "worker=0" in line
        assert "Traceback" not in server.log()
