"""WSGI workers at work: threads, clients that leave, drain, recycling, real frameworks."""

import json
import random
import re
import threading

import httpx
import pytest
from wsgi_serving import WAIT_SECONDS_MAX, Server, serving, wait_for


def notes(server: Server) -> list[str]:
    found: list[str] = json.loads(server.ask("GET", "/notes").body)
    return found


@pytest.mark.parametrize("threads", ["1", "2"])
def test_a_client_that_leaves_closes_the_iterable(threads: str) -> None:
    """Once while the application makes pieces, once while it waits for the client to read."""
    with serving("pep3333:app", "--threads", threads, "--buffer-response", "100000") as server:
        with server.client() as client:
            client.request("GET", "/endless")
            client.exactly(1000)
        wait_for(lambda: len(notes(server)) == 1, "close")
        with server.client() as client:
            client.request("GET", "/endless")
            client.exactly(1000)
            # The sockets fill, and the thread is given to others.
            assert server.ask("GET", "/plain").body == b"Hello, world!"
        wait_for(lambda: len(notes(server)) == 2, "close")
        assert {note.rpartition(" in ")[0] for note in notes(server)} == {"closed endless"}
        assert server.ask("GET", "/plain").body == b"Hello, world!"


def test_slow_clients_hold_no_thread() -> None:
    with serving("pep3333:app", "--threads", "1", "--buffer-response", "100000") as server:
        slow = [server.client() for _ in range(5)]
        for client in slow:
            client.request("GET", "/endless")
            client.exactly(1000)
        assert server.ask("GET", "/plain").body == b"Hello, world!"
        for client in slow:
            assert len(client.exactly(1 << 20)) == 1 << 20
            client.socket.close()
        wait_for(lambda: len(notes(server)) == 5, "close")


def test_threads_run_at_the_same_time() -> None:
    with serving("pep3333:app", "--threads", "4") as server:
        replies = []
        threads = [
            threading.Thread(target=lambda: replies.append(server.ask("GET", "/together").body))
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert replies == [b"together"] * 4


def test_thread_local_variables_last() -> None:
    with serving("pep3333:app", "--threads", "2") as server:
        seen = [json.loads(server.ask("GET", "/thread").body) for _ in range(20)]
        for thread in {thread for thread, _, _ in seen}:
            counts = [count for of, count, _ in seen if of == thread]
            assert counts == list(range(1, len(counts) + 1))


def test_one_thread_is_always_the_same() -> None:
    """Database handles of SQLite, and much else, are good for the thread that made them."""
    with serving("pep3333:app", "--threads", "1") as server:
        seen = [json.loads(server.ask("GET", "/thread").body) for _ in range(20)]
        assert [count for _, count, _ in seen] == list(range(1, 21))
        assert {thread for thread, _, _ in seen} == {seen[0][2]}, "the one that imports"


def test_quick_and_slow_calls_by_turns() -> None:
    """The loop goes to the stand-in and back, in the middle of everything."""
    with serving("pep3333:app", "--threads", "1") as server:
        failures = []
        seen = set()

        def ask(seed: int) -> None:
            choice = random.Random(seed)
            with server.client() as client:
                for number in range(150):
                    kind = choice.choice(["quick"] * 30 + ["slow", "stream", "upload"])
                    if kind == "upload":
                        body = b"x" * (2 << 20)
                        client.request("POST", "/body_read?all", body=body)
                        expected = json.dumps([[len(body)], sum(body), str(len(body))]).encode()
                    elif kind == "stream":
                        client.request("GET", "/closing")
                        expected = b"onetwo"
                    else:
                        client.request("GET", f"/sleeps/{3 if kind == 'slow' else 0}")
                        expected = None
                    body = client.reply().body
                    if expected is None:
                        seen.add(body)
                    elif body != expected:
                        failures.append((seed, number, kind, body))

        clients = [threading.Thread(target=ask, args=(seed,)) for seed in range(8)]
        for client in clients:
            client.start()
        for client in clients:
            client.join(60)
        assert not failures
        assert len(seen) == 1, "the application has met one thread"


@pytest.mark.parametrize("threads", ["1", "2"])
@pytest.mark.parametrize(
    ("target", "word"), [("/sleeps/100000", "sleeping"), ("/spins", "spinning")]
)
def test_a_call_that_does_not_end_is_not_waited_for(threads: str, target: str, word: str) -> None:
    flags = ["--graceful-timeout", "1", "--drain-delay", "0.1"]
    with Server("pep3333:app", "--threads", threads, *flags) as server, server.client() as client:
        client.request("GET", target)
        server.said(re.compile(f"^{word}$", re.MULTILINE))
        server.terminate()
        server.process.wait(WAIT_SECONDS_MAX)
        assert "signal 6" not in server.log()
        assert "SIGABRT" not in server.log()


def test_a_stream_is_finished_before_its_worker_leaves() -> None:
    with serving("pep3333:app", "--threads", "2", "--drain-delay", "0.1") as server:
        with server.client() as client:
            client.request("GET", "/streams")
            client.head()
            assert client.until(b"0\r\n") == b"1\r\n0\r\n"
            with server.client() as other:
                other.request("GET", "/plain")
                assert other.reply().body == b"Hello, world!"
                server.terminate()
                server.said(re.compile("stopping"))
                with server.client() as last:
                    last.request("GET", "/open")
                    assert last.reply().body == b"open"
            rest = client.to_end()
        assert rest.endswith(b"1\r\n9\r\n0\r\n\r\n"), rest


def test_workers_are_replaced_and_no_request_is_lost() -> None:
    with serving("pep3333:app", "--limit-max-requests", "20", "-w", "2") as server:
        processes = set()
        with httpx.Client(base_url=f"http://127.0.0.1:{server.port}") as client:

            def ask() -> bool:
                for _ in range(10):
                    reply = client.get("/thread")
                    assert reply.status_code == 200
                    processes.add(reply.json()[2])
                return len(processes) > 4

            wait_for(ask, "workers of the third generation")


def test_flask() -> None:
    with serving("with_flask:app") as server:
        base = f"http://127.0.0.1:{server.port}"
        with httpx.Client(base_url=base) as client:
            assert client.get("/").text == "Hello from Flask"
            assert client.post("/upload", content=b"x" * 3_000_000).json()["size"] == 3_000_000
            assert client.post("/upload", data={"a": "b"}).json()["form"] == {"a": "b"}
            chunks = iter([b"x" * 1000] * 5)
            assert client.post("/upload", content=chunks).json()["size"] == 5000
            streamed = client.get("/stream")
            assert streamed.text.splitlines() == [str(number) for number in range(100)]
            assert client.get("/none").status_code == 404
            assert client.get("/fails").status_code == 500
        server.said(re.compile("ValueError: in a view"))
        assert server.log().count("ValueError: in a view") == 1


def test_django() -> None:
    with serving("with_django") as server:
        base = f"http://127.0.0.1:{server.port}"
        with httpx.Client(base_url=base) as client:
            assert client.get("/").text == f"Hello from Django at {base}/"
            files = {"file": b"x" * 3_000_000}
            assert client.post("/upload", files=files).json() == {"file": 3_000_000}
            assert client.get("/stream").text.splitlines()[-1] == "99"
            assert "A Django application" in client.get("/file").text
            assert client.get("/file?kind=memory").text == "in memory"
            assert client.head("/file").headers["content-length"]
