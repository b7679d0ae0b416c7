"""
The servers that are compared, and the command line of each.

Held equal: workers, handler threads, the backlog, uvloop and httptools wherever a server has a
choice, no access log, keep-alive without a limit on requests.

Not here: running them (`servers`), what is asked of them (`rows`).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

APPLICATIONS = Path(__file__).parent / "applications"
BACKLOG = 2048

# Where this interpreter's environment keeps commands: the script's own environment.
BIN = Path(sys.executable).parent

# How the servers are called in tables.
TITLES = {
    "maitred": "maitred",
    "uvicorn": "Uvicorn",
    "granian": "Granian",
    "gunicorn": "Gunicorn gthread",
    "uwsgi": "uWSGI",
}


@dataclass(frozen=True)
class Application:
    """What is served: `module:attribute` of a file in `applications`, by which interface."""

    name: str
    interface: str
    workers: int
    # Handler threads of each worker; only by WSGI.
    threads: int = 1


def is_here(server: str) -> bool:
    """Whether the environment has it; uWSGI is built from source and may be missing."""
    return (BIN / server).exists()


def command(server: str, application: Application, *flags: str) -> list[str]:
    """The command line, with `{port}` where the port goes."""
    name, workers = application.name, str(application.workers)
    folder, threads = str(APPLICATIONS), str(application.threads)
    is_wsgi = application.interface == "wsgi"
    program = str(BIN / server)
    if server == "maitred":
        return [
            *(program, "serve", name, "--app-dir", folder, "--interface", application.interface),
            *("--host", "127.0.0.1", "--port", "{port}", "--workers", workers),
            *("--backlog", str(BACKLOG), "--log-level", "warn"),
            *(("--threads", threads) if is_wsgi else ("--loop", "uvloop", "--http", "httptools")),
            # Nobody is waiting for a bench's server to end.
            *("--drain-delay", "0", "--graceful-timeout", "2"),
            *flags,
        ]
    if server == "uvicorn":
        assert not is_wsgi
        return [
            *(program, name, "--app-dir", folder, "--host", "127.0.0.1", "--port", "{port}"),
            *("--workers", workers, "--backlog", str(BACKLOG), "--loop", "uvloop"),
            *("--http", "httptools", "--no-access-log", "--log-level", "warning"),
            *("--timeout-keep-alive", "75", "--timeout-graceful-shutdown", "2"),
            *flags,
        ]
    if server == "granian":
        return [
            *(program, "--interface", application.interface, "--working-dir", folder),
            *("--host", "127.0.0.1", "--port", "{port}", "--workers", workers, "--loop", "uvloop"),
            *("--backlog", str(BACKLOG), "--no-log", "--http", "1"),
            *(("--blocking-threads", threads) if is_wsgi else ()),
            *flags,
            name,
        ]
    if server == "gunicorn":
        assert is_wsgi
        return [
            *(program, name, "--pythonpath", folder, "--bind", "127.0.0.1:{port}"),
            *("--workers", workers, "--worker-class", "gthread", "--threads", threads),
            *("--backlog", str(BACKLOG), "--keep-alive", "75", "--log-level", "warning"),
            *flags,
        ]
    assert server == "uwsgi", server
    assert is_wsgi
    return [
        *(program, "--http11-socket", "127.0.0.1:{port}", "--module", name),
        *("--pythonpath", folder, "--master", "--processes", workers, "--threads", threads),
        *("--listen", str(BACKLOG), "--disable-logging", "--die-on-term", "--need-app"),
        *flags,
    ]
