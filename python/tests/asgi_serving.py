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

APPS = pathlib.Path(__file__).parent / "asgi_apps"

#: Whatever takes longer has failed; the machine may be loaded.
PATIENCE = 30.0


def wait_until(condition, what, patience=PATIENCE):
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

    def __init__(self, app, *flags, env=None):
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
        self.lines = []
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
        self.out = []
        self._readers = [
            threading.Thread(target=self._read, args=(self.process.stderr, self.lines)),
            threading.Thread(target=self._read, args=(self.process.stdout, self.out)),
        ]
        for reader in self._readers:
            reader.start()
        self.port = 0

    def __enter__(self):
        try:
            wait_until(self._listens, "the ready line")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            # Workers notice that their master is gone.
            self.process.kill()
        self.process.wait()
        for reader in self._readers:
            reader.join(PATIENCE)

    @property
    def log(self):
        return "".join(self.lines)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def connect(self):
        client = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return client

    def workers(self):
        """The process ids of workers that are ready, oldest first."""
        ready = re.findall(r"worker is ready worker=\d+ gen=\d+ pid=(\d+)", self.log)
        return [int(pid) for pid in ready]

    def signal(self, number):
        self.process.send_signal(number)

    def stop(self):
        """Stop it as a service manager does; answers with the exit code."""
        self.signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    def account(self):
        """The numbers of the last line, once it has stopped."""
        wait_until(lambda: "account=" in self.log, "the account")
        last = self.log[self.log.rindex("account=") :]
        return {name: int(value) for name, value in re.findall(r"(\w+)=(\d+)", last)}

    def _listens(self):
        found = re.search(r"listening on http://127\.0\.0\.1:(\d+)", self.log)
        if found is None:
            if self.process.poll() is not None:
                raise AssertionError(f"the server ended at once:\n{self.log}")
            return False
        self.port = int(found[1])
        return True

    @staticmethod
    def _read(stream, lines):
        with contextlib.suppress(ValueError):
            lines.extend(iter(stream.readline, ""))


def request(target="/", *fields, method="GET", body=b""):
    """The bytes of a request."""
    head = [f"{method} {target} HTTP/1.1", "host: test", *fields]
    if body:
        head.append(f"content-length: {len(body)}")
    return "\r\n".join([*head, "", ""]).encode() + body


class Response:
    def __init__(self, status, fields, body):
        self.status, self.fields, self.body = status, fields, body


def read_response(client):
    """One response from a socket, by its own words for its length."""
    reader = client if hasattr(client, "readline") else client.makefile("rb")
    line = reader.readline()
    if not line:
        return None
    status = int(line.split()[1])
    fields = {}
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


def ask(client, target="/", *fields, **more):
    """One exchange on a connection that stays."""
    client.sendall(request(target, *fields, **more))
    return read_response(client)
