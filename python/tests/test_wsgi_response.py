"""What becomes of a WSGI application's answer (PEP 3333): head, framing, `close`, failures."""

import json
import re
from collections.abc import Iterator

import pytest
from wsgi_serving import Reply, Server, serving, wait_for


@pytest.fixture(scope="module", params=["1", "2"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """With one thread, that thread runs the worker's loop too; with two it does not."""
    with serving("pep3333:app", "--threads", request.param) as server:
        yield server


def notes(server: Server) -> list[str]:
    found: list[str] = json.loads(server.ask("GET", "/notes").body)
    return found


def wait_for_note(server: Server, start: str) -> str:
    def look() -> str | None:
        return next((note for note in notes(server) if note.startswith(start)), None)

    return wait_for(look, start)


def test_a_list_has_a_length(server: Server) -> None:
    reply = server.ask("GET", "/plain")
    assert (reply.status, reply.body) == ("200 OK", b"Hello, world!")
    assert reply.one("content-length") == "13"
    assert reply.one("transfer-encoding") is None
    assert reply.one("server") == "maitred"
    assert reply.one("date") is not None


def test_an_iterable_comes_in_chunks_and_is_closed(server: Server) -> None:
    reply = server.ask("GET", "/closing")
    assert (reply.body, reply.complete) == (b"onetwo", True)
    assert reply.raw == b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"
    wait_for_note(server, "closed closing in")


def test_an_old_client_reads_until_the_end(server: Server) -> None:
    with server.client() as client:
        client.send("GET /closing HTTP/1.0\r\n\r\n")
        reply = client.reply()
    assert reply.one("transfer-encoding") is None
    assert reply.one("connection") == "close"
    assert reply.body == b"onetwo"


def test_an_empty_iterable_is_an_empty_body(server: Server) -> None:
    reply = server.ask("GET", "/closing_empty")
    assert (reply.one("content-length"), reply.body) == ("0", b"")
    wait_for_note(server, "closed closing_empty")


def test_a_generator_may_begin_late(server: Server) -> None:
    reply = server.ask("GET", "/lazy")
    assert (reply.status, reply.body) == ("203 Lazy", b"late")


def test_head_has_no_body_and_the_length_of_get(server: Server) -> None:
    for target, length in [("/plain", "13"), ("/lazy", None), ("/declared/iterated/6/2", "6")]:
        with server.client() as client:
            client.request("HEAD", target)
            reply = client.reply(to_head=True)
            assert reply.one("content-length") == length
            assert reply.one("transfer-encoding") is None
            # Nothing of a body stands before the next response.
            client.request("GET", "/plain")
            assert client.reply().body == b"Hello, world!"
    wait_for_note(server, "closed declared 6 2")


@pytest.mark.parametrize("status", ["204%20No%20Content", "304%20Not%20Modified", "205%20Reset"])
def test_some_statuses_have_no_body(server: Server, status: str) -> None:
    with server.client() as client:
        client.request("GET", f"/head_with?{status}")
        reply = client.reply()
        assert reply.status.startswith(status[:3])
        client.request("GET", "/plain")
        assert client.reply().body == b"Hello, world!"


def test_what_was_written_comes_first(server: Server) -> None:
    reply = server.ask("GET", "/writes")
    assert reply.body == b"one two three"


def test_a_head_can_be_replaced_until_it_has_left(server: Server) -> None:
    reply = server.ask("GET", "/changes_its_mind")
    assert (reply.status, reply.body) == ("503 Sorry", b"sorry")
    reply = server.ask("GET", "/changes_its_mind_too_late")
    assert reply.status == "200 OK"
    assert not reply.complete
    wait_for_note(server, "raised again: too late")


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("raises", "ValueError: a"),
        ("fails_at_once", "ValueError: before the first piece"),
        ("never_begins", "without calling start_response"),
        ("begins_too_late", "without calling start_response"),
        ("begins_twice", "start_response was called before"),
        ("text_piece", "a response's body is made of bytes, and not of str"),
        ("writes_and_raises", "ValueError: after write"),
        ("exits", "SystemExit: no more"),
        ("interrupts", "\n    KeyboardInterrupt"),
        ("declared/list/7/2", "declares 7 bytes in Content-Length, and its body has 6"),
    ],
)
def test_a_failure_is_500_and_logged_once(target: str, words: str) -> None:
    with serving("pep3333:app") as server, server.client() as client:
        client.request("GET", f"/{target}?secret")
        reply = client.reply()
        assert (reply.status[:3], reply.body) == ("500", b"Internal Server Error\n")
        # The connection, and the worker, go on.
        client.request("GET", "/plain")
        assert client.reply().body == b"Hello, world!"
        server.said(re.compile(re.escape(words)))
        (line,) = re.findall("ERROR the application failed.*", server.log())
        assert f"path=/{target}" in line
        assert "worker=0" in line
        assert "secret" not in line
        assert server.log().count("Traceback (most recent call last)") <= 1
        assert server.log().count(words) == 1


def test_a_failure_behind_the_head_cuts_the_response_off(server: Server) -> None:
    reply = server.ask("GET", "/fails_later")
    assert (reply.status, reply.body, reply.complete) == ("200 OK", b"one", False)
    wait_for_note(server, "closed fails_later")
    server.said(re.compile("ValueError: after the first piece"))


def test_a_failure_in_close_is_logged(server: Server) -> None:
    assert server.ask("GET", "/close_fails").body == b"fine"
    server.said(re.compile("ValueError: in close"))


def test_a_body_that_is_too_long_is_cut_off(server: Server) -> None:
    for kind in ["list", "iterated"]:
        with server.client() as client:
            client.request("GET", f"/declared/{kind}/4/3")
            reply = client.reply()
            assert (reply.one("content-length"), reply.body) == ("4", b"abca")
            client.request("GET", "/plain")
            assert client.reply().body == b"Hello, world!"
    server.said(
        re.compile("longer than its Content-Length.*\n(.*\n)*.*longer than its Content-Length")
    )
    wait_for_note(server, "closed declared 4 3")


def test_a_body_that_is_too_short_shows(server: Server) -> None:
    with server.client() as client:
        client.request("GET", "/declared/iterated/7/2")
        reply = client.reply()
        assert (reply.body, reply.complete) == (b"abcabc", False)
        assert client.to_end() == b""
    wait_for_note(server, "closed declared 7 2")


def test_a_body_of_its_length_keeps_the_connection(server: Server) -> None:
    with server.client() as client:
        for kind in ["list", "iterated", "list"]:
            client.request("GET", f"/declared/{kind}/6/2")
            assert client.reply().body == b"abcabc"


def head_of(server: Server, status: str, *fields: list[str]) -> Reply:
    body = json.dumps(fields).encode()
    return server.ask("POST", f"/head_with?{status}", body=body)


def test_reasons_and_fields_pass_as_they_are(server: Server) -> None:
    reply = head_of(
        server,
        "418%20Caf%E9",
        ["X-Latin", "caf\u00e9"],
        ["Set-Cookie", "a=1"],
        ["Set-Cookie", "b=2"],
        ["Server", "mine"],
        ["X-Empty", ""],
    )
    assert reply.status == "418 Caf\u00e9"
    assert reply.one("x-latin") == "caf\u00e9"
    assert reply.all("set-cookie") == ["a=1", "b=2"]
    assert reply.one("server") == "mine"
    assert reply.one("x-empty") in {"", None}


@pytest.mark.parametrize(
    "status", ["200", "OK", "20%20OK", "103%20Early", "200%20a%0D%0AX:b", "200%20%00"]
)
def test_a_status_is_three_digits_and_a_reason(server: Server, status: str) -> None:
    reply = head_of(server, status)
    assert reply.status == "500 Internal Server Error"
    assert reply.one("x") is None


@pytest.mark.parametrize(
    "field",
    [
        ["X-A", "b\r\nX-Injected: c"],
        ["X-A", "b\nc"],
        ["X-A", "b\0"],
        ["X-A", "\u20ac"],
        ["X-A\r\nX-Injected", "b"],
        ["X A", "b"],
        ["", "b"],
        ["Content-Length", "-1"],
        ["Content-Length", "1, 1"],
    ],
)
def test_a_field_cannot_forge_another(server: Server, field: list[str]) -> None:
    reply = head_of(server, "200%20OK", field)
    assert reply.status == "500 Internal Server Error"
    assert reply.one("x-injected") is None


def test_fields_of_the_connection_are_the_servers(server: Server) -> None:
    with server.client() as client:
        fields = json.dumps(
            [["Connection", "upgrade"], ["Transfer-Encoding", "gzip"], ["Keep-Alive", "x"]]
        ).encode()
        client.request("POST", "/head_with?200%20OK", body=fields)
        reply = client.reply()
        assert (reply.one("transfer-encoding"), reply.one("keep-alive")) == (None, None)
        assert (reply.one("connection"), reply.body) == (None, b"body")
        client.request("POST", "/head_with?200%20OK", body=fields)
        assert client.reply().body == b"body"
    server.said(re.compile("field of the connection.*field=transfer-encoding"))
    assert server.log().count("field=transfer-encoding") == 1


CONTENT = (bytes(range(256)) * 4096)[1000:]


@pytest.mark.parametrize(
    ("kind", "expected", "has_length"),
    [
        ("plain", CONTENT, True),
        ("declared", CONTENT[:10], True),
        ("buffered", CONTENT[3:], True),
        ("temporary", CONTENT, True),
        ("memory", CONTENT, False),
        ("gzip", CONTENT, False),
    ],
)
def test_files(server: Server, kind: str, expected: bytes, *, has_length: bool) -> None:
    with server.client() as client:
        for _ in range(2):
            client.request("GET", f"/file/{kind}")
            reply = client.reply()
            assert reply.body == expected
            assert reply.complete
            assert (reply.one("content-length") is not None) == has_length
    if kind in {"memory", "gzip"}:
        wait_for_note(server, f"closed file {kind}")
