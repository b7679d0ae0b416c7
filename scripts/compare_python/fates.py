"""
Rows in which something befalls the server while a client keeps books.

Not here: the client (`ledger`).
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence

from compare_python import arms
from compare_python.arms import Application
from compare_python.figures import Line
from compare_python.ledger import ANSWERED, RATE, Event, Ledger
from compare_python.rows import Setting, present
from compare_python.servers import Running

TIMED = Application("timed:app", "asgi", workers=2)

# Recycled every other second at this rate.
REQUESTS_MAX = 1000


def kills(server: Running, setting: Setting, seconds: float) -> list[Event]:
    """Three workers are killed, each while the others serve."""
    chance = random.Random(setting.seed)

    def kill() -> None:
        os.kill(chance.choice(sorted(server.workers())), signal.SIGKILL)

    return [(seconds * share, kill) for share in (0.15, 0.4, 0.65)]


def reloads(server: Running, _setting: Setting, seconds: float) -> list[Event]:
    """Two reloads: HUP, for all of them."""

    def reload() -> None:
        os.kill(server.process.pid, signal.SIGHUP)

    return [(seconds * share, reload) for share in (0.1, 0.5)]


def nothing(_server: Running, _setting: Setting, _seconds: float) -> list[Event]:
    """Nothing comes from outside."""
    return []


def row(
    what: str,
    setting: Setting,
    happenings: Callable[[Running, Setting, float], list[Event]],
    flags: Mapping[str, Sequence[str]] | None = None,
) -> Iterator[Line]:
    """One event, for each server."""
    seconds = 3.0 if setting.is_quick else 8.0
    figures, lost = {}, 0
    for server in present("maitred", "uvicorn"):
        command = arms.command(server, TIMED, *(flags or {}).get(server, ()))
        with Running(command, workers=TIMED.workers) as running:
            ledger = Ledger(running.port, seconds, happenings(running, setting, seconds))
            account = ledger.run()
        rest = [f"{account[fate]} {fate}" for fate in sorted(account) if fate != ANSWERED]
        figures[server] = ", ".join([f"{ledger.lost} lost", *rest])
        if server == "maitred":
            lost = ledger.lost + sum(account[fate] for fate in account if fate.startswith("wrong"))
    yield Line(f"{what} at {RATE}/s, 2 workers", figures, "0 lost", str(lost), lost == 0)


def killed(setting: Setting) -> Iterator[Line]:
    """`kill -9`."""
    yield from row("three workers killed", setting, kills)


def reloaded(setting: Setting) -> Iterator[Line]:
    """HUP."""
    yield from row("two reloads (HUP)", setting, reloads)


def recycled(setting: Setting) -> Iterator[Line]:
    """Workers that end after so many requests."""
    most = str(REQUESTS_MAX)
    flags = {"maitred": ("--max-requests", most), "uvicorn": ("--limit-max-requests", most)}
    yield from row(f"workers recycled after {most} requests", setting, nothing, flags)
