"""A maitred with a WSGI application, and a client that sees every byte.

httpx and its like hide what these tests are about: whether a response was cut off, how it was
framed, what happens when a client leaves in the middle.

Not here: the applications (`wsgi_apps/`).
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from typing_extensions import Self

APPS = Path(__file__).parent / "wsgi_apps"

# For whatever a test waits for; a busy machine is slow.
WAIT_SECONDS_MAX = 30.0

LISTENING = re.compile(r"listening on http://127\.0\.0\.1:(\d+)")

Found = TypeVar("Found")


def wait_for(condition: Callable[[], Found | None], what: str) -> Found:
    """Return the first true value of a condition."""
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while not (value := condition()):
        assert time.monotonic() < deadline, f"in vain waited for {what}"
        time.sleep(0.01)
    return value


@dataclass
class Reply:
    """A response as it came."""

    status: str
    fields: list[tuple[str, str]]
    body: bytes
    # Whether the body was all there by its own framing.
    complete: bool
    # The bytes behind the head, framing and all.
    raw: bytes = field(repr=False, default=b"")

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key.lower() == name]

    def one(self, name: str) -> str | None:
        values = self.all(name)
        assert len(values) <= 1, (name, values)
        return values[0] if values else None


class Client:
    """One connection."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), WAIT_SECONDS_MAX)
        self.buffer = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes | str) -> None:
        self.socket.sendall(data.encode("latin-1") if isinstance(data, str) else data)

    def request(self, method: str, target: str, *lines: str, body: bytes = b"") -> None:
        """Send a request whole; a body brings its length."""
        head = [f"{method} {target} HTTP/1.1", "Host: test.example:8080", *lines]
        if body:
            head.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join([*head, "", ""]).encode("latin-1") + body)

    def until(self, mark: bytes) -> bytes:
        """Read to a mark, and with it; less at the end of what comes."""
        while mark not in self.buffer:
            if not self._more():
                rest, self.buffer = self.buffer, b""
                return rest
        before, _, self.buffer = self.buffer.partition(mark)
        return before + mark

    def exactly(self, size: int) -> bytes:
        while len(self.buffer) < size and self._more():
            pass
        taken, self.buffer = self.buffer[:size], self.buffer[size:]
        return taken

    def to_end(self) -> bytes:
        while self._more():
            pass
        taken, self.buffer = self.buffer, b""
        return taken

    def reply(self, *, to_head: bool = False) -> Reply:
        """Read one response."""
        reply = self.head()
        if to_head or reply.status[:3] in {"204", "205", "304"}:
            return reply
        length, coding = reply.one("content-length"), reply.one("transfer-encoding")
        if coding == "chunked":
            return self._chunked(reply)
        if length is None:
            reply.body = self.to_end()
            return reply
        reply.body = reply.raw = self.exactly(int(length))
        reply.complete = len(reply.body) == int(length)
        return reply

    def head(self) -> Reply:
        """Read a response's head alone."""
        line, *fields = self.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        assert line.startswith("HTTP/1.1 "), line
        split = [text.partition(": ") for text in fields if text]
        pairs = [(name, value) for name, _, value in split]
        return Reply(line.removeprefix("HTTP/1.1 "), pairs, b"", complete=True)

    def _chunked(self, reply: Reply) -> Reply:
        while True:
            line = self.until(b"\r\n")
            if not line.endswith(b"\r\n"):
                reply.complete = False
                return reply
            size = int(line, 16)
            chunk = self.exactly(size + 2)
            reply.raw += line + chunk
            reply.body += chunk[:-2] if size else b""
            if len(chunk) < size + 2 or size == 0:
                reply.complete = size == 0
                return reply

    def _more(self) -> bool:
        try:
            data = self.socket.recv(1 << 16)
        except ConnectionResetError:
            return False
        self.buffer += data
        return bool(data)


class Server:
    """The command `maitred serve`, as it was installed."""

    def __init__(self, target: str, *flags: str) -> None:
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("MAITRED_") and name not in {"PORT", "WEB_CONCURRENCY"}
        }
        command = [str(Path(sys.executable).with_name("maitred")), "serve", target]
        command += ["--app-dir", str(APPS), "-b", "127.0.0.1:0", *flags]
        if not {"-w", "--workers"} & set(flags):
            command += ["-w", "1"]
        self._flags = flags
        self._said: list[str] = []
        self.process = subprocess.Popen(
            command,
            env=inherited,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        try:
            self.port = int(self.said(LISTENING)[1])
            self.said(re.compile("worker is ready"))
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def flag(self, name: str) -> str:
        return self._flags[self._flags.index(name) + 1]

    def client(self) -> Client:
        return Client(self.port)

    def ask(self, method: str, target: str, *lines: str, body: bytes = b"") -> Reply:
        """One request on a connection of its own."""
        with self.client() as client:
            client.request(method, target, *lines, body=body)
            return client.reply(to_head=method == "HEAD")

    def log(self) -> str:
        return "".join(self._said)

    def said(self, pattern: re.Pattern[str]) -> re.Match[str]:
        """Wait until the log has a match."""

        def look() -> re.Match[str] | None:
            found = pattern.search(self.log())
            assert found or self._listener.is_alive(), f"ended without {pattern}:\n{self.log()}"
            return found

        return wait_for(look, f"{pattern} in the log")

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def stop(self) -> int:
        """End it, and return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(WAIT_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                self.process.kill()
        # Nobody of the group outlives the test; usually nobody is left.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        status = self.process.wait()
        self._listener.join(WAIT_SECONDS_MAX)
        return status

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._said.append(line)


@contextlib.contextmanager
def serving(target: str, *flags: str) -> Iterator[Server]:
    """A server for a test, which ends well."""
    with Server(target, *flags) as server:
        yield server
        assert server.stop() == 0, server.log()
