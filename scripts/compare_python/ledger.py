"""
A client that keeps books: what has become of every request while something befalls the server.

It asks at a steady rate, every second time on a new connection, else on one that it keeps, and
never asks again: whoever closes a kept connection under a request has lost it, as a client without
retries would see it.

Not here: what befalls the server (`rows`).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence

RATE = 1000
# What is not answered by then is lost.
ANSWER_SECONDS_MAX = 10.0
PATH = "/spin/0.1"
BODY = b"done\n"

# What may become of a request.
ANSWERED = "answered"
# A complete 5xx: somebody has read it, died, and a server has said so.
GATEWAY = "5xx"
# The answer had begun.
CUT = "cut off"
# Closed or reset before an answer began.
UNANSWERED = "unanswered"
REFUSED = "refused"
LATE = "late"

LOST = (UNANSWERED, REFUSED, LATE)

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Event = tuple[float, Callable[[], None]]


class Ledger:
    """One run."""

    def __init__(self, port: int, seconds: float, events: Sequence[Event]) -> None:
        self._port = port
        self._seconds = seconds
        self._events = events
        self._kept: list[Connection] = []
        self.account: Counter[str] = Counter()

    def run(self) -> Counter[str]:
        """Asks for so many seconds, while events happen at their times; returns the account."""
        asyncio.run(self._run())
        return self.account

    @property
    def lost(self) -> int:
        """Requests that nobody has answered in any way."""
        return sum(self.account[fate] for fate in LOST)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        begin = loop.time()
        for at, happen in self._events:
            # What happens reads /proc and asks the server: not on this loop.
            loop.call_later(at, loop.run_in_executor, None, happen)
        asked = []
        for number in range(round(self._seconds * RATE)):
            due = begin + number / RATE
            if due > loop.time():
                await asyncio.sleep(due - loop.time())
            asked.append(asyncio.create_task(self._ask(is_kept=number % 2 == 0)))
        await asyncio.gather(*asked)
        for _, writer in self._kept:
            writer.close()

    async def _ask(self, *, is_kept: bool) -> None:
        try:
            fate = await asyncio.wait_for(self._fate(is_kept=is_kept), ANSWER_SECONDS_MAX)
        except asyncio.TimeoutError:
            fate = LATE
        self.account[fate] += 1

    async def _fate(self, *, is_kept: bool) -> str:
        try:
            reader, writer = await self._connection(is_kept=is_kept)
        except OSError:
            return REFUSED
        connection = "keep-alive" if is_kept else "close"
        request = f"GET {PATH} HTTP/1.1\r\nHost: localhost\r\nConnection: {connection}\r\n\r\n"
        head = b""
        stays = False
        try:
            writer.write(request.encode())
            head = await reader.readuntil(b"\r\n\r\n")
            fields = head.lower()
            length = int(fields.partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
            body = await reader.readexactly(length)
            stays = is_kept and b"connection: close" not in fields
        except asyncio.IncompleteReadError as error:
            return CUT if head or error.partial else UNANSWERED
        except OSError:
            return CUT if head else UNANSWERED
        finally:
            if stays:
                self._kept.append((reader, writer))
            else:
                writer.close()
        status = head.split(b" ", 2)[1]
        if status == b"200" and body == BODY:
            return ANSWERED
        return GATEWAY if status.startswith(b"5") else f"wrong: {status.decode()}"

    async def _connection(self, *, is_kept: bool) -> Connection:
        while is_kept and self._kept:
            reader, writer = self._kept.pop()
            if not reader.at_eof() and not writer.is_closing():
                return reader, writer
            # Closed between two requests: nothing has been asked on it.
            writer.close()
        return await asyncio.open_connection("127.0.0.1", self._port)
