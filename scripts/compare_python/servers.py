"""
Running servers: started, waited for until every worker answers, looked at, ended.

Not here: their command lines (`arms`).
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from compare_python.sockets import answer_of, connect, pids_of_many

# From a server's start until all of its workers answer. Eight interpreters share two cores.
START_SECONDS_MAX = 60.0
# From TERM until it is killed. Nothing is measured any more.
STOP_SECONDS_MAX = 5.0
# Connections at one time by which workers are looked for: each may be anybody's.
PROBES = 32

# Variables that would make a server another one than the command line says.
FOREIGN = ("MAITRED_", "UVICORN_", "GUNICORN_", "GRANIAN_", "UWSGI_")


class Running:
    """A server, until the `with` block ends."""

    def __init__(self, command: Sequence[str], *, workers: int = 0) -> None:
        """Starts it. With `workers`, waits until so many have answered `/pid`."""
        self.port = _free_port()
        names = ("PORT", "WEB_CONCURRENCY", "LISTEN_FDS", "LISTEN_PID", "NOTIFY_SOCKET")
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(FOREIGN) and name not in names
        }
        self.command = [word.replace("{port}", str(self.port)) for word in command]
        self._said = tempfile.TemporaryFile()  # noqa: SIM115
        self.process = subprocess.Popen(
            self.command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=self._said,
            stderr=subprocess.STDOUT,
            # A group of its own: whatever it leaves behind ends with it.
            start_new_session=True,
        )
        try:
            self._wait(workers)
        except BaseException:
            self.end()
            raise

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Asks, waits, kills the whole group."""
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_SECONDS_MAX)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._said.close()

    def said(self) -> str:
        """Its last words."""
        self._said.seek(0)
        return self._said.read().decode(errors="replace")[-2000:]

    def workers(self) -> set[int]:
        """The processes that have answered `/pid` on some new connections."""
        return set(pids_of_many(self.port, PROBES))

    def cpu_ns(self) -> int:
        """CPU time of all its processes, as the kernel's scheduler counts it."""
        return sum(_cpu_ns(pid) for pid in _family(self.process.pid))

    def _wait(self, workers: int) -> None:
        deadline = time.monotonic() + START_SECONDS_MAX
        found: set[int] = set()
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.command} ended:\n{self.said()}")
            with contextlib.suppress(OSError):
                if workers:
                    found |= self.workers()
                elif self._answers():
                    found.add(0)
            if len(found) >= max(workers, 1):
                return
            time.sleep(0.05)
        raise RuntimeError(f"{self.command} did not serve:\n{self.said()}")

    def _answers(self) -> bool:
        with connect(self.port) as client:
            return answer_of(client, "/") is not None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _family(pid: int) -> Iterator[int]:
    """A process, its children, theirs."""
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in children.read_text().split():
                yield from _family(int(child))


def _cpu_ns(pid: int) -> int:
    total = 0
    for schedstat in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with contextlib.suppress(OSError):
            total += int(schedstat.read_text().split()[0])
    return total


def memory_kib(pid: int) -> tuple[int, int]:
    """Proportional and resident set of a process."""
    sizes = {"Pss": 0, "Rss": 0}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name in sizes:
            sizes[name] = int(rest.split()[0])
    return sizes["Pss"], sizes["Rss"]
