"""What all tests share."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import sites


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--server",
        choices=("maitred", "reference"),
        default="maitred",
        help="what serves the real applications: maitred, or Uvicorn and Gunicorn",
    )


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest) -> str:
    """Who serves the real applications."""
    name: str = request.config.getoption("--server")
    return name


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Django site's data: a migrated database, an administrator, static files, a book."""
    data = tmp_path_factory.mktemp("library")
    (data / "book.bin").write_bytes(random.Random(6).randbytes(3 * 1024 * 1024 + 17))

    def manage(*words: str, **variables: str) -> None:
        environment = os.environ | {"LIBRARY_DATA": str(data)} | variables
        manage_py = [sys.executable, "manage.py"]
        subprocess.run(
            [*manage_py, *words],
            cwd=sites.APPS / "django_library",
            env=environment,
            check=True,
            capture_output=True,
        )

    manage("migrate", "--run-syncdb", "--verbosity", "0")
    manage("collectstatic", "--no-input", "--verbosity", "0")
    manage(
        *("createsuperuser", "--no-input", "--username", "keeper", "--email", "keeper@example.org"),
        DJANGO_SUPERUSER_PASSWORD="of the books",
    )
    return data
