"""
Load by programs that are good at it: wrk for saturation, `maitred bench` for open loops.

wrk's latencies hide stalls, since it waits for answers before it asks again: only its rate is
taken. `maitred bench` counts a latency from when the request was due, and says how late it was
itself.

Not here: the client that keeps books (`ledger`).
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from compare_python.arms import BIN
from compare_python.servers import Running

CONNECTIONS = 64


@dataclass(frozen=True)
class Rate:
    """What a saturated server does."""

    # Requests a second.
    rate: float
    # CPU time of all its processes, for one of them.
    cpu_us: float


def wrk(server: Running, path: str, seconds: float, *, is_new: bool = False) -> Rate:
    """Saturates it with 64 connections; `is_new`: each makes one request."""
    header = ["--header", "Connection: close"] if is_new else []
    before = server.cpu_ns()
    # wrk takes whole seconds.
    command = ["wrk", "--threads", "1", "--connections", str(CONNECTIONS)]
    command += ["--duration", f"{max(1, round(seconds))}s", *header]
    done = subprocess.run(
        [*command, f"http://127.0.0.1:{server.port}{path}"],
        capture_output=True,
        text=True,
        check=True,
    )
    used = server.cpu_ns() - before
    for trouble in re.findall(r"Socket errors.*|Non-2xx.*", done.stdout):
        print(f"compare-python: wrk: {trouble.strip()}", file=sys.stderr)
    requests = re.search(r"(\d+) requests in", done.stdout)
    rate = re.search(r"Requests/sec: *([0-9.]+)", done.stdout)
    assert requests is not None, done.stdout
    assert rate is not None, done.stdout
    return Rate(float(rate[1]), used / max(1, int(requests[1])) / 1000)


@dataclass(frozen=True)
class Tail:
    """Latencies of an open loop: each repetition's own, in milliseconds."""

    p50: list[float]
    p99: list[float]
    p999: list[float]
    failed: int


def bench(
    plan: Path,
    arms: Mapping[str, Sequence[str]],
    folder: Path,
    *,
    workers: int,
    seed: int,
    is_quick: bool,
    values: Mapping[str, str] | None = None,
) -> dict[str, Tail]:
    """Runs a plan of `plans/`, to which the arms are added, and `values` put for `@NAME@`."""
    text = plan.read_text()
    for name, value in (values or {}).items():
        text = text.replace(f"@{name}@", value)
    for name, command in arms.items():
        # A JSON array of strings is one of TOML.
        text += f'\n[[arm]]\nname = "{name}"\ncommand = {json.dumps(list(command))}\n'
        text += f'url = "http://127.0.0.1:{{port}}/"\nworkers = {workers}\n'
    filled = folder / plan.name
    filled.write_text(text)
    out = folder / f"{plan.stem}-result"
    command = [str(BIN / "maitred"), "bench", str(filled), "--out", str(out), "--seed", str(seed)]
    if is_quick:
        command.append("--quick")
    environment = {name: text for name, text in os.environ.items() if "MAITRED" not in name}
    # Its progress is ours: a bench is silent for minutes otherwise.
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    report = json.loads((out / "report.json").read_text())
    for warning in report["warnings"]:
        where = warning["arm"] or ""
        print(f"compare-python: {plan.stem} {where}: {warning['text']}", file=sys.stderr)
    tails = {}
    for cell in report["cells"]:
        figures = cell["figures"]
        tails[cell["arm"]] = Tail(
            p50=figures["p50"]["of_trials"],
            p99=figures["p99"]["of_trials"],
            p999=figures["p999"]["of_trials"],
            failed=sum(trial["due"] - trial["answered"] for trial in cell["trials"]),
        )
    return tails
