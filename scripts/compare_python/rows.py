"""
The rows of the table: what is asked of whom, and the bar.

Within a row the arms take turns (A B C, C B A, …), each with servers of its own; those that wait
for their turn are idle.

Not here: open loops, such as short requests beside long ones (`tails`), and servers that something
befalls (`fates`).
"""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from compare_python import arms, load
from compare_python.arms import Application
from compare_python.figures import Line, median, ratio, short
from compare_python.servers import Running, memory_kib
from compare_python.sockets import ANSWER_SECONDS_MAX, WebSockets, held

HELLO_ASGI = Application("hello:app", "asgi", workers=2)
HELLO_WSGI = Application("hello:application", "wsgi", workers=2)
TIMED = Application("timed:app", "asgi", workers=8)


@dataclass(frozen=True)
class Setting:
    """How long, how often, and where results go."""

    is_quick: bool
    rounds: int
    seconds: float
    seed: int
    folder: Path


def turns(servers: Sequence[str], rounds: int) -> Iterator[str]:
    """A B C, C B A, A B C and so on."""
    for number in range(rounds):
        yield from servers if number % 2 == 0 else reversed(servers)


def present(*servers: str) -> list[str]:
    """Those that are installed."""
    return [server for server in servers if arms.is_here(server)]


def saturated(
    servers: Sequence[str], application: Application, setting: Setting, *, is_new: bool
) -> dict[str, list[load.Rate]]:
    """What each does at its limit, run by run."""
    found: dict[str, list[load.Rate]] = defaultdict(list)
    with contextlib.ExitStack() as stack:
        running = {
            server: stack.enter_context(Running(arms.command(server, application)))
            for server in servers
        }
        # Not measured: interpreters specialise their code, allocators grow.
        for server in servers:
            load.wrk(running[server], "/", 1, is_new=is_new)
        for server in turns(servers, setting.rounds):
            found[server].append(load.wrk(running[server], "/", setting.seconds, is_new=is_new))
    return found


def rates(found: dict[str, list[load.Rate]]) -> dict[str, str]:
    """Medians: requests a second, and CPU for each."""
    return {
        server: f"{short(median([one.rate for one in runs]))} "
        f"({short(median([one.cpu_us for one in runs]))} µs)"
        for server, runs in found.items()
    }


def against(found: dict[str, list[load.Rate]], other: str) -> float:
    """How many times the other's rate maitred's is."""
    ours, theirs = ([one.rate for one in found[server]] for server in ("maitred", other))
    return ratio(ours, theirs)


def hello_kept(setting: Setting) -> Iterator[Line]:
    """A greeting on kept connections."""
    servers = present("maitred", "uvicorn", "granian")
    found = saturated(servers, HELLO_ASGI, setting, is_new=False)
    times = against(found, "uvicorn")
    what = "ASGI hello, 2 workers, 64 kept connections: requests/s (CPU each)"
    yield Line(what, rates(found), "≥ 0.97 × Uvicorn", f"{times:.2f} ×", times >= 0.97)


def hello_new(setting: Setting) -> Iterator[Line]:
    """A greeting on a new connection each."""
    servers = present("maitred", "uvicorn", "granian")
    found = saturated(servers, HELLO_ASGI, setting, is_new=True)
    times = against(found, "uvicorn")
    what = "ASGI hello, 2 workers, a new connection each: requests/s (CPU each)"
    yield Line(what, rates(found), "≥ 0.95 × Uvicorn", f"{times:.2f} ×", times >= 0.95)


def hello_wsgi(setting: Setting) -> Iterator[Line]:
    """A greeting by WSGI."""
    servers = present("maitred", "granian", "gunicorn", "uwsgi")
    found = saturated(servers, HELLO_WSGI, setting, is_new=False)
    granian, gunicorn = against(found, "granian"), against(found, "gunicorn")
    yield Line(
        "WSGI hello, 2 workers × 1 thread, 64 kept connections: requests/s (CPU each)",
        rates(found),
        "≥ 1.1 × Granian, ≥ 5 × Gunicorn",
        f"{granian:.2f} ×, {gunicorn:.1f} ×",
        granian >= 1.1 and gunicorn >= 5,
    )


def websockets(setting: Setting) -> Iterator[Line]:
    """A greeting beside open WebSockets, and without them, by two servers of the same kind."""
    found: dict[bool, list[load.Rate]] = defaultdict(list)
    count = 100 * HELLO_ASGI.workers
    command = arms.command("maitred", HELLO_ASGI)
    with Running(command) as without, Running(command) as beside:
        for server in (without, beside):
            load.wrk(server, "/", 1)
        with WebSockets(beside.port, count) as sockets:
            for number in range(setting.rounds):
                for has_sockets in (False, True) if number % 2 == 0 else (True, False):
                    server = beside if has_sockets else without
                    found[has_sockets].append(load.wrk(server, "/", setting.seconds))
            seats, still_open = sorted(sockets.seats.values()), sockets.count()
    ours, theirs = ([one.rate for one in found[has]] for has in (True, False))
    times = ratio(ours, theirs)
    figures = f"{short(median(ours))} beside {seats}, {short(median(theirs))} without"
    yield Line(
        "ASGI hello beside 100 open WebSockets in each of 2 workers: requests/s",
        {"maitred": figures},
        "≥ 0.97 × without, all stay open",
        f"{times:.2f} ×, {still_open} of {count} open",
        times >= 0.97 and still_open == count,
    )


def connections(_setting: Setting) -> Iterator[Line]:
    """400 connections, opened and held: the fullest worker's, against the mean."""
    count = 400
    lines: dict[str, dict[str, float]] = {}
    for server in present("maitred", "uvicorn", "granian"):
        with Running(arms.command(server, TIMED), workers=TIMED.workers) as running:
            lines[server] = {}
            for way, at_once in (("one by one", 1), ("bursts of 50", 50)):
                with held(running.port, count, at_once) as seats:
                    mean = count / TIMED.workers
                    lines[server][way] = max(seats.values()) / mean
                settle(running)
    for way in ("one by one", "bursts of 50"):
        ours = lines["maitred"][way]
        yield Line(
            f"400 held connections ({way}), 8 workers: max / mean",
            {server: f"{found[way]:.2f}" for server, found in lines.items()},
            "≤ 1.02",
            f"{ours:.2f}",
            ours <= 1.02,
        )


def settle(server: Running) -> None:
    """Waits until a server has noticed that its clients have gone: few sockets are left."""
    deadline = time.monotonic() + ANSWER_SECONDS_MAX
    while _sockets(server) > 64 and time.monotonic() < deadline:
        time.sleep(0.05)


def _sockets(server: Running) -> int:
    """Established connections to its port, by the kernel's own list."""
    port = f":{server.port:04X} "
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    # Column 1 is the local address, 3 the state: 01 established, 08 waiting to be closed.
    rows = (line.split() for line in lines if port in line)
    return sum(1 for row in rows if row[1].endswith(port.strip()) and row[3] in {"01", "08"})


def memory(setting: Setting) -> Iterator[Line]:
    """What one worker takes, after it has worked."""
    application = Application("timed:app", "asgi", workers=2)
    found: dict[str, tuple[float, float]] = {}
    for server in present("maitred", "uvicorn", "granian"):
        with Running(arms.command(server, application), workers=2) as running:
            load.wrk(running, "/pid", 1 if setting.is_quick else 2)
            sizes = [memory_kib(pid) for pid in running.workers()]
        found[server] = (median([one for one, _ in sizes]), median([one for _, one in sizes]))
    more = [ours - theirs for ours, theirs in zip(found["maitred"], found["uvicorn"], strict=True)]
    yield Line(
        "memory of a worker, MiB: proportional (resident)",
        {name: f"{pss / 1024:.1f} ({rss / 1024:.1f})" for name, (pss, rss) in found.items()},
        "≤ Uvicorn + 5, proportional",
        f"{more[0] / 1024:+.1f} ({more[1] / 1024:+.1f})",
        # The resident set counts what workers share with their master once for each of them.
        more[0] <= 5 * 1024,
    )
