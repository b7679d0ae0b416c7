"""A real application on a real server: maitred, or with `--server reference` the server that the
application's users run today.

The reference proves that a test asks for what the ecosystem does: Uvicorn serves the ASGI
applications, Gunicorn's threads the WSGI ones. What is asked is the same, word for word.

Not here: the applications (`apps/`), tests of maitred alone (`conftest`'s `Server`).
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import httpx

APPS = Path(__file__).parent / "apps"

# The Django site, by interface.
LIBRARY = {
    # Without an attribute it means `application`, as for Gunicorn.
    "wsgi": "library.wsgi",
    "asgi": "library.asgi:application",
}

# From the start of a server until it answers. Django imports for a second on a busy machine.
START_SECONDS_MAX = 60.0
# For whatever a test waits for.
WAIT_SECONDS_MAX = 20.0
# From TERM until a server is killed.
STOP_SECONDS_MAX = 20.0

# What Uvicorn, Gunicorn and maitred say when they listen.
ADDRESS = re.compile(r"(?:running on|Listening at:|listening on) (http://127\.0\.0\.1:\d\d+)")

Found = TypeVar("Found")


def wait_for(condition: Callable[[], Found], what: str) -> Found:
    """Returns the first true value of a condition, which has `WAIT_SECONDS_MAX`."""
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while not (value := condition()):
        assert time.monotonic() < deadline, f"in vain waited for {what}"
        time.sleep(0.01)
    return value


class Site:
    """A running server. It ends with the `with` block, and so does everything that it started."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        inherited = {
            name: value
            for name, value in os.environ.items()
            # Servers read these; a test says itself what it wants.
            if not name.startswith(("MAITRED_", "UVICORN_", "GUNICORN_"))
            and name not in {"PORT", "WEB_CONCURRENCY", "FORWARDED_ALLOW_IPS"}
        }
        self.command = list(command)
        self._said: list[str] = []
        self._process = subprocess.Popen(
            self.command,
            env=inherited | dict(environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            # A group of its own: workers that a broken master leaves behind end with it.
            start_new_session=True,
        )
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        try:
            self.url = self._wait_until_it_serves()
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> Site:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The first process: the master."""
        return self._process.pid

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.url.rpartition(":")[2])

    def log(self) -> str:
        """Everything that it has said until now, on stdout and stderr."""
        return "".join(self._said)

    def reload(self) -> None:
        """Asks for new workers, and does not wait for them."""
        self._process.send_signal(signal.SIGHUP)

    def terminate(self) -> None:
        """Asks the server to end, and does not wait for it."""
        self._process.send_signal(signal.SIGTERM)

    def wait(self, seconds: float = STOP_SECONDS_MAX) -> int:
        """Waits for its end."""
        return self._process.wait(seconds)

    def stop(self) -> int:
        """Ends it, gracefully if it does so in time, and returns its status."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                self._process.kill()
        # Nobody of the group outlives the test; usually nobody is left.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        status = self._process.wait()
        self._listener.join(WAIT_SECONDS_MAX)
        return status

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._said.append(line)

    def _wait_until_it_serves(self) -> str:
        deadline = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < deadline:
            found = ADDRESS.search(self.log())
            if found is not None and _answers(found[1]):
                return found[1]
            if self._process.poll() is not None:
                self._listener.join(WAIT_SECONDS_MAX)
                raise AssertionError(f"{self.command} ended:\n{self.log()}")
            time.sleep(0.02)
        raise AssertionError(f"{self.command} did not serve:\n{self.log()}")


def _answers(url: str) -> bool:
    """Whether anything comes back: who listens may not yet have loaded the application."""
    try:
        httpx.get(url, timeout=WAIT_SECONDS_MAX)
    except httpx.TransportError:
        return False
    return True


def command(
    server: str,
    interface: str,
    application: str,
    folder: Path,
    *,
    workers: int = 1,
    threads: int = 4,
    flags: Sequence[str] = (),
) -> list[str]:
    """The command line that serves an application, on a free port.

    `flags` are spelled as maitred and Uvicorn both know them, so that the reference takes them too;
    Gunicorn has other words, so that tests of WSGI give none.
    """
    interpreter = [sys.executable, "-m"]
    if server == "maitred":
        return [
            *(*interpreter, "maitred", "serve", application, "--app-dir", str(folder)),
            *("--host", "127.0.0.1", "--port", "0", "--workers", str(workers)),
            *(("--threads", str(threads)) if interface == "wsgi" else ()),
            # The clients of a test are gone when it asks for the end.
            *("--drain-delay", "0", *flags),
        ]
    if interface == "asgi":
        return [
            *(*interpreter, "uvicorn", application, "--app-dir", str(folder)),
            *("--host", "127.0.0.1", "--port", "0", *flags),
        ]
    assert not flags, "Gunicorn spells them otherwise"
    return [
        *(*interpreter, "gunicorn", application, "--pythonpath", str(folder)),
        *("--bind", "127.0.0.1:0", "--workers", str(workers)),
        *("--worker-class", "gthread", "--threads", str(threads)),
    ]
