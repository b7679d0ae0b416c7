"""A server as its user starts it, for the tests of ASGI applications: the built command, port 0."""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, TypeVar

Found = TypeVar("Found")

APPS = pathlib.Path(__file__).parent / "asgi_apps"

#: Whatever takes longer has failed; the machine may be loaded.
PATIENCE = 30.0


def wait_until(condition: Callable[[], Found], what: str, patience: float = PATIENCE) -> Found:
    """Wait for a condition, and answer with what it was true by."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.005)
    raise AssertionError(f"not within {patience} s: {what}")


class Server:
    """A running server; ends with the ``with`` block at the latest."""

    def __init__(self, app: str, *flags: str, env: dict[str, str] | None = None) -> None:
        command = [
            sys.executable,
            "-m",
            "maitred",
            "serve",
            app,
            "--bind",
            "127.0.0.1:0",
            "--app-dir",
            str(APPS),
            *flags,
        ]
        self.lines: list[str] = []
        environment = {**os.environ, **(env or {})}
        environment.pop("WEB_CONCURRENCY", None)
        self.process = subprocess.Popen(
            command,
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            errors="replace",
            env=environment,
        )
        self.out: list[str] = []
        self._readers = [
            threading.Thread(target=self._read, args=(self.process.stderr, self.lines)),
            threading.Thread(target=self._read, args=(self.process.stdout, self.out)),
        ]
        for reader in self._readers:
            reader.start()
        self.port = 0

    def __enter__(self) -> Server:
        try:
            wait_until(self._listens, "the ready line")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            # Workers notice that their master is gone.
            self.process.kill()
        self.process.wait()
        for reader in self._readers:
            reader.join(PATIENCE)

    @property
    def log(self) -> str:
        return "".join(self.lines)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def connect(self) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return client

    def workers(self) -> list[int]:
        """The process ids of workers that are ready, oldest first."""
        ready = re.findall(r"worker is ready worker=\d+ gen=\d+ pid=(\d+)", self.log)
        return [int(pid) for pid in ready]

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def stop(self) -> int:
        """Stop it as a service manager does; answers with the exit code."""
        self.signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    def account(self) -> dict[str, int]:
        """The numbers of the last line, once it has stopped."""
        wait_until(lambda: "account=" in self.log, "the account")
        last = self.log[self.log.rindex("account=") :]
        return {name: int(value) for name, value in re.findall(r"(\w+)=(\d+)", last)}

    def _listens(self) -> bool:
        found = re.search(r"listening on http://127\.0\.0\.1:(\d+)", self.log)
        if found is None:
            if self.process.poll() is not None:
                raise AssertionError(f"the server ended at once:\n{self.log}")
            return False
        self.port = int(found[1])
        return True

    @staticmethod
    def _read(stream: IO[str], lines: list[str]) -> None:
        with contextlib.suppress(ValueError):
            lines.extend(iter(stream.readline, ""))


def request(target: str = "/", *fields: str, method: str = "GET", body: bytes = b"") -> bytes:
    """The bytes of a request."""
    head = [f"{method} {target} HTTP/1.1", "host: test", *fields]
    if body:
        head.append(f"content-length: {len(body)}")
    return "\r\n".join([*head, "", ""]).encode() + body


@dataclass
class Response:
    status: int
    fields: dict[str, str]
    body: bytes


def read_response(client: socket.socket | IO[bytes]) -> Response:
    """One response from a socket, by its own words for its length."""
    reader = client.makefile("rb") if isinstance(client, socket.socket) else client
    line = reader.readline()
    assert line, "the connection ended without a response"
    status = int(line.split()[1])
    fields: dict[str, str] = {}
    while (line := reader.readline().strip()) != b"":
        name, _, value = line.partition(b":")
        fields[name.strip().lower().decode()] = value.strip().decode()
    if fields.get("transfer-encoding") == "chunked":
        body = b""
        while size := int(reader.readline(), 16):
            body += reader.read(size)
            reader.readline()
        reader.readline()
    elif "content-length" in fields:
        body = reader.read(int(fields["content-length"]))
    else:
        body = b"" if status in (101, 204, 304) else reader.read()
    return Response(status, fields, body)


def ask(
    client: socket.socket,
    target: str = "/",
    *fields: str,
    method: str = "GET",
    body: bytes = b"",
) -> Response:
    """One exchange on a connection that stays."""
    client.sendall(request(target, *fields, method=method, body=body))
    return read_response(client)
