"""How an application is found and loaded, and what is said when it is not.

Each test runs twice: with the command of this package, and with the binary that cargo builds, which
starts workers in this interpreter.

Not here: interpreters that lack the package (tests/python_start.rs in the main crate).
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
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

BINARY = Path(__file__).parents[2] / "target" / "debug" / "maitred"
WAIT_SECONDS_MAX = 30.0

APPLICATION = """
import os

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [ANSWER.encode()]

ANSWER = "one"
not_callable = 7

def make():
    return application

def make_nothing():
    return None
"""

Command = list[str]


@pytest.fixture(params=["package", "binary"])
def serve(request: pytest.FixtureRequest) -> Command:
    """The beginning of a command line: which program serves."""
    if request.param == "package":
        return [sys.executable, "-m", "maitred", "serve"]
    if not BINARY.exists():
        pytest.skip("there is no target/debug/maitred: cargo build makes it")
    return [str(BINARY), "serve", "--python", sys.executable]


def environment() -> dict[str, str]:
    """Nothing of the developer's own that would change a server."""
    ours = ("MAITRED_", "WEB_CONCURRENCY", "PORT", "PYTHONPATH", "FORWARDED_ALLOW_IPS")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**kept, "NO_COLOR": "1"}


def run(command: Command, folder: Path) -> tuple[int, str]:
    """Run until it ends: exit code, and standard error."""
    ended = subprocess.run(
        [*command, "-b", "127.0.0.1:0", "-w", "3"],
        cwd=folder,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS_MAX,
        check=False,
    )
    return ended.returncode, ended.stderr


class Server:
    """A running server; what it says is kept."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.said = ""
        self.listener = threading.Thread(target=self._listen, daemon=True)
        self.listener.start()

    def _listen(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said += line

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Wait until it has said so."""
        deadline = time.monotonic() + WAIT_SECONDS_MAX
        while not (found := re.search(pattern, self.said)):
            assert self.process.poll() is None, self.said
            assert time.monotonic() < deadline, f"in vain waited for {pattern}:\n{self.said}"
            time.sleep(0.01)
        return found

    def get(self, path: str = "/") -> str:
        port = self.wait_for(r"listening on http://127\.0\.0\.1:(\d+)")[1]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return str(answer.read().decode())

    def wait_for_answer(self, wanted: str) -> None:
        deadline = time.monotonic() + WAIT_SECONDS_MAX
        while (answer := self.get()) != wanted:
            assert time.monotonic() < deadline, f"still {answer}:\n{self.said}"
            time.sleep(0.01)


@contextlib.contextmanager
def serving(command: Command, folder: Path, workers: str = "2", **more: str) -> Iterator[Server]:
    process = subprocess.Popen(
        [*command, "-b", "127.0.0.1:0", "-w", workers, "--drain-delay", "0"],
        cwd=folder,
        env={**environment(), **more},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        server = Server(process)
        yield server
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT_SECONDS_MAX) == 0, server.said
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A directory with an application."""
    (tmp_path / "site.d").mkdir()
    (tmp_path / "shop.py").write_text(APPLICATION)
    return tmp_path


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("shop_that_is_not", "ModuleNotFoundError: No module named 'shop_that_is_not'"),
        ("shop:nothing", "shop has no attribute 'nothing'"),
        ("shop:not_callable", "shop:not_callable is 'int', which is no application"),
        ("shop:make_nothing()", "which is no application"),
        ("shop:make(open)", "must be a name, or a call with literal arguments"),
    ],
)
def test_a_target_that_leads_nowhere_is_told_once(
    serve: Command, folder: Path, target: str, reason: str
) -> None:
    code, said = run([*serve, target], folder)
    assert code == 4, said
    by_workers = [line for line in said.splitlines() if " ERROR " in line and "worker=" in line]
    assert len(by_workers) == 1, said
    assert reason in by_workers[0], said


def test_a_module_alone_without_an_application(serve: Command, folder: Path) -> None:
    (folder / "empty.py").write_text("")
    code, said = run([*serve, "empty"], folder)
    assert code == 4, said
    assert said.count("module 'empty' has no attribute 'application' or 'app'") == 1, said


@pytest.mark.parametrize("flags", [["--accept", "shared"], ["--threads", "4"]])
def test_what_a_loop_cannot_have_is_told_once(
    serve: Command, folder: Path, flags: list[str]
) -> None:
    # The interface is found out by the worker; another start would end the same way.
    (folder / "looped.py").write_text("async def app(scope, receive, send): pass\n")
    code, said = run([*serve, "looped:app", *flags], folder)
    assert code == 4, said
    by_workers = [line for line in said.splitlines() if " ERROR " in line and "worker=" in line]
    assert len(by_workers) == 1, said
    assert f"{flags[0]}: " in by_workers[0], said


def test_a_failing_import_shows_its_traceback_once(serve: Command, folder: Path) -> None:
    (folder / "broken.py").write_text("import shop\n\ndef deep():\n    return 1 / 0\n\ndeep()\n")
    code, said = run([*serve, "broken:app"], folder)
    assert code == 4, said
    assert said.count("Traceback (most recent call last)") == 1, said
    assert said.count('broken.py", line 4, in deep') == 1, said
    # Where the importer itself stands interests nobody.
    assert "importing.py" not in said, said


def test_a_syntax_error_shows_its_line(serve: Command, folder: Path) -> None:
    (folder / "broken.py").write_text("def app(:\n")
    code, said = run([*serve, "broken:app"], folder)
    assert code == 4, said
    assert "SyntaxError" in said, said
    assert said.count("def app(:") == 1, said


def test_an_import_that_leaves_the_interpreter(serve: Command, folder: Path) -> None:
    (folder / "leaving.py").write_text("import sys\nsys.exit(0)\n")
    code, said = run([*serve, "leaving"], folder)
    assert code == 4, said
    assert "it ended the interpreter while it was imported" in said, said


def test_the_ways_to_name_an_application(serve: Command, folder: Path) -> None:
    for arguments in (
        ["shop"],
        ["shop:application"],
        ["shop:make()"],
        ["shop:make", "--factory"],
        ["shop", "--interface", "wsgi"],
    ):
        with serving([*serve, *arguments], folder, workers="1") as server:
            assert server.get() == "one", arguments


def test_where_modules_are_looked_for(
    serve: Command, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    for flag in ("--app-dir", "--chdir"):
        with serving([*serve, "shop", flag, str(folder)], elsewhere, workers="1") as server:
            assert server.get() == "one", flag
    where = "import os\nfrom shop import application\nimport shop\nshop.ANSWER = os.getcwd()\n"
    (folder / "where.py").write_text(where)
    (folder / "site.d" / "link").symlink_to("..")
    with serving([*serve, "where", "--chdir", "site.d", "--app-dir", ".."], folder) as server:
        assert server.get() == str((folder / "site.d").resolve())


def test_the_script_of_an_environment_runs_workers_in_another_directory(folder: Path) -> None:
    script = Path(sys.executable).with_name("maitred")
    if not script.exists():
        pytest.skip("the package's command is not installed beside this interpreter")
    bin_directory = script.parent.parent
    command = [f"{script.parent.name}/maitred", "serve", "shop", "--chdir", str(folder)]
    with serving(command, bin_directory) as server:
        assert server.get() == "one"


def test_variables_of_a_file_are_there_when_the_application_is_imported(
    serve: Command, folder: Path
) -> None:
    (folder / "asks.py").write_text(
        "import os\nfrom shop import application\nimport shop\n"
        "shop.ANSWER = os.environ['GREETING'] + os.environ['HELD']\n"
    )
    (folder / ".env").write_text("# of the shop\nexport GREETING='hello, '\nHELD=file\n")
    command = [*serve, "asks", "--env-file", ".env"]
    with serving(command, folder, HELD="process") as server:
        assert server.get() == "hello, process"
        (folder / ".env").write_text("GREETING='bye, '\n")
        server.process.send_signal(signal.SIGHUP)
        server.wait_for_answer("bye, process")


def test_development_with_a_mistake_in_the_middle(serve: Command, folder: Path) -> None:
    shop = folder / "shop.py"
    command = [*serve, "shop", "--reload", "--reload-delay", "50ms"]
    with serving(command, folder) as server:
        assert server.get() == "one"
        server.wait_for("watching files")
        shop.write_text(APPLICATION.replace('"one"', '"two"'))
        server.wait_for_answer("two")
        server.wait_for("reload done")
        shop.write_text(APPLICATION.replace('"one"', "one"))
        server.wait_for("reload failed")
        assert server.said.count("NameError: name 'one' is not defined") >= 1, server.said
        assert server.said.count("Traceback (most recent call last)") == 1, server.said
        assert server.get() == "two", "the last one that did load goes on"
        shop.write_text(APPLICATION.replace('"one"', '"three"'))
        server.wait_for_answer("three")


def test_a_sub_interpreter_is_refused() -> None:
    script = """
import sys
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
other = interpreters.create()
interpreters.run_string(other, '''
try:
    from maitred import _native
except ImportError as error:
    print("refused:", error)
else:
    print("refused:", _native.main(["maitred", "serve", "shop"]) == 1)
''')
"""
    ended = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS_MAX,
        check=False,
    )
    refused_by_us = "a sub-interpreter, or a thread of its own, cannot serve" in ended.stderr
    assert "refused: True" in ended.stdout or "subinterpreters" in ended.stdout, ended
    assert refused_by_us or "subinterpreters" in ended.stdout, ended


def test_what_can_serve_is_the_main_interpreter_with_the_lock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from maitred import interpreter

    assert interpreter.refusal() is None
    told: list[str | None] = []
    thread = threading.Thread(target=lambda: told.append(interpreter.refusal()))
    thread.start()
    thread.join()
    assert told[0] is not None
    assert "a thread of its own" in told[0]
    monkeypatch.setattr("sysconfig.get_config_var", lambda name: 1)
    refusal = interpreter.refusal()
    assert refusal is not None
    assert "free-threaded" in refusal
