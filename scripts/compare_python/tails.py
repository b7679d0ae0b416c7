"""
Rows of open loops: the tail of latencies, by `maitred bench`.

Not here: what saturates (`rows`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from compare_python import arms, load
from compare_python.arms import Application
from compare_python.figures import Line, median, ratio, short
from compare_python.load import Tail
from compare_python.rows import Setting, present
from compare_python.servers import Running

PLANS = Path(__file__).parent / "plans"

TIMED = Application("timed:app", "asgi", workers=4)
AWAITING = Application("timed:app", "asgi", workers=2)
FAST = Application("fast:app", "asgi", workers=4)

# Of what Uvicorn can do at most.
SHARE = 0.7


def run(
    name: str,
    servers: list[str],
    application: Application,
    setting: Setting,
    values: dict[str, str] | None = None,
) -> dict[str, Tail]:
    """The plan of this name, with these servers."""
    return load.bench(
        PLANS / f"{name}.toml",
        {server: arms.command(server, application) for server in servers},
        setting.folder,
        workers=application.workers,
        seed=setting.seed,
        is_quick=setting.is_quick,
        values=values,
    )


def percentiles(tails: dict[str, Tail]) -> dict[str, str]:
    """Medians of the runs, and what has failed."""
    figures = {}
    for server, tail in tails.items():
        figures[server] = " / ".join(short(median(one)) for one in (tail.p50, tail.p99, tail.p999))
        if tail.failed:
            figures[server] += f", {tail.failed} failed"
    return figures


def times_better(tails: dict[str, Tail], other: str) -> float:
    """How many times the p99 of the other is."""
    return ratio(tails[other].p99, tails["maitred"].p99)


def beside_slow(setting: Setting) -> Iterator[Line]:
    """Short requests beside long ones."""
    tails = run("beside-slow", present("maitred", "uvicorn", "granian"), TIMED, setting)
    p99, p999 = median(tails["maitred"].p99), median(tails["maitred"].p999)
    uvicorn, granian = times_better(tails, "uvicorn"), times_better(tails, "granian")
    yield Line(
        "800/s of 0.1 ms beside 10/s of 30 ms CPU, 4 workers, 64 kept connections: "
        "p50 / p99 / p99.9 of the short, ms",
        percentiles(tails),
        "p99 ≤ 2, p99.9 ≤ 6, p99 ≥ 10 × better",
        f"{short(p99)}, {short(p999)}; {uvicorn:.0f} × Uvicorn, {granian:.0f} × Granian",
        p99 <= 2 and p999 <= 6 and uvicorn >= 10 and granian >= 10 and not tails["maitred"].failed,
    )


def working(setting: Setting) -> Iterator[Line]:
    """FastAPI with a millisecond of CPU, at a share of what Uvicorn can do."""
    with Running(arms.command("uvicorn", FAST)) as uvicorn:
        load.wrk(uvicorn, "/spin/1", 1)
        most = load.wrk(uvicorn, "/spin/1", 1 if setting.is_quick else 4).rate
    rate = round(SHARE * most)
    servers = present("maitred", "uvicorn", "granian")
    tails = run("working", servers, FAST, setting, {"RATE": str(rate)})
    against = {server: times_better(tails, server) for server in ("uvicorn", "granian")}
    yield Line(
        f"FastAPI, 1 ms CPU, 4 workers, {rate}/s (70 % of Uvicorn's {most:.0f}): "
        "p50 / p99 / p99.9, ms",
        percentiles(tails),
        "p99 ≥ 2 × better",
        f"{against['uvicorn']:.1f} × Uvicorn, {against['granian']:.1f} × Granian",
        min(against.values()) >= 2 and not tails["maitred"].failed,
    )


def awaiting(setting: Setting) -> Iterator[Line]:
    """Requests that wait for something else."""
    tails = run("awaiting", present("maitred", "uvicorn"), AWAITING, setting)
    more = ratio(tails["maitred"].p99, tails["uvicorn"].p99)
    yield Line(
        "300/s that await 100 ms, 2 workers: p50 / p99 / p99.9, ms",
        percentiles(tails),
        "p99 ≤ 1.1 × Uvicorn",
        f"{more:.2f} ×",
        more <= 1.1 and not tails["maitred"].failed,
    )
