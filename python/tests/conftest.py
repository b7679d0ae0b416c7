"""What all tests share."""

import pytest


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
