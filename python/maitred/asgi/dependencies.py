"""
What this package needs of others, and refuses to go without.

Not here: what is done with it (``running``).
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import inspect
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from uvicorn.config import Config

    from maitred.asgi.running import Options

#: The versions of Uvicorn whose protocol classes are tested here: from, and up to but not with.
UVICORN_TESTED = ((0, 30), (0, 55))


class MissingDependencyError(Exception):
    """Something is not installed, or is of a version that does not do."""

    def __init__(self, summary: str) -> None:
        """Say it in one line; there is nothing in a traceback of ours for anybody to see."""
        super().__init__(summary)
        self.summary = summary
        self.traceback = ""


def check_uvicorn() -> str | None:
    """Refuse a missing or an old Uvicorn; answer with a warning of one that nobody has tried."""
    try:
        version = importlib.metadata.version("uvicorn")
    except importlib.metadata.PackageNotFoundError:
        message = "ASGI applications need Uvicorn's protocol classes: pip install 'maitred[asgi]'"
        raise MissingDependencyError(message) from None
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
    low, high = UVICORN_TESTED
    if numbers < low:
        least = ".".join(map(str, low))
        message = f"uvicorn {version} is too old: {least} or later is needed"
        raise MissingDependencyError(message)
    if numbers < high:
        return None
    most = ".".join(map(str, high))
    return f"uvicorn {version} is newer than what maitred is tested with (below {most})"


def new_event_loop(kind: str) -> asyncio.AbstractEventLoop:
    """Make a loop of this kind; ``auto`` is uvloop where it is installed."""
    if kind != "asyncio":
        try:
            import uvloop  # noqa: PLC0415
        except ImportError:
            if kind == "uvloop":
                message = "--loop uvloop: it is not installed: pip install uvloop"
                raise MissingDependencyError(message) from None
        else:
            loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
            return loop
    return asyncio.SelectorEventLoop()


def make_config(application: Any, options: Options, log_config: dict[str, Any]) -> Config:
    """Make Uvicorn's own configuration, so that what it decides is decided as it does."""
    from uvicorn.config import Config  # noqa: PLC0415
    from uvicorn.importer import ImportFromStringError  # noqa: PLC0415

    headers = list(options.headers)
    if options.server_header and "server" not in {name.lower() for name, _ in headers}:
        headers.append(("server", "maitred"))
    settings: dict[str, Any] = {
        "loop": "none",
        "http": options.http,
        "ws": options.websockets,
        "ws_max_size": options.ws_max_size,
        "ws_max_queue": options.ws_max_queue,
        "ws_ping_interval": options.ws_ping_interval,
        "ws_ping_timeout": options.ws_ping_timeout,
        "ws_per_message_deflate": options.ws_per_message_deflate,
        "lifespan": options.lifespan,
        "log_config": options.log_config or log_config,
        "log_level": options.log_level,
        # The line a request is ours, with what only the worker knows.
        "access_log": False,
        "use_colors": None,
        "interface": "auto",
        "proxy_headers": options.proxy_headers,
        "forwarded_allow_ips": options.forwarded_allow_ips,
        "root_path": options.root_path,
        "limit_concurrency": options.limit_concurrency,
        "date_header": options.date_header,
        "server_header": False,
        "headers": headers,
        "h11_max_incomplete_event_size": options.h11_max_incomplete_event_size,
    }
    known = inspect.signature(Config.__init__).parameters
    # 0.36 was the first with a word for no loop of its own; the other way nobody asks for it.
    if "setup_event_loop" in vars(Config) and "get_loop_factory" not in vars(Config):
        settings["loop"] = "asyncio"
    missing = sorted(set(settings) - set(known))
    if missing:
        message = f"this Uvicorn has no {', '.join(missing)}"
        raise MissingDependencyError(message)
    try:
        config = Config(application, **settings)
        config.load()
    except (ImportError, ImportFromStringError) as error:
        message = f"--http {options.http}, --ws {options.websockets}: {error}"
        raise MissingDependencyError(message) from error
    return config
