"""The native half of the package (python/src)."""

import asyncio
from collections.abc import Awaitable, Callable, Generator
from typing import Any, final

def main(arguments: list[str]) -> int:
    """Run the command line, and answer with the exit code."""

def log(level: int, message: str, traceback: str) -> None:
    """Leave a line to the server's log (python/src/asgi/logs.rs)."""

@final
class Worker:
    """The native half of an ASGI worker (python/src/asgi/worker.rs)."""

    def application(self, inner: Any) -> Application:
        """Wrap an application, so that every step of a request is seen."""
    def fileno(self) -> int:
        """Answer with the descriptor for the loop to watch."""
    def start(self, host: Any, soon: Callable[[], object]) -> None:
        """Say Ready: connections come from now on."""
    def turn(self) -> None:
        """Take what there is."""
    def settle(self) -> None:
        """Take what there is, when all that the last turn has started has run."""
    def ask_for_leave(self) -> None:
        """Ask the master for leave."""
    def hand_over(self) -> None:
        """Give back what nobody has claimed."""
    def end_idle(self) -> None:
        """End what is idle."""
    def cut_off(self) -> None:
        """Cut off what is not finished."""
    def connections(self) -> int:
        """Count the connections that are here."""
    def leave(self) -> None:
        """Say goodbye."""
    def identity(self) -> tuple[int, int]:
        """Answer with slot and generation."""
    def request_id(self, given: bytes | None, client: str | None) -> bytes:
        """Answer with the id of a request, which may have been given one."""
    def load_field(self) -> tuple[bytes, bytes] | None:
        """Answer with the field that says how loaded the node is, if anything is known."""
    def log_access(self, answered: Any) -> None:
        """Write a line of the access log."""

@final
class Application:
    """An application, wrapped (python/src/asgi/steps.rs)."""

    def __call__(self, scope: Any, receive: Any, send: Any) -> Steps:
        """Call it."""

@final
class Steps(Awaitable[object]):
    """One call of an application."""

    def __await__(self) -> Generator[Any, Any, object]:
        """Await it."""

@final
class HeadLimits:
    """What a request's head may be (python/src/asgi/limits.rs)."""

    def refusal(self, target_length: int, headers: list[tuple[bytes, bytes]]) -> int:
        """Answer with the status that refuses it, or 0."""

@final
class Transport:
    """What a protocol sees of its connection (python/src/asgi/transport.rs)."""

    def write(self, data: bytes | bytearray | memoryview) -> None: ...
    def writelines(self, lines: list[bytes]) -> None: ...
    def close(self) -> None: ...
    def abort(self) -> None: ...
    def is_closing(self) -> bool: ...
    def get_extra_info(self, name: str, default: Any = None) -> Any: ...
    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None: ...
    def get_protocol(self) -> asyncio.BaseProtocol | None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def is_reading(self) -> bool: ...
    def can_write_eof(self) -> bool: ...
    def write_eof(self) -> None: ...
    def get_write_buffer_size(self) -> int: ...
    def get_write_buffer_limits(self) -> tuple[int, int]: ...
    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...
    def responded(self, standing: int) -> None:
        """Say that the last byte of a response is written, and where the next request is."""
    def take_queue_time(self) -> float | None:
        """Answer with the seconds that the connection had waited; once."""
