"""HTTP through an ASGI application: what goes in and what comes out, with each parser and loop."""

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from asgi_serving import Server, ask, read_response, request, wait_until

KINDS = [(loop, http) for loop in ("uvloop", "asyncio") for http in ("httptools", "h11")]


@pytest.fixture(scope="module", params=KINDS, ids="-".join)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    loop, http = request.param
    flags = ("--workers", "2", "--loop", loop, "--http", http, "--buffer-request", "65536")
    with Server("basic:app", *flags) as server:
        yield server


def test_a_request_gets_its_response_and_the_next_one_too(server: Server) -> None:
    with server.connect() as client:
        for _ in range(20):
            answer = ask(client)
            assert (answer.status, answer.body) == (200, b"hello\n")
            assert answer.fields["server"] == "maitred"
            assert "GMT" in answer.fields["date"]


def test_the_scope_is_uvicorns(server: Server) -> None:
    with httpx.Client() as client:
        answer = client.get(f"{server.url}/scope?a=b%20c", headers={"X-One": "1"}).json()
    assert answer["type"] == "http"
    assert (answer["method"], answer["path"], answer["scheme"]) == ("GET", "/scope", "http")
    assert answer["server"] == ["127.0.0.1", server.port]
    assert answer["client"][0] == "127.0.0.1"
    assert ["x-one", "1"] in answer["headers"]
    assert answer["state"]["started"] == answer["pid"], "lifespan state is each request's"


def test_pipelined_requests_are_answered_in_order(server: Server) -> None:
    with server.connect() as client:
        client.sendall(request("/sleep/30") + request("/bytes/3") + request("/pid"))
        reader = client.makefile("rb")
        first, second, third = (read_response(reader) for _ in range(3))
        assert first.body == third.body, "one worker serves what it has read"
        assert second.body == b"xxx"
        assert ask(client).body == b"hello\n", "and the connection goes on"


def test_a_head_may_come_byte_by_byte(server: Server) -> None:
    with server.connect() as client:
        for byte in request("/bytes/5"):
            client.sendall(bytes([byte]))
        assert read_response(client).body == b"xxxxx"


def test_a_body_is_streamed_in_with_back_pressure(server: Server) -> None:
    body = bytes(range(256)) * 16384
    with httpx.Client(timeout=60) as client:
        assert client.post(f"{server.url}/length", content=body).text == str(len(body))
        small = client.post(f"{server.url}/echo", content=iter([b"a", b"b" * 70_000, b"c"]))
    assert small.content == b"a" + b"b" * 70_000 + b"c"


def test_a_large_response_waits_for_its_reader(server: Server) -> None:
    with server.connect() as client:
        client.sendall(request("/bytes/8000000"))
        assert len(read_response(client).body) == 8_000_000
        client.sendall(request("/stream/400/20000"))
        body = read_response(client).body
        assert len(body) == 400 * 20_000
        assert body[:20_001] == b"0" * 20_000 + b"1"
        assert ask(client).status == 200


def test_expect_continue_is_answered_when_the_application_reads(server: Server) -> None:
    with server.connect() as client:
        head = (
            "POST /echo HTTP/1.1\r\nhost: test\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n"
        )
        client.sendall(head.encode())
        reader = client.makefile("rb")
        assert reader.readline().startswith(b"HTTP/1.1 100")
        assert reader.readline() == b"\r\n"
        client.sendall(b"hallo")
        assert read_response(reader).body == b"hallo"


def test_a_request_right_behind_a_full_buffer_is_found(server: Server) -> None:
    # The worker reads 64 KiB at once, and looks for more behind the handler. By then the connection
    # is idle, and what is there is a request of its own.
    head = "POST /length HTTP/1.1\r\nhost: test\r\ncontent-length: 65400\r\nx-pad: {}\r\n\r\n"
    padded = head.format("x" * (65_536 - 65_400 - len(head.format("")))).encode()
    assert len(padded) + 65_400 == 65_536
    with server.connect() as client:
        reader = client.makefile("rb")
        for _ in range(20):
            client.sendall(padded + b"y" * 65_400 + request("/bytes/3"))
            assert read_response(reader).body == b"65400"
            assert read_response(reader).body == b"xxx"


def test_an_answer_before_the_body_keeps_the_connection(server: Server) -> None:
    with server.connect() as client:
        client.sendall(request("/early", "content-length: 300000", method="POST") + b"x" * 100_000)
        reader = client.makefile("rb")
        assert read_response(reader).body == b"early"
        # What nobody wants is read and thrown away, and the next request is found behind it.
        client.sendall(b"x" * 200_000 + request("/bytes/2"))
        assert read_response(reader).body == b"xx"


def test_connection_close_ends_it_with_the_response(server: Server) -> None:
    with server.connect() as client:
        client.sendall(request("/bytes/100000", "connection: close"))
        reader = client.makefile("rb")
        assert len(read_response(reader).body) == 100_000
        assert reader.read() == b"", "a FIN, although the master holds a copy"


def test_head_and_http_1_0(server: Server) -> None:
    with server.connect() as client:
        client.sendall(request("/bytes/7", method="HEAD"))
        reader = client.makefile("rb")
        head = [reader.readline() for _ in range(5)]
        assert b"content-length: 7\r\n" in [line.lower() for line in head]
    with server.connect() as client:
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert b"hello\n" in client.makefile("rb").read()


def test_a_failing_application_is_a_500_and_one_traceback(server: Server) -> None:
    before = server.log.count("RuntimeError: told to fail\n")
    with server.connect() as client:
        client.sendall(request("/fail"))
        assert read_response(client).status == 500
    wait_until(
        lambda: server.log.count("RuntimeError: told to fail\n") == before + 1, "one traceback"
    )
    assert re.search(r"ERROR Exception in ASGI application worker=\d gen=\d+ pid=\d+", server.log)


def test_a_response_that_fails_is_cut_off(server: Server) -> None:
    with server.connect() as client:
        client.sendall(request("/fail-late"))
        body = client.makefile("rb").read()
    assert body.endswith(b"some\r\n"), "no last chunk"


def test_a_client_that_goes_is_told_to_the_application(server: Server) -> None:
    ended = server.log.count("stream ended")
    with server.connect() as client:
        client.sendall(request("/events"))
        assert client.recv(4096).startswith(b"HTTP/1.1 200")
    wait_until(lambda: server.log.count("stream ended") == ended + 1, "the stream's end")


def test_what_is_no_http_is_refused(server: Server) -> None:
    with server.connect() as client:
        client.sendall(b"\x16\x03\x01 no http at all\r\n\r\n")
        assert client.makefile("rb").readline().startswith(b"HTTP/1.1 400")


def test_limits_of_the_head_are_the_servers_own(server: Server) -> None:
    with server.connect() as client:
        assert ask(client, "/" + "x" * 5000).status == 414
    with server.connect() as client:
        assert ask(client, "/", *(f"x-{number}: 1" for number in range(120))).status == 431
    with server.connect() as client:
        assert ask(client, "/", "x-long: " + "x" * 9000).status == 431


def test_a_head_without_end_is_refused_before_it_fills_the_memory(server: Server) -> None:
    with server.connect() as client:
        client.sendall(b"GET / HTTP/1.1\r\nx-long: ")
        sent = 0
        client.settimeout(0.02)
        answer = b""
        while not answer and sent < 4_000_000:
            try:
                client.sendall(b"x" * 16384)
                sent += 16384
            except TimeoutError:
                pass
            try:
                answer = client.recv(4096)
            except TimeoutError:
                continue
        # h11 has a limit of its own, with a status of its own.
        assert answer.startswith((b"HTTP/1.1 431", b"HTTP/1.1 400"))
        assert sent < 1_000_000


def test_spoken_to_through_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with Server("basic:app", "--bind", f"unix:{path}") as server:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            answer = json.loads(ask(client, "/scope").body)
        # Such a client has no name; Uvicorn says None, which is not among what the test sees.
        assert "client" not in answer
        assert server.stop() == 0


def test_a_body_beyond_its_limit_is_refused() -> None:
    with Server("basic:app", "--limit-request-body", "1000") as server:
        with server.connect() as client:
            assert ask(client, "/length", method="POST", body=b"x" * 1000).body == b"1000"
        with server.connect() as client:
            client.sendall(request("/length", "content-length: 1001", method="POST"))
            assert read_response(client).status == 413
        with server.connect() as client:
            client.sendall(request("/length", "transfer-encoding: chunked", method="POST"))
            client.sendall(b"3e8\r\n" + b"x" * 1000 + b"\r\n5\r\nxxxxx\r\n0\r\n\r\n")
            assert read_response(client).status == 413


@pytest.mark.parametrize("http", ["httptools", "h11"])
def test_slow_clients_have_their_deadlines(http: str) -> None:
    flags = ("--header-timeout", "1", "--body-timeout", "1", "--keep-alive", "1", "--http", http)
    with Server("basic:app", *flags) as server:
        slow_head, slow_body, idle = (server.connect() for _ in range(3))
        with slow_head, slow_body, idle:
            assert ask(idle).status == 200
            assert ask(slow_head).status == 200
            slow_head.sendall(b"GET / HTTP/1.1\r\nho")
            slow_body.sendall(request("/echo", "content-length: 10", method="POST") + b"abc")
            assert read_response(slow_head).status == 408
            assert read_response(slow_body).status == 408
            assert idle.recv(10) == b"", "an idle connection just ends"


def test_access_log_has_worker_and_times() -> None:
    with Server("basic:app", "--access-log", "--workers", "1") as server:
        with server.connect() as client:
            ask(client, "/bytes/12?x=y", "user-agent: tester", "referer: http://other/")
            ask(client, "/sleep/20")
        wait_until(lambda: len(server.out) >= 2, "two lines")
    one, two = server.out[:2]
    expected = (
        r'127\.0\.0\.1 - - \[.*\] "GET /bytes/12\?x=y HTTP/1\.1" 200 12 "http://other/" "tester"'
    )
    assert re.match(expected + r" worker=0 gen=1 queue=\d+\.\d+ms time=\d+\.\d+ms", one), one
    took = re.search(r"queue=- time=(\d+\.\d+)ms", two)
    assert took is not None
    assert 15 < float(took[1]) < 20_000
