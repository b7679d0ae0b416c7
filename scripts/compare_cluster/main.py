"""The table of docs/cluster.md: see scripts/compare-cluster for what is held equal."""

from __future__ import annotations

import argparse
import asyncio
import collections
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from load import Client, Outcome, run

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs" / "cluster"

#: Address and handler threads of each of two workers: the last node has a third of the places.
NODES = {"127.0.0.2": 6, "127.0.0.3": 6, "127.0.0.4": 2}
SERVICE = 0.1
CAPACITY = sum(2 * threads for threads in NODES.values()) / SERVICE
PATH = f"/sleep/{int(SERVICE * 1000)}"
WAIT = 30.0


class Node:
    """One maitred server."""

    def __init__(self, binary: str, host: str, folder: Path, flags: list[str]) -> None:
        self.binary, self.host, self.folder, self.flags = binary, host, folder, flags
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it serves."""
        command = [
            self.binary, "serve", "-b", f"{self.host}:8000", "-w", "2",
            "--threads", str(NODES[self.host]), "--agent-check", f"{self.host}:9100",
            "--load-header", "orca", "--drain-delay", "3s", *self.flags,
        ]  # fmt: skip
        log = (self.folder / f"{self.host}.log").open("ab")
        self.process = subprocess.Popen(command, stderr=log, stdout=log)
        until(lambda: (self.ask() or "").startswith("up ready"), f"{self.host} serves")

    def ask(self) -> str | None:
        """What its agent check says."""
        try:
            with socket.create_connection((self.host, 9100), timeout=1) as connection:
                return connection.makefile().read().strip()
        except OSError:
            return None

    def weight(self) -> int | None:
        """In percent."""
        found = re.fullmatch(r"up ready (\d+)%", self.ask() or "")
        return int(found[1]) if found else None

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Tell it to end, and wait."""
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(WAIT)
            self.process = None


class Cluster:
    """Three nodes and a balancer."""

    def __init__(self, arguments: argparse.Namespace, balancer: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="compare-cluster-"))
        flags = ["--proxy-protocol"] if balancer == "haproxy proxy" else []
        self.nodes = [Node(arguments.binary, host, self.folder, flags) for host in NODES]
        self.arguments, self.balancer = arguments, balancer
        self.port = 8081 if balancer.startswith("envoy") else 8080
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Cluster:
        try:
            self.begin()
        except BaseException:
            self.__exit__()
            raise
        return self

    def begin(self) -> None:
        """Start them all."""
        for node in self.nodes:
            node.start()
        self.process = subprocess.Popen(
            self.command(), stdout=(self.folder / "balancer.log").open("wb"), stderr=subprocess.STDOUT
        )
        until(lambda: reachable(self.port), f"{self.balancer} listens")

    def __exit__(self, *_: object) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(WAIT)
        for node in self.nodes:
            node.stop(signal.SIGQUIT)

    def command(self) -> list[str]:
        """The balancer as documented; a plain one has its own round-robin, and no weights."""
        if self.balancer.startswith("haproxy"):
            text = (DOCS / "haproxy.cfg").read_text()
            if self.balancer == "haproxy plain":
                text = re.sub(r" agent-check .*", "", text)
                text = re.sub(r" agent-addr \S+", "", text)
            if self.balancer == "haproxy proxy":
                # As the comment in docs/cluster/haproxy.cfg says.
                text = text.replace("weight 100 check", "weight 100 send-proxy-v2 check check-send-proxy")
            stats = f"stats socket {self.folder}/haproxy.sock level admin"
            text = text.replace("global\n", f"global\n    {stats}\n")
            path = self.folder / "haproxy.cfg"
            path.write_text(text)
            return ["haproxy", "-db", "-f", str(path)]
        text = (DOCS / "envoy.yaml").read_text()
        if self.balancer == "envoy plain":
            policy = text.index("      load_balancing_policy:")
            end = text.index("      load_assignment:")
            text = text[:policy] + "      lb_policy: ROUND_ROBIN\n" + text[end:]
        path = self.folder / "envoy.yaml"
        path.write_text(text)
        options = ["--concurrency", "1", "--disable-hot-restart", "-l", "warning"]
        return [self.arguments.envoy, "-c", str(path), *options]

    def haproxy_states(self) -> dict[str, tuple[str, int]]:
        """What HAProxy thinks of each node: its status and effective weight."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.folder / "haproxy.sock"))
            connection.sendall(b"show stat\n")
            rows = connection.makefile().read().splitlines()
        names = rows[0].lstrip("# ").split(",")
        table = [dict(zip(names, row.split(","), strict=False)) for row in rows[1:] if row]
        servers = [row for row in table if row["svname"].startswith("node")]
        return {row["svname"]: (row["status"], int(row["weight"] or 0)) for row in servers}


def until(condition: object, what: str, within: float = WAIT) -> float:
    """Wait for it, and say how long that took."""
    began = time.monotonic()
    while not condition():  # type: ignore[operator]
        if time.monotonic() - began > within:
            sys.exit(f"compare-cluster: not within {within} s: {what}")
        time.sleep(0.02)
    return time.monotonic() - began


def reachable(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


async def drive(cluster: Cluster, warm: float, seconds: float) -> tuple[Outcome, dict[str, list[int]]]:
    """Load at 0.7 of all capacity; weights are noted once a second, when all has settled."""
    weights: dict[str, list[int]] = {node.host: [] for node in cluster.nodes}

    async def note() -> None:
        await asyncio.sleep(warm)
        while True:
            for node in cluster.nodes:
                weight = await asyncio.to_thread(node.weight)
                if weight is not None:
                    weights[node.host].append(weight)
            await asyncio.sleep(1)

    noting = asyncio.create_task(note())
    client = Client("127.0.0.1", cluster.port, PATH)
    outcome = await run(client, 0.7 * CAPACITY, warm + seconds, seed=7)
    noting.cancel()
    return outcome, weights


class Table:
    """Rows with bars."""

    def __init__(self) -> None:
        self.failed = False

    def row(self, what: str, found: str, bar: str, holds: bool) -> None:  # noqa: FBT001
        """Print one."""
        self.failed |= not holds
        print(f"| {what} | {found} | {bar} | {'holds' if holds else 'MISSED'} |", flush=True)


def compare(arguments: argparse.Namespace, table: Table, engine: str) -> None:
    """p99 with weights against plain round-robin."""
    warm, seconds = (60, 30) if arguments.quick else (90, 90)
    quantiles, strays = {}, {}
    for kind in ("plain", "weighted"):
        with Cluster(arguments, f"{engine} {kind}") as cluster:
            outcome, weights = asyncio.run(drive(cluster, warm, seconds))
        quantiles[kind] = outcome.quantile(0.99, since=warm)
        median = outcome.quantile(0.5, since=warm)
        failures = collections.Counter(why for due, why in outcome.failures if due >= warm)
        print(
            f"<!-- {engine} {kind}: p50 {median * 1e3:.0f} ms, p99 {quantiles[kind] * 1e3:.0f} ms, "
            f"{len(outcome.latencies)} answered, {dict(failures)} failed; weights "
            f"{ {host: seen[-1:] for host, seen in weights.items()} } -->",
            flush=True,
        )
        if kind == "weighted":
            strays = {
                host: statistics.pstdev(seen) / statistics.mean(seen)
                for host, seen in weights.items() if seen
            }
    gain = quantiles["plain"] / quantiles["weighted"]
    found = f"{quantiles['plain'] * 1e3:.0f} → {quantiles['weighted'] * 1e3:.0f} ms, {gain:.1f} ×"
    table.row(f"{engine}: p99 by round-robin → by nodes' load", found, "≥ 3 ×", gain >= 3)
    if engine == "haproxy":
        worst = max(strays.values())
        table.row("haproxy: weights' standard deviation", f"{worst:.1%}", "≤ 10 %", worst <= 0.1)


def rolling(arguments: argparse.Namespace, table: Table) -> None:
    """Restarts of the nodes one after the other under load."""

    async def story(cluster: Cluster) -> Outcome:
        client = Client("127.0.0.1", cluster.port, PATH)
        load = asyncio.create_task(run(client, 0.3 * CAPACITY, 60, seed=11))
        await asyncio.sleep(5)
        for node in cluster.nodes:
            await asyncio.to_thread(node.stop)
            await asyncio.to_thread(node.start)
            await asyncio.sleep(3)
        return await load

    with Cluster(arguments, "haproxy weighted") as cluster:
        outcome = asyncio.run(story(cluster))
    for failure in outcome.failures[:5]:
        print(f"<!-- {failure} -->")
    found = f"{len(outcome.failures)} of {len(outcome.latencies) + len(outcome.failures)} failed"
    table.row("rolling restart of three nodes", found, "0 failed", not outcome.failures)


def kill(arguments: argparse.Namespace, table: Table) -> None:
    """kill -9 of a master: what fails, and when HAProxy knows."""
    taken = 0.0

    async def story(cluster: Cluster) -> tuple[Outcome, float]:
        nonlocal taken
        client = Client("127.0.0.1", cluster.port, PATH)
        load = asyncio.create_task(run(client, 0.3 * CAPACITY, 25, seed=13))
        await asyncio.sleep(10)
        victim = cluster.nodes[0]
        down = lambda: not cluster.haproxy_states()["node2"][0].startswith("UP")  # noqa: E731
        # A node that is out already would be found out at once.
        await asyncio.to_thread(until, lambda: not down(), "HAProxy has it in")
        began = time.monotonic()
        await asyncio.to_thread(victim.stop, signal.SIGKILL)
        await asyncio.to_thread(until, down, "HAProxy has it out")
        taken = time.monotonic() - began
        return await load, taken

    with Cluster(arguments, "haproxy weighted") as cluster:
        outcome, taken = asyncio.run(story(cluster))
    # At most what it was serving: its places.
    most = 2 * NODES["127.0.0.2"]
    found = f"{len(outcome.failures)} failed; out after {taken:.2f} s"
    holds = len(outcome.failures) <= most and taken <= 1.5
    table.row("kill -9 of a node's master", found, "what it was serving; one check (1 s)", holds)


def proxy(arguments: argparse.Namespace, table: Table) -> None:
    """The application sees the client's address: by a PROXY header of version 2."""
    with Cluster(arguments, "haproxy proxy") as cluster:
        seen = set()
        for number in range(5, 11):
            source = (f"127.0.0.{number}", 0)
            with socket.create_connection(("127.0.0.1", cluster.port), WAIT, source) as connection:
                connection.sendall(b"GET /client HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                answer = connection.makefile().read()
            seen |= {(source[0], json.loads(answer.rpartition("\n\n")[2])["address"])}
    wrong = [pair for pair in seen if pair[0] != pair[1]]
    found = f"{len(seen) - len(wrong)} of {len(seen)} clients"
    table.row("send-proxy-v2: who the application sees", found, "the client", not wrong)


def cpu_ns(master: int) -> int:
    """Time on a processor of a server and its workers: schedstat of every thread, in ns."""
    children = Path(f"/proc/{master}/task/{master}/children").read_text().split()
    processes = [Path(f"/proc/{pid}/task") for pid in (master, *children)]
    threads = [thread for process in processes for thread in process.iterdir()]
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads)


def hello(arguments: argparse.Namespace, kinds: list[str], seconds: float) -> dict[str, float]:
    """µs of CPU a request of servers that are loaded at the same time: what disturbs one disturbs all."""
    servers = {}
    try:
        for place, kind in enumerate(kinds):
            address = f"127.0.0.1:{18090 + place}"
            command = [arguments.binary, "serve", "-b", address, "-w", "2", "--threads", "0"]
            command += ["--load-header", kind]
            process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
            servers[kind] = (process, address)
            until(lambda place=place: reachable(18090 + place), "hello serves")

        def wrk(duration: float) -> dict[str, int]:
            """How many each has answered."""
            running = {
                kind: subprocess.Popen(
                    ["wrk", "-t1", "-c32", f"-d{duration}s", f"http://{address}/"],
                    stdout=subprocess.PIPE, text=True,
                )
                for kind, (_, address) in servers.items()
            }  # fmt: skip
            texts = {kind: process.communicate()[0] for kind, process in running.items()}
            found = {kind: re.search(r"(\d+) requests in", text) for kind, text in texts.items()}
            return {kind: int(match[1]) for kind, match in found.items() if match}

        wrk(1)
        before = {kind: cpu_ns(process.pid) for kind, (process, _) in servers.items()}
        counts = wrk(seconds)
        return {
            kind: (cpu_ns(process.pid) - before[kind]) / 1e3 / counts[kind]
            for kind, (process, _) in servers.items()
        }
    finally:
        for process, _ in servers.values():
            process.terminate()
            process.wait(WAIT)


def header(arguments: argparse.Namespace, table: Table) -> None:
    """The cost of the header: CPU a request, hello over keep-alive, fresh servers in each round."""
    rounds, seconds = (6, 2) if arguments.quick else (25, 3)
    ratios = []
    for number in range(rounds):
        costs = hello(arguments, ["off", "orca"][:: 1 if number % 2 == 0 else -1], seconds)
        ratios.append(costs["off"] / costs["orca"])
    found, low, high = median_and_interval(ratios)
    text = f"{found:.3f} × as many for the same CPU (95 % {low:.2f}–{high:.2f})"
    table.row("ORCA on, hello over keep-alive", text, "≥ 0.98 ×", found >= 0.98)


def median_and_interval(values: list[float]) -> tuple[float, float, float]:
    """The median, and between which order statistics it lies in 95 of 100 samples (binomial)."""
    values = sorted(values)
    count = len(values)
    spread = 1.96 * count**0.5 / 2
    low, high = max(0, int(count / 2 - spread)), min(count - 1, int(count / 2 + spread))
    return statistics.median(values), values[low], values[high]


def main() -> int:
    """All of it, or what was asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", default=str(ROOT / "target" / "release" / "maitred"))
    parser.add_argument("--envoy", required=True)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default="haproxy,envoy,rolling,kill,proxy,header")
    arguments = parser.parse_args()
    wanted = set(arguments.only.split(","))
    load = os.getloadavg()[0]
    print(f"<!-- {os.cpu_count()} processors, load before {load:.1f} -->")
    print("| | found | bar | |\n|---|---|---|---|")
    table = Table()
    for engine in ("haproxy", "envoy"):
        if engine in wanted:
            compare(arguments, table, engine)
    for name, story in (("rolling", rolling), ("kill", kill), ("proxy", proxy), ("header", header)):
        if name in wanted:
            story(arguments, table)
    return int(table.failed)


if __name__ == "__main__":
    sys.exit(main())
