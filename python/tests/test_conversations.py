"""
Conversations at random: whole, pipelined and chunked requests of every size around the server's
buffers, cut anywhere, on kept connections; each answer has the bytes that were asked for.

``SEEDS=10000`` widens it, ``SEED=7`` repeats one. For workers in Rust: tests/conversations.rs.
"""

from __future__ import annotations

import os
import random
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from asgi_serving import PATIENCE, Server, read_response

KINDS = [
    *(f"{loop}-{http}" for loop in ("uvloop", "asyncio") for http in ("httptools", "h11")),
    "wsgi",
]

SEEDS = 120
CLIENTS = 5

#: Where something of the server's is full, or ends.
EDGES = (1, 20, 1000, 4096, 16_384, 65_536, 131_072, 262_144, 1_048_576)

#: What a read brings at the most: a request that ends there leaves nobody to say that another one
#: stands behind it.
READ_SIZE = 65_536

BODY_MAX = 1_000_000

#: Between two pieces: long enough for the other side to have read the first.
PAUSE = 0.0005


@pytest.fixture(scope="module", params=KINDS)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    if request.param == "wsgi":
        apps = str(Path(__file__).parent / "wsgi_apps")
        command = ("conversing:app", "--app-dir", apps, "--threads", "2")
    else:
        loop, http = request.param.split("-")
        command = ("basic:app", "--loop", loop, "--http", http)
    with Server(*command, "--workers", "2") as server:
        yield server


def draw_size(rng: random.Random) -> int:
    kind = rng.random()
    if kind < 0.3:
        size = rng.randrange(40)
    elif kind < 0.8:
        size = rng.choice(EDGES) + rng.choice((-300, -2, -1, 0, 0, 1, 2, 300))
    else:
        size = rng.randrange(200_000)
    return min(max(size, 0), BODY_MAX)


def draw_body(rng: random.Random, size: int) -> bytes:
    """Bytes that no shift by less than 251 makes equal."""
    return (rng.randbytes(251) * (size // 251 + 1))[:size]


def chunked(rng: random.Random, body: bytes) -> bytes:
    out, at = [], 0
    while at < len(body):
        # Few enough that the framing stays small beside a large body.
        size = min(max(draw_size(rng), (len(body) - at) // 200 + 1), len(body) - at)
        out.append(b"%x\r\n%b\r\n" % (size, body[at : at + size]))
        at += size
    return b"".join(out) + b"0\r\n\r\n"


def draw_request(rng: random.Random, begins_at: int) -> tuple[bytes, bytes | int | None]:
    """
    A request, and what is to come back: bytes, so many of them, or anything.

    Now and then it ends where a read does.
    """
    kind = rng.random()
    wanted: bytes | int | None = None
    body = b""
    if kind < 0.35:
        wanted = draw_size(rng) * rng.randrange(1, 4)
        head = b"GET /bytes/%d HTTP/1.1\r\n" % wanted
    elif kind < 0.45:
        head = b"GET /sleep/%d HTTP/1.1\r\n" % rng.randrange(4)
    elif kind < 0.8:
        wanted = body = draw_body(rng, draw_size(rng))
        head = b"POST /echo HTTP/1.1\r\ncontent-length: %d\r\n" % len(body)
    else:
        wanted = draw_body(rng, min(draw_size(rng), BODY_MAX // 2))
        body = chunked(rng, wanted)
        head = b"POST /echo HTTP/1.1\r\ntransfer-encoding: chunked\r\n"
    head += b"host: test\r\n"
    missing = -(begins_at + len(head) + 2 + len(body)) % READ_SIZE
    if rng.random() < 0.5 and 9 <= missing < 3000:
        head += b"x-pad: %b\r\n" % (b"p" * (missing - 9))
    return head + b"\r\n" + body, wanted


def cut(rng: random.Random, stream: bytes) -> list[bytes]:
    """Where a client cuts what it sends: into a hundred pieces and a few, of whatever length."""
    sizes = rng.choice(
        ((len(stream),), (READ_SIZE,), (20, 1460, 5000, READ_SIZE), (1, 3, 100, 16_384, 300_000))
    )
    pieces, at = [], 0
    while at < len(stream):
        size = max(rng.choice(sizes), len(stream) // 100)
        pieces.append(stream[at : at + size])
        at += size
    return pieces


def send(client: socket.socket, pieces: list[bytes], pauses: list[bool]) -> None:
    for piece, pause in zip(pieces, pauses, strict=True):
        client.sendall(piece)
        if pause:
            time.sleep(PAUSE)


def converse(server: Server, seed: int) -> None:
    rng = random.Random(seed)
    with server.connect() as client, client.makefile("rb") as reader:
        for group in range(rng.randrange(3, 12)):
            stream, wanted = b"", []
            for _ in range(rng.choice((1, 1, 1, 2, 3, 5))):
                request, answer = draw_request(rng, len(stream))
                stream += request
                wanted.append(answer)
            pieces = cut(rng, stream)
            pauses = [rng.random() < 0.1 for _ in pieces]
            sender = threading.Thread(target=send, args=(client, pieces, pauses))
            sender.start()
            for number, answer in enumerate(wanted):
                place = f"SEED={seed}: group {group}, request {number}"
                try:
                    response = read_response(reader)
                except (OSError, ValueError, IndexError, AssertionError) as error:
                    # Silence, an early end, or bytes that are no response.
                    raise AssertionError(place) from error
                assert response.status == 200, place
                if isinstance(answer, bytes):
                    assert response.body == answer, f"{place}: other bytes"
                elif answer is not None:
                    assert len(response.body) == answer, place
            sender.join(PATIENCE)
            assert not sender.is_alive(), f"SEED={seed}: group {group}: not all of it was read"
            if rng.random() < 0.2:
                time.sleep(rng.random() * 0.003)


def test_conversations_at_random(server: Server) -> None:
    one = os.environ.get("SEED")
    seeds = [int(one)] if one else range(int(os.environ.get("SEEDS", SEEDS)))
    failures: list[AssertionError] = []

    def go(own: int) -> None:
        for seed in seeds[own::CLIENTS]:
            try:
                converse(server, seed)
            except AssertionError as failure:
                failures.append(failure)
            if failures:
                return

    clients = [threading.Thread(target=go, args=(own,)) for own in range(CLIENTS)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    if failures:
        raise failures[0]
