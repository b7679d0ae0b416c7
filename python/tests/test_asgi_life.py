"""The life of ASGI workers: start, stuck handlers, recycling, death, drain, end."""

import contextlib
import functools
import json
import os
import re
import signal
import socket
import threading
import time

import pytest
from asgi_serving import Server, ask, read_response, request, wait_until

LOOPS = ["uvloop", "asyncio"]


def connections_at_each(server: Server, workers: int) -> dict[int, list[socket.socket]]:
    """Keep-alive connections, by the process that answers them now."""
    held: dict[int, list[socket.socket]] = {}
    clients: list[socket.socket] = []
    while len(held) < workers or any(len(group) < 4 for group in held.values()):
        assert len(clients) < 64 * workers, "connections are dealt out"
        client = server.connect()
        clients.append(client)
        held.setdefault(int(ask(client, "/pid").body), []).append(client)
    return held


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("target", ["/spin/1500", "/spin-behind/1500", "/child-spins/1500"])
def test_nobody_waits_behind_a_handler_that_keeps_the_loop(loop: str, target: str) -> None:
    """Keep-alive connections of a stuck worker are answered by the other one, long before."""
    # A machine that is busy with other tests does not run a worker for some milliseconds now and
    # then; that is not what this story is about, and would move connections before it begins.
    flags = ("--stall-after", "100ms", "--loop", loop)
    with Server("basic:app", "--workers", "2", *flags) as server:
        held = connections_at_each(server, 2)
        stuck, others = held.popitem()
        spinning, *waiting = others
        spinning.sendall(request(target))
        if "behind" in target:
            assert int(read_response(spinning).body) == stuck
        else:
            # It is in its handler once its own loop does not answer any more.
            wait_until(lambda: busy(stuck), "a busy worker")
        answered = [json.loads(ask(client, "/scope").body) for client in waiting]
        ended = time.monotonic()
        assert stuck not in [scope["pid"] for scope in answered], "all were served elsewhere"
        # Protocols are used again for connections that move; what they say is of the new one.
        ports = [client.getsockname()[1] for client in waiting]
        assert [scope["client"][1] for scope in answered] == ports
        if "behind" not in target:
            assert int(read_response(spinning).body) == stuck
            assert time.monotonic() >= ended, "and the slow one got its answer too"


def busy(pid: int) -> bool:
    """Whether a process uses the processor: its time grows while we look."""
    before = processor_time(pid)
    time.sleep(0.02)
    return processor_time(pid) > before


def processor_time(pid: int) -> int:
    with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123
        fields = stat.read().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


@pytest.mark.parametrize("loop", LOOPS)
def test_awaiting_handlers_do_not_make_a_worker_stuck(loop: str) -> None:
    with Server("basic:app", "--workers", "1", "--loop", loop) as server:
        clients = [server.connect() for _ in range(50)]
        began = time.monotonic()
        for client in clients:
            client.sendall(request("/sleep/300"))
        for client in clients:
            assert read_response(client).status == 200
        assert time.monotonic() - began < 0.3 * len(clients) / 2, "they waited together"
        assert server.stop() == 0
        assert server.account()["recalled"] == 0


class Load:
    """Clients that ask as fast as they are answered, and complain when they are not."""

    def __init__(self, server: Server, clients: int, *, keep_alive: bool = True) -> None:
        self.server, self.keep_alive = server, keep_alive
        self.answers = 0
        self.faults: list[object] = []
        self.pids: set[int] = set()
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(clients)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def more(self, count: int) -> None:
        target = self.answers + count
        wait_until(lambda: self.answers >= target or self.faults, f"{count} more answers")

    def _run(self) -> None:
        client: socket.socket | None = None
        fields = () if self.keep_alive else ("connection: close",)
        try:
            while not self._stopped.is_set():
                client = client or self.server.connect()
                answer = ask(client, "/pid", *fields)
                if answer.status != 200:
                    self.faults.append(answer.status)
                    return
                self.answers += 1
                self.pids.add(int(answer.body))
                if answer.fields.get("connection") == "close":
                    client.close()
                    client = None
        except (OSError, AssertionError) as error:
            self.faults.append(repr(error))


def has_workers(server: Server, count: int) -> bool:
    return len(server.workers()) == count


@pytest.mark.parametrize("keep_alive", [True, False], ids=["keep-alive", "one-request"])
@pytest.mark.parametrize("loop", LOOPS)
def test_a_reload_under_load_loses_nothing(loop: str, *, keep_alive: bool) -> None:
    with Server("basic:app", "--workers", "2", "--loop", loop) as server:
        with Load(server, 8, keep_alive=keep_alive) as load:
            load.more(200)
            old = set(server.workers())
            for _ in range(2):
                before = len(server.workers())
                server.signal(signal.SIGHUP)
                wait_until(functools.partial(has_workers, server, before + 2), "two new workers")
                load.more(200)
        assert load.faults == []
        assert load.pids - old, "new workers have answered"
        assert server.stop() == 0
        assert "signal" not in re.sub(r"how=\"exit", "", server.log).split("stopping")[0]


def kill(pid: int) -> None:
    """Kill a worker, and wait until it is dead: until then it may still answer."""
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not running(pid), "a worker to die")


def test_a_killed_worker_costs_only_what_it_was_answering() -> None:
    with Server("basic:app", "--workers", "2") as server:
        held = connections_at_each(server, 2)
        victim, (last, *clients) = held.popitem()
        # A worker that has sent its answer may be interrupted before its word says so; the others
        # are idle for certain once it has answered somebody else.
        ask(last)
        kill(victim)
        # Its idle connections live on, with their next request answered elsewhere.
        for client in clients:
            assert int(ask(client, "/pid").body) != victim
        slow = clients[0]
        victim = int(ask(slow, "/pid").body)
        slow.sendall(request("/sleep/30001"))
        wait_until(lambda: "sleeping 30001" in server.log, "a request that is read")
        kill(victim)
        assert read_response(slow).status == 502, "it was read, and nothing of an answer had left"


def test_workers_are_replaced_after_so_many_requests() -> None:
    with Server("basic:app", "--workers", "2", "--max-requests", "300") as server:
        with Load(server, 8) as load:
            wait_until(lambda: len(server.workers()) >= 6 or load.faults, "four replacements")
        assert load.faults == []
        assert server.stop() == 0


def test_a_handler_that_hangs_costs_its_worker() -> None:
    flags = ("--workers", "1", "--timeout", "1", "--graceful-timeout", "1")
    with Server("basic:app", *flags) as server:
        with server.connect() as client:
            client.sendall(request("/spin/60000"))
            assert read_response(client).status == 502
        assert re.search(r'worker hung .*running="GET /spin/60000 for', server.log)
        with server.connect() as client:
            assert ask(client).status == 200


def test_the_lifespan_begins_and_ends_in_each_worker() -> None:
    with Server("basic:app", "--workers", "2") as server:
        workers = server.workers()
        assert server.stop() == 0
    assert len(workers) == 2
    for pid in workers:
        assert f"lifespan shutdown {pid}" in server.log


@pytest.mark.parametrize(
    ("app", "flags", "said"),
    [
        ("basic:refuses_to_start", ("--lifespan", "on"), "RuntimeError: no database"),
        ("basic:says_why_not", (), "no database for you"),
    ],
)
def test_an_application_that_does_not_start_ends_the_server_with_4(
    app: str, flags: tuple[str, ...], said: str
) -> None:
    server = Server(app, "--workers", "2", *flags)
    with contextlib.closing(contextlib.ExitStack()) as stack:
        stack.push(lambda *_: server.__exit__())
        assert server.process.wait(30) == 4
    assert server.log.count("Traceback (most recent call last)") <= 1
    assert said in server.log


def test_an_application_without_lifespan_serves() -> None:
    with Server("basic:refuses_to_start") as server, server.connect() as client:
        assert ask(client).status == 200
    with Server("basic:Legacy") as server, server.connect() as client:
        assert ask(client).body == b"from before"
    with Server("basic:make", "--factory") as server, server.connect() as client:
        assert ask(client).status == 200


def test_a_stop_answers_what_was_asked_and_then_closes() -> None:
    with Server("basic:app", "--workers", "1", "--drain-delay", "500ms") as server:
        with server.connect() as idle, server.connect() as slow:
            assert ask(idle).status == 200
            slow.sendall(request("/sleep/700"))
            # The slow request has been read once another one behind it is answered.
            ask(idle)
            server.signal(signal.SIGTERM)
            wait_until(lambda: "stopping" in server.log, "the server to stop")
            answer = read_response(slow)
            assert answer.status == 200
            assert idle.recv(10) == b""
            assert slow.recv(10) == b"", "it was the last of its connection"
        assert server.process.wait(30) == 0
    assert "lifespan shutdown" in server.log


def test_a_stream_without_end_has_the_graceful_timeout() -> None:
    flags = ("--workers", "1", "--graceful-timeout", "1", "--drain-delay", "0")
    with Server("basic:app", *flags) as server, server.connect() as client:
        client.sendall(request("/events"))
        assert client.recv(4096).startswith(b"HTTP/1.1 200")
        began = time.monotonic()
        assert server.stop() == 0
        assert 0.5 < time.monotonic() - began < 20
    assert "lifespan shutdown" in server.log, "and it still ends in order"


def test_a_lonely_worker_leaves() -> None:
    with Server("basic:app", "--workers", "1", "--graceful-timeout", "2") as server:
        (worker,) = server.workers()
        with server.connect() as client:
            ask(client)
            server.process.kill()
            server.process.wait()
            wait_until(lambda: not running(worker), "the worker to leave")


def running(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
