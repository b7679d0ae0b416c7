"""An open client: requests are sent when they are due, whatever became of those before."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, field


@dataclass
class Outcome:
    """What has become of the requests."""

    latencies: list[tuple[float, float]] = field(default_factory=list)
    failures: list[tuple[float, str]] = field(default_factory=list)

    def quantile(self, share: float, since: float = 0.0) -> float:
        """The latency in seconds that so many were within, of those due since a moment."""
        values = sorted(latency for due, latency in self.latencies if due >= since)
        return values[min(len(values) - 1, int(len(values) * share))] if values else float("inf")


class Client:
    """One target, and connections to it that are kept."""

    def __init__(self, host: str, port: int, path: str, timeout: float = 30.0) -> None:
        self.host, self.port, self.timeout = host, port, timeout
        self.request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
        self.idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def get(self) -> None:
        """One request; raises if it is not answered with 200."""
        async with asyncio.timeout(self.timeout):
            reader, writer = self.kept() or await asyncio.open_connection(self.host, self.port)
            keeps = False
            try:
                writer.write(self.request)
                head = await reader.readuntil(b"\r\n\r\n")
                lines = head.decode("latin-1").lower().split("\r\n")
                status = lines[0].split(" ")[1]
                length = next(line for line in lines if line.startswith("content-length:"))
                await reader.readexactly(int(length.split(":")[1]))
                if status != "200":
                    raise RuntimeError(f"status {status}")
                keeps = "connection: close" not in lines
            finally:
                if keeps:
                    self.idle.append((reader, writer))
                else:
                    writer.close()

    def kept(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """A connection that is idle, and that the other side has not ended meanwhile."""
        while self.idle:
            reader, writer = self.idle.pop()
            if not reader.at_eof():
                return reader, writer
            writer.close()
        return None

    def close(self) -> None:
        """End what is kept."""
        for _, writer in self.idle:
            writer.close()


async def run(client: Client, rate: float, seconds: float, seed: int) -> Outcome:
    """Poisson arrivals at a rate, for a time."""
    draw = random.Random(seed)  # noqa: S311
    outcome = Outcome()
    began = time.monotonic()
    tasks: set[asyncio.Task[None]] = set()

    async def one(due: float) -> None:
        try:
            await client.get()
            outcome.latencies.append((due - began, time.monotonic() - due))
        except Exception as error:  # noqa: BLE001
            outcome.failures.append((due - began, f"{type(error).__name__}: {error}"))

    due = began
    while due - began < seconds:
        due += draw.expovariate(rate)
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        task = asyncio.create_task(one(due))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    client.close()
    return outcome
