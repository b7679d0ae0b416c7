"""What Uvicorn says in a worker is in the server's log: where that goes, and in its form."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import pytest
from asgi_serving import Server, ask, wait_until

FAILURE = "Exception in ASGI application"


def has(path: Path, text: str) -> bool:
    return path.exists() and text in path.read_text()


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def fail(server: Server) -> None:
    with server.connect() as client:
        assert ask(client, "/fail").status == 500


def worker(server: Server) -> int:
    with server.connect() as client:
        return int(ask(client, "/pid").body)


@pytest.mark.parametrize("http", ["h11", "httptools"])
def test_a_failure_is_a_line_of_the_servers_file(tmp_path: Path, http: str) -> None:
    path = tmp_path / "server.log"
    with Server("basic:app", "-w", "1", "--log-to", str(path), "--http", http) as server:
        pid = worker(server)
        fail(server)
        # The last line of a traceback comes with the first.
        wait_until(lambda: has(path, "told to fail"), "the traceback")
        assert server.stop() == 0
    log = lines(path)
    first = next(index for index, line in enumerate(log) if FAILURE in line)
    time = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
    assert re.fullmatch(rf"{time} ERROR {FAILURE} worker=0 gen=\d+ pid={pid}", log[first])
    assert log[first + 1] == "    Traceback (most recent call last):"
    below = log[first + 1 :]
    indented = next(index for index, line in enumerate(below) if not line.startswith("    "))
    assert below[indented - 1] == "    RuntimeError: told to fail"
    assert "Traceback" not in server.log, "and nowhere else"


def test_it_has_the_form_that_was_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "server.log"
    flags = ("-w", "1", "--log-to", str(path), "--log-format", "json")
    with Server("basic:app", *flags) as server:
        pid = worker(server)
        fail(server)
        with server.connect() as client:
            client.sendall(b"GET / HTTP/1.1\r\nbroken\x1b[2J\r\n\r\n")
            assert client.recv(4096).startswith(b"HTTP/1.1 400")
        wait_until(lambda: has(path, "Invalid HTTP request"), "Uvicorn's complaint")
        assert server.stop() == 0
    objects = [json.loads(line) for line in lines(path)]
    (failure,) = [one for one in objects if one["message"] == FAILURE]
    assert (failure["level"], failure["target"]) == ("ERROR", "maitred::asgi")
    assert (failure["worker"], failure["pid"]) == (0, pid)
    assert failure["fields"]["traceback"].endswith("RuntimeError: told to fail")
    (complaint,) = [one for one in objects if one["message"].startswith("Invalid HTTP request")]
    assert complaint["level"] == "WARN"


def test_it_follows_a_file_that_is_rotated(tmp_path: Path) -> None:
    path, rotated = tmp_path / "server.log", tmp_path / "server.log.1"
    with Server("basic:app", "-w", "1", "--log-to", str(path)) as server:
        pid = worker(server)
        fail(server)
        wait_until(lambda: has(path, "told to fail"), "the traceback")
        path.rename(rotated)
        server.signal(signal.SIGUSR1)
        wait_until(lambda: has(path, f" pid={pid}\n"), "the worker's own line in the new file")
        assert "reopened" in path.read_text()
        fail(server)
        wait_until(lambda: has(path, "told to fail"), "the traceback in the new file")
        assert server.stop() == 0
    for file in (path, rotated):
        assert file.read_text().count(FAILURE) == 1


def test_the_level_of_the_server_is_its_level(tmp_path: Path) -> None:
    path = tmp_path / "server.log"
    flags = ("-w", "1", "--log-to", str(path), "--log-level", "info,maitred::asgi=error")
    with Server("basic:app", *flags) as server:
        with server.connect() as client:
            client.sendall(b"GET / HTTP/1.1\r\nbroken\r\n\r\n")
            assert client.recv(4096).startswith(b"HTTP/1.1 400")
        # What is said later is there, and the warning is not.
        fail(server)
        wait_until(lambda: has(path, "told to fail"), "the traceback")
        assert server.stop() == 0
    assert not has(path, "Invalid HTTP request")


def test_a_configuration_of_the_users_wins(tmp_path: Path) -> None:
    path, theirs, config = (tmp_path / name for name in ("server.log", "their.log", "config.json"))
    handler = {"class": "logging.FileHandler", "filename": str(theirs), "formatter": "own"}
    settings = {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"own": {"format": "their form: %(name)s %(message)s"}},
        "handlers": {"file": handler},
        "loggers": {"uvicorn": {"handlers": ["file"], "level": "INFO", "propagate": False}},
    }
    config.write_text(json.dumps(settings))
    flags = ("-w", "1", "--log-to", str(path), "--log-config", str(config))
    with Server("basic:app", *flags) as server:
        fail(server)
        wait_until(lambda: has(theirs, "told to fail"), "the traceback")
        assert server.stop() == 0
    assert theirs.read_text().startswith(f"their form: uvicorn.error {FAILURE}")
    assert has(path, "worker is ready")
    assert not has(path, FAILURE)


def test_what_a_forked_process_says_is_not_lost(tmp_path: Path) -> None:
    """Nobody empties the log's buffer there: what it says goes to stderr, as it is."""
    path = tmp_path / "server.log"
    with Server("saying:app", "-w", "1", "--log-to", str(path)) as server:
        with server.connect() as client:
            assert ask(client, "/fork").status == 200
        wait_until(lambda: "said by a child" in server.log, "the child's words")
        assert server.stop() == 0
    assert not has(path, "said by a child")


def test_a_message_cannot_forge_a_line(tmp_path: Path) -> None:
    path = tmp_path / "server.log"
    with Server("saying:app", "-w", "1", "--log-to", str(path)) as server:
        with server.connect() as client:
            ask(client, "/hostile")
        wait_until(lambda: has(path, "forged"), "the line")
        assert server.stop() == 0
    (line,) = [line for line in lines(path) if "what came" in line]
    assert line.isprintable(), "it moves no cursor"
    # What follows a line end is beneath its line, and no line of the log begins with blanks.
    (forged,) = [line for line in lines(path) if "forged" in line]
    assert forged.startswith("    ")
