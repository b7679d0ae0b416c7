"""
Plain clients: one connection, many held ones, WebSockets that stay open.

Not here: load (`load`), the client that keeps books (`ledger`).
"""

from __future__ import annotations

import base64
import contextlib
import os
import re
import selectors
import socket
import threading
from collections import Counter
from collections.abc import Iterator

# Longer than any server here takes to answer, shorter than a person waits for a bench.
ANSWER_SECONDS_MAX = 10.0

PING, PONG, CLOSE = 0x9, 0xA, 0x8


def connect(port: int) -> socket.socket:
    """A connection to a server of ours."""
    return socket.create_connection(("127.0.0.1", port), ANSWER_SECONDS_MAX)


def ask(client: socket.socket, path: str) -> None:
    """Sends a request that leaves the connection open."""
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())


def read_answer(client: socket.socket) -> bytes | None:
    """The body of a 200 with a length; none if it is another answer."""
    text = b""
    while b"\r\n\r\n" not in text:
        piece = client.recv(4096)
        if not piece:
            raise ConnectionResetError("the server has closed")
        text += piece
    head, _, body = text.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    if length is None or b" 200 " not in head.split(b"\r\n")[0]:
        return None
    while len(body) < int(length[1]):
        piece = client.recv(4096)
        if not piece:
            raise ConnectionResetError("the server has closed")
        body += piece
    return body


def answer_of(client: socket.socket, path: str) -> bytes | None:
    """Asks and reads."""
    ask(client, path)
    return read_answer(client)


def pids_of_many(port: int, count: int) -> list[int]:
    """Who answers on so many connections, which are open at the same time."""
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connect(port)) for _ in range(count)]
        for client in clients:
            ask(client, "/pid")
        return [int(read_answer(client) or 0) for client in clients]


@contextlib.contextmanager
def held(port: int, count: int, at_once: int) -> Iterator[Counter[int]]:
    """Holds connections that have made one request each: how many are at which process."""
    with contextlib.ExitStack() as stack:
        seats: Counter[int] = Counter()
        for _ in range(0, count, at_once):
            clients = [stack.enter_context(connect(port)) for _ in range(at_once)]
            for client in clients:
                ask(client, "/pid")
            seats.update(int(read_answer(client) or 0) for client in clients)
        yield seats


class WebSockets:
    """WebSockets that say nothing but what the protocol asks for: pongs."""

    def __init__(self, port: int, count: int) -> None:
        """Opens them, one by one."""
        self.seats: Counter[int] = Counter()
        self._selector = selectors.DefaultSelector()
        self._open: set[socket.socket] = set()
        self._ends = threading.Event()
        for _ in range(count):
            client = connect(port)
            self.seats[self._shake_hands(client)] += 1
            self._selector.register(client, selectors.EVENT_READ)
            self._open.add(client)
        self._thread = threading.Thread(target=self._answer_pings, daemon=True)
        self._thread.start()

    def __enter__(self) -> WebSockets:
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join(ANSWER_SECONDS_MAX)
        for client in self._open:
            client.close()
        self._selector.close()

    def count(self) -> int:
        """How many are still open."""
        return len(self._open)

    @staticmethod
    def _shake_hands(client: socket.socket) -> int:
        """Opens one; the application says in a header which process it is at."""
        key = base64.b64encode(os.urandom(16)).decode()
        client.sendall(
            "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        head = b""
        while b"\r\n\r\n" not in head:
            piece = client.recv(1)
            if not piece:
                raise ConnectionResetError("no WebSocket")
            head += piece
        seat = re.search(rb"(?i)\r\nx-pid: *(\d+)", head)
        if b" 101 " not in head.split(b"\r\n")[0] or seat is None:
            raise ConnectionError(f"no WebSocket: {head!r}")
        return int(seat[1])

    def _answer_pings(self) -> None:
        while not self._ends.is_set():
            for key, _ in self._selector.select(0.2):
                client = key.fileobj
                assert isinstance(client, socket.socket)
                # Control frames of servers are small and come alone on these connections.
                frame = client.recv(256)
                if not frame or frame[0] & 0xF == CLOSE:
                    self._selector.unregister(client)
                    self._open.discard(client)
                    client.close()
                elif frame[0] & 0xF == PING:
                    payload = frame[2 : 2 + (frame[1] & 0x7F)]
                    # A mask of zeros is one: the payload stays as it is.
                    client.sendall(bytes([0x80 | PONG, 0x80 | len(payload), 0, 0, 0, 0]) + payload)
