"""What /metrics says, read by the reference parser; and of ASGI workers, that it is true."""

import contextlib
import http.client
import os
import pathlib
import signal
import socket
from collections.abc import Iterator

import pytest
from asgi_serving import PATIENCE, Server, ask, read_response, request, wait_until
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families

Families = dict[str, Metric]


class AdminConnection(http.client.HTTPConnection):
    """The admin address, behind its Unix socket."""

    def __init__(self, path: pathlib.Path) -> None:
        super().__init__("admin", timeout=PATIENCE)
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(self._path)


def scrape(admin: pathlib.Path) -> Families:
    """All families of an answer, by name. The parser is strict: what it takes is OpenMetrics."""
    with contextlib.closing(AdminConnection(admin)) as client:
        client.request("GET", "/metrics")
        answer = client.getresponse()
        assert answer.status == 200
        kind = answer.getheader("content-type")
        assert kind == "application/openmetrics-text; version=1.0.0; charset=utf-8"
        text = answer.read().decode()
    return {family.name: family for family in text_string_to_metric_families(text)}  # type: ignore[no-untyped-call]


def total(families: Families, family: str, suffix: str, **labels: str) -> float:
    """The sum of the samples that have these labels."""
    return sum(
        sample.value
        for sample in families[family].samples
        if sample.name == family + suffix and labels.items() <= sample.labels.items()
    )


@contextlib.contextmanager
def observed(folder: pathlib.Path, app: str, *flags: str) -> Iterator[tuple[Server, pathlib.Path]]:
    """A server with an admin address."""
    admin = folder / "admin"
    with Server(app, "--admin", f"unix:{admin}", "--stall-after", "1s", *flags) as server:
        wait_until(admin.exists, "the admin address")
        yield server, admin


def test_every_family_is_read_by_the_reference_parser_and_documented(
    tmp_path: pathlib.Path,
) -> None:
    """Names, types, units and help, as the Prometheus project itself reads them."""
    page = (pathlib.Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
    with observed(tmp_path, "basic:app", "--workers", "2") as (server, admin):
        with server.connect() as client:
            assert ask(client, "/pid").status == 200
        families = scrape(admin)
    assert len(families) > 40
    for name, family in families.items():
        assert name.startswith("maitred_")
        assert family.documentation.endswith(".")
        assert not family.unit or name.endswith("_" + family.unit)
        suffix = {"counter": "_total", "info": "_info"}.get(family.type, "")
        assert f"| `{name}{suffix}` | {family.type} |" in page


@pytest.mark.parametrize("http_class", ["httptools", "h11"])
def test_asgi_workers_count_what_their_clients_had(tmp_path: pathlib.Path, http_class: str) -> None:
    """By class, over both of Uvicorn's protocol classes, and over the death of a worker."""
    flags = ("--workers", "2", "--http", http_class)
    with observed(tmp_path, "basic:app", *flags) as (server, admin):
        answered: dict[str, int] = {}

        def serve_some() -> None:
            for _ in range(10):
                with server.connect() as client:
                    for target in ("/pid", "/pid"):
                        status = ask(client, target).status
                        answered[f"{status // 100}xx"] = answered.get(f"{status // 100}xx", 0) + 1
            with server.connect() as client:
                # Refused by Uvicorn's class itself, which ends the connection behind it.
                client.sendall(b"no http at all\r\n\r\n")
                assert read_response(client).status == 400
                answered["4xx"] = answered.get("4xx", 0) + 1
            with server.connect() as client:
                client.sendall(request("/pid", "connection: close"))
                assert read_response(client).status == 200
                answered["2xx"] += 1

        def counted() -> dict[str, int]:
            families = scrape(admin)
            family = "maitred_responses"
            return {
                name: int(total(families, family, "_total", **{"class": name})) for name in answered
            }

        serve_some()
        wait_until(lambda: counted() == answered, f"{answered} are counted")
        before = server.workers()
        os.kill(before[0], signal.SIGKILL)
        wait_until(lambda: len(server.workers()) == len(before) + 1, "another worker")
        serve_some()
        wait_until(lambda: counted() == answered, f"{answered} are counted over a death")
        families = scrape(admin)
        measured = total(families, "maitred_service_seconds", "_count")
        assert measured == sum(answered.values())
        waits = total(families, "maitred_queue_wait_seconds", "_count")
        assert waits == 2 * 12
        assert total(families, "maitred_handoff_seconds", "_count") >= waits
        assert total(families, "maitred_worker_busy_seconds", "_total") > 0
        sent = total(families, "maitred_sent_bytes", "_total")
        received = total(families, "maitred_received_bytes", "_total")
        assert sent > 0
        assert received > 0
        assert total(families, "maitred_worker_restarts", "_total", cause="killed") == 1


def test_asgi_workers_count_refused_proxy_headers(tmp_path: pathlib.Path) -> None:
    """By why, and among the errors; no request was made, and so none refused."""
    flags = ("--workers", "1", "--proxy-protocol", "--defer-accept", "0")
    with observed(tmp_path, "basic:app", *flags) as (server, admin):
        for beginning in (request("/pid"), b"PROXY TCP9 1 2 3 4\r\n", b"\x16\x03\x01"):
            with server.connect() as client:
                client.sendall(beginning)
                assert client.recv(1) == b""
        families = scrape(admin)
    refused = "maitred_proxy_headers_refused"
    assert total(families, refused, "_total", reason="absent") == 2
    assert total(families, refused, "_total", reason="malformed") == 1
    assert total(families, refused, "_total", reason="untrusted_peer") == 0
    assert total(families, "maitred_request_errors", "_total") == 3
    assert total(families, "maitred_requests_refused", "_total") == 0
