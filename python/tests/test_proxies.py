"""Who the client is behind a proxy that speaks first, and what a request is called."""

import json
import signal
import socket
from typing import Any

import pytest
from asgi_serving import Server, ask, read_response, request, wait_until
from wsgi_serving import serving

LINE = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 80\r\n"
BINARY = (
    b"\r\n\r\n\x00\r\nQUIT\n\x21\x21\x00\x24"
    + socket.inet_pton(socket.AF_INET6, "2001:db8::7")
    + bytes(16)
    + (4711).to_bytes(2, "big")
    + (80).to_bytes(2, "big")
)


def scope_of(client: socket.socket) -> Any:
    return json.loads(ask(client, "/scope").body)


@pytest.mark.parametrize("http", ["httptools", "h11"])
def test_asgi_has_the_client_of_the_header_wherever_the_connection_goes(http: str) -> None:
    flags = ("-w", "2", "--http", http, "--proxy-protocol", "--rebalance", "always")
    with Server("basic:app", *flags, "--balance", "round-robin") as server:
        for header, address in ((LINE, "192.0.2.7"), (BINARY, "2001:db8::7")):
            with server.connect() as client:
                client.sendall(header)
                seen = set()
                for _ in range(6):
                    scope = scope_of(client)
                    assert scope["client"] == [address, 4711]
                    seen.add(scope["pid"])
                assert len(seen) == 2, "it has moved"
            with server.connect() as client:
                for byte in header + request("/scope"):
                    client.sendall(bytes([byte]))
                answer = json.loads(read_response(client).body)
                assert answer["client"] == [address, 4711]
            # With the first request in one piece, and a second one behind it.
            with server.connect() as client:
                client.sendall(header + request("/scope") * 2)
                reader = client.makefile("rb")
                for _ in range(2):
                    answer = json.loads(read_response(reader).body)
                    assert answer["client"] == [address, 4711]


def test_asgi_closes_what_begins_otherwise() -> None:
    flags = ("-w", "1", "--proxy-protocol", "--header-timeout", "0.5", "--defer-accept", "0")
    with Server("basic:app", *flags) as server:
        for beginning in (request("/"), b"PROXY TCP9 1 2 3 4\r\n", LINE[:20], LINE):
            with server.connect() as client:
                client.sendall(beginning)
                assert client.recv(1) == b""
        wait_until(lambda: "connection closed" in server.log, "the reason")
        with server.connect() as client:
            client.sendall(LINE + request("/pid"))
            assert read_response(client).status == 200


def test_asgi_has_the_client_after_a_reload() -> None:
    with Server("basic:app", "-w", "1", "--proxy-protocol") as server:
        with server.connect() as client:
            client.sendall(LINE)
            before = scope_of(client)
            server.signal(signal.SIGHUP)
            wait_until(lambda: "reload done" in server.log, "the reload")
            after = scope_of(client)
        assert before["pid"] != after["pid"]
        assert before["client"] == after["client"] == ["192.0.2.7", 4711]


def test_asgi_requests_have_one_id_everywhere() -> None:
    with Server("basic:app", "-w", "1", "--request-id", "--access-log") as server:
        with server.connect() as client:
            answer = ask(client, "/scope", "x-request-id: abc-1")
            assert answer.fields["x-request-id"] == "abc-1"
            assert ["x-request-id", "abc-1"] in json.loads(answer.body)["headers"]
            answer = ask(client, "/scope", "x-request-id: a b")
            made = answer.fields["x-request-id"]
            assert len(made) == 36
            headers = json.loads(answer.body)["headers"]
            assert [value for name, value in headers if name == "x-request-id"] == [made]
        wait_until(lambda: f'request="{made}"' in "".join(server.out), "the line")
        assert 'request="abc-1"' in "".join(server.out)
    flags = ("-w", "1", "--request-id", "--forwarded-allow-ips", "10.0.0.0/8")
    with Server("basic:app", *flags) as server, server.connect() as client:
        answer = ask(client, "/pid", "x-request-id: abc-1")
        assert answer.fields["x-request-id"] != "abc-1"


def test_wsgi_has_the_client_of_the_header_and_the_id() -> None:
    with serving("pep3333:app", "--proxy-protocol", "--request-id") as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as client:
            client.sendall(LINE)
            for _ in range(2):
                answer = ask(client, "/environ")
                environ = json.loads(answer.body)
                assert environ["REMOTE_ADDR"] == "192.0.2.7"
                assert environ["REMOTE_PORT"] == "4711"
                assert environ["HTTP_X_REQUEST_ID"] == answer.fields["x-request-id"]
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as client:
            client.sendall(request("/environ"))
            assert client.recv(1) == b""
