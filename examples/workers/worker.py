"""A worker in Python's standard library alone: the hand-off protocol (docs/handoff.md) on asyncio.

    maitred serve -- python3 examples/workers/worker.py

It keeps connections alive and says who it is; /sleep/MS waits between the head and the body of its
answer, /block/MS does the same and holds everybody else up. What matters is the order: Ready, then
for each loan Taken before the first read, and Ended behind shutdown and close.
"""

import array
import asyncio
import contextlib
import json
import os
import signal
import socket
import struct
import time
from collections.abc import Coroutine
from typing import Any

VERSION, PACKET_LOANS_MAX = 1, 64
LEND, DRAIN = 1, 3
READY, REFUSE, BYE, TAKEN, ENDED, REPORT = 16, 17, 19, 20, 21, 22
HEADER = struct.Struct("<HHHH")  # version, kind, count, zero
LEND_SIZE, LOAN_SIZE, DESCRIPTOR_SIZE = 128, 8, 4
PACKET_SIZE = HEADER.size + PACKET_LOANS_MAX * LEND_SIZE
CONTROL_SIZE = socket.CMSG_LEN(PACKET_LOANS_MAX * DESCRIPTOR_SIZE)

VARIABLES = [
    f"MAITRED_{name}"
    for name in ("CHANNEL_FD", "PAGE_FD", "ALARM_FD", "BELL_FD", "METERS_FD", "SLOT", "GENERATION")
]

HEAD_END = b"\r\n\r\n"  # asyncio's streams read 64 KiB for it at most.
HEAD_S, KEEP_ALIVE_S, WRITE_S, REPORT_EVERY_S, SLEEP_MAX_MS = 10, 75, 30, 0.1, 60_000
# What goes wrong with one client is no reason to leave.
CLIENT_ERRORS = (
    OSError,
    EOFError,
    ValueError,
    IndexError,
    asyncio.LimitOverrunError,
    asyncio.TimeoutError,
)


class Worker:
    """One process: its channel, and a task for each loan."""

    def __init__(self, channel: socket.socket, slot: int) -> None:
        self.channel, self.slot = channel, slot
        self.started = self.finished = 0
        self.tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        self.closing: asyncio.Future[None] = loop.create_future()
        self.drained: asyncio.Future[float] = loop.create_future()
        loop.add_signal_handler(signal.SIGTERM, self.send, BYE, b"", 0)
        loop.add_reader(self.channel, self.hear)
        # Threads 0: a loop. Credit 0: as the master likes. Page 0: none.
        self.send(READY, struct.pack("<HHHHII", VERSION, 0, 0, 0, os.getpid(), 0))
        reporting = asyncio.create_task(self.report())
        graceful_s = await self.drained
        loop.remove_reader(self.channel)
        if self.tasks:
            await asyncio.wait(self.tasks, timeout=graceful_s)
        reporting.cancel()

    def send(self, kind: int, records: bytes, count: int = 1) -> None:
        # Waits if the channel is full. The master never waits for us: it reads in every turn. If it
        # is gone, the end of the channel comes next.
        with contextlib.suppress(ConnectionError):
            self.channel.send(HEADER.pack(VERSION, kind, count, 0) + records)

    def hear(self) -> None:
        # Not socket.recv_fds: CPython 3.11's forgets the flags that it is given.
        how = socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC
        try:
            packet, control, flags, _ = self.channel.recvmsg(PACKET_SIZE, CONTROL_SIZE, how)
        except BlockingIOError:
            return
        except ConnectionError:
            packet, control, flags = b"", [], 0
        if not packet:  # The master is gone.
            return self.drain(KEEP_ALIVE_S)
        _, kind, _, _ = HEADER.unpack_from(packet)
        records = packet[HEADER.size :]
        if kind == LEND:
            loans = [records[at : at + LOAN_SIZE] for at in range(0, len(records), LEND_SIZE)]
            descriptors = array.array("i", b"".join(data for *_, data in control))
            self.take(loans, descriptors.tolist(), bool(flags & socket.MSG_CTRUNC))
        elif kind == DRAIN:
            mode, graceful_ms = struct.unpack("<II", records)
            if mode == 0:
                self.drain(graceful_ms / 1000)
            else:  # The server ends, and lends until it stops listening.
                self.close_idle()

    def take(self, loans: list[bytes], descriptors: list[int], truncated: bool) -> None:
        connections = [socket.socket(fileno=descriptor) for descriptor in descriptors]
        if truncated or len(connections) != len(loans):
            for connection in connections:
                connection.close()
            return self.send(REFUSE, b"".join(loans), len(loans))
        self.send(TAKEN, b"".join(loans), len(loans))
        for loan, connection in zip(loans, connections, strict=True):
            task = asyncio.create_task(self.serve(loan, connection))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    def close_idle(self) -> None:
        if not self.closing.done():
            self.closing.set_result(None)

    def drain(self, graceful_s: float) -> None:
        self.close_idle()
        if not self.drained.done():
            self.drained.set_result(graceful_s)

    async def report(self) -> None:
        """Load, when it has changed."""
        reported = None
        while True:
            counts = (self.started, self.finished, 0, self.started - self.finished, 0, 0)
            if counts != reported:
                self.send(REPORT, struct.pack("<QQIIQQ", *counts))
                reported = counts
            await asyncio.sleep(REPORT_EVERY_S)

    async def serve(self, loan: bytes, connection: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=connection)
        # With it, drain() means that the kernel has everything.
        writer.transport.set_write_buffer_limits(0)
        with contextlib.suppress(*CLIENT_ERRORS):
            head = await asyncio.wait_for(reader.readuntil(HEAD_END), HEAD_S)
            while await self.counted(self.answer(head, writer)):
                # Who is idle is sent away then; who has had no answer yet gets one.
                coming = asyncio.ensure_future(reader.readuntil(HEAD_END))
                events: set[asyncio.Future[Any]] = {coming, self.closing}
                first = asyncio.FIRST_COMPLETED
                await asyncio.wait(events, timeout=KEEP_ALIVE_S, return_when=first)
                if not coming.done():
                    coming.cancel()
                    break
                head = coming.result()
        with contextlib.suppress(*CLIENT_ERRORS):
            # A close alone would tell the client nothing: the master holds a copy.
            connection.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(*CLIENT_ERRORS):
            writer.transport.abort()
            await writer.wait_closed()
        self.send(ENDED, loan)

    async def counted(self, answer: Coroutine[None, None, bool]) -> bool:
        self.started += 1
        try:
            return await answer
        finally:
            self.finished += 1

    async def answer(self, head: bytes, writer: asyncio.StreamWriter) -> bool:
        """True if another request may follow."""
        line, _, fields = head.decode("latin-1").partition("\r\n")
        target = line.split(" ")[1]
        names = {field.partition(":")[0].lower() for field in fields.split("\r\n")}
        # Bodies are not read here, and so nothing can follow one.
        has_body = bool(names & {"content-length", "transfer-encoding"})
        closes = self.closing.done() or has_body or "\nconnection: close" in fields.lower()
        who = {"slot": self.slot, "pid": os.getpid(), "target": target}
        body = json.dumps(who, separators=(",", ":")).encode()
        connection = "close" if closes else "keep-alive"
        writer.write(
            f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n"
            f"Connection: {connection}\r\n\r\n".encode()
        )
        if target.startswith("/sleep/"):
            await asyncio.wait_for(writer.drain(), WRITE_S)
            await asyncio.sleep(min(int(target.removeprefix("/sleep/")), SLEEP_MAX_MS) / 1000)
        elif target.startswith("/block/"):
            await asyncio.wait_for(writer.drain(), WRITE_S)
            time.sleep(min(int(target.removeprefix("/block/")), SLEEP_MAX_MS) / 1000)
        writer.write(body)
        await asyncio.wait_for(writer.drain(), WRITE_S)
        return not closes


def main() -> None:
    # They reach every process of a terminal, and are for the master.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    # A program that this one starts is no worker. The page is of no use here.
    numbers = {name: int(os.environ.pop(name)) for name in VARIABLES if name in os.environ}
    if "MAITRED_CHANNEL_FD" not in numbers:
        raise SystemExit("start me as: maitred serve -- python3 worker.py")
    unused = ("MAITRED_PAGE_FD", "MAITRED_ALARM_FD", "MAITRED_BELL_FD", "MAITRED_METERS_FD")
    for name in unused:
        if name in numbers:
            os.close(numbers[name])
    channel = socket.socket(fileno=numbers["MAITRED_CHANNEL_FD"])
    channel.setblocking(True)
    os.set_inheritable(channel.fileno(), False)
    asyncio.run(Worker(channel, numbers["MAITRED_SLOT"]).run())


if __name__ == "__main__":
    main()
