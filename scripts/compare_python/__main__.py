"""
The table of scripts/compare-python, row by row.

Not here: building maitred and installing the others (scripts/compare-python does it).
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from compare_python import fates, rows, tails
from compare_python.figures import Line, head
from compare_python.rows import Setting

ROWS: dict[str, Callable[[Setting], Iterator[Line]]] = {
    "beside-slow": tails.beside_slow,
    "connections": rows.connections,
    "hello-kept": rows.hello_kept,
    "hello-new": rows.hello_new,
    "websockets": rows.websockets,
    "wsgi": rows.hello_wsgi,
    "working": tails.working,
    "awaiting": tails.awaiting,
    "killed": fates.killed,
    "reloaded": fates.reloaded,
    "recycled": fates.recycled,
    "memory": rows.memory,
}

PACKAGES = ("maitred", "uvicorn", "uvloop", "httptools", "granian", "gunicorn", "uWSGI", "fastapi")


def main() -> int:
    """Runs the rows that were asked for; 1 if one of them has no figures."""
    arguments = parse()
    names = [name for name in ROWS if not arguments.rows or name in arguments.rows]
    print(described(arguments), "", head(), sep="\n", flush=True)
    failed = []
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="compare-python-") as folder:
        setting = Setting(
            is_quick=arguments.quick,
            rounds=arguments.rounds or (2 if arguments.quick else 5),
            seconds=arguments.seconds or (1 if arguments.quick else 4),
            seed=arguments.seed,
            folder=Path(folder),
        )
        for name in names:
            print(f"compare-python: {name}", file=sys.stderr, flush=True)
            row_began = time.monotonic()
            try:
                lines = list(ROWS[name](setting))
            # One server that does not start must not cost the other rows their quiet hour.
            except (OSError, RuntimeError, ArithmeticError, subprocess.CalledProcessError) as error:
                print(f"compare-python: {name}: {error}", file=sys.stderr, flush=True)
                failed.append(name)
                continue
            lines[-1].seconds = time.monotonic() - row_began
            print(*(line.markdown() for line in lines), sep="\n", flush=True)
    print(f"\n{time.monotonic() - began:.0f} s in all.")
    if failed:
        print(f"No figures: {', '.join(failed)}.")
    return 1 if failed else 0


def parse() -> argparse.Namespace:
    """What was typed."""
    parser = argparse.ArgumentParser(prog="scripts/compare-python", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(ROWS)}; else all")
    parser.add_argument("--quick", action="store_true", help="a rehearsal: figures mean little")
    parser.add_argument("--rounds", type=int, help="runs of each arm at saturation (5)")
    parser.add_argument("--seconds", type=float, help="of each of them (4)")
    parser.add_argument("--seed", type=int, default=1, help="arrivals, and who is killed (1)")
    arguments = parser.parse_args()
    unknown = set(arguments.rows) - set(ROWS)
    if unknown:
        parser.error(f"no row {', '.join(sorted(unknown))}; there are {', '.join(ROWS)}")
    return arguments


def version_of(package: str) -> str:
    """A peer and its version."""
    try:
        return f"{package} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:
        return f"no {package}"


def described(arguments: argparse.Namespace) -> str:
    """What figures travel with."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if "model name" in line), "?")
    git = ["git", "describe", "--always", "--dirty"]
    revision = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    versions = [version_of(package) for package in PACKAGES]
    quick = " A rehearsal: figures mean little." if arguments.quick else ""
    return (
        f"Linux {platform.release()}, {len(os.sched_getaffinity(0))} cores, {model}, "
        f"Python {platform.python_version()}, revision {revision or 'unknown'}, "
        f"seed {arguments.seed}. {', '.join(versions)}. Client and servers share the cores: "
        f"compare within a row.{quick}"
    )


if __name__ == "__main__":
    sys.exit(main())
