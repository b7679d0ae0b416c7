"""
The life of an ASGI worker: start, serve, drain, end.

Not here: connections (native), HTTP (``protocols``).
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import logging
import signal
import time
from dataclasses import dataclass
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

from maitred.asgi import dependencies, logs
from maitred.asgi.access import Logged
from maitred.asgi.dependencies import MissingDependencyError
from maitred.asgi.identity import Identified
from maitred.asgi.load import LoadReports
from maitred.asgi.refusals import BodyLimit

if TYPE_CHECKING:
    from uvicorn.config import Config

    from maitred._native import HeadLimits, Transport, Worker

#: How often a worker that leaves looks whether everything has ended.
LOOK_AGAIN_AFTER = 0.02

#: Of the time that a worker has for leaving so much is kept for the application's own shutdown: the
#: master kills what is late. A fifth, and no more seconds than these.
SHUTDOWN_SHARE = 5
SHUTDOWN_MAX = 2.0

#: How long the master lets handshakes finish before its listeners close (``config/limits.rs``).
HANDSHAKES_SETTLE_FOR = 0.1

#: Protocols that are kept for the next connection: as many as one packet of loans can bring.
SPARES_MAX = 64

#: What the master answers for every process of its group.
_MASTERS_SIGNALS = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTTIN,
    signal.SIGTTOU,
    signal.SIGUSR1,
    signal.SIGUSR2,
)

logger = logging.getLogger("uvicorn.error")


@dataclass(frozen=True)
class Options:
    """What the command line says, by the names of python/src/asgi/mod.rs."""

    event_loop: str
    http: str
    websockets: str
    ws_max_size: int
    ws_max_queue: int
    ws_ping_interval: float | None
    ws_ping_timeout: float | None
    ws_per_message_deflate: bool
    lifespan: str
    limit_concurrency: int | None
    h11_max_incomplete_event_size: int | None
    root_path: str
    proxy_headers: bool
    forwarded_allow_ips: str
    server_header: bool
    date_header: bool
    headers: list[tuple[str, str]]
    log_config: str | None
    log_level: str
    logs_requests: bool
    worker_header: bool
    request_id: bool
    load_header: bool
    strips_load_header: bool
    body_max: int | None
    graceful_timeout: float
    drain_delay: float
    limits: HeadLimits


class StartupFailedError(Exception):
    """The application does not want to start."""

    def __init__(self, lines: list[str]) -> None:
        """Take what it has said."""
        text = "\n".join(lines)
        self.traceback = text + "\n" if text else ""
        ends = [line for line in text.splitlines() if line.strip()]
        self.summary = ends[-1].strip() if ends else "its lifespan startup failed"
        super().__init__(self.summary)


def run(worker: Worker, application: Any, options: Options) -> None:
    """Serve until the master has no more use for this worker."""
    untested = dependencies.check_uvicorn()
    config = dependencies.make_config(application, options, logs.CONFIG)
    if untested is not None:
        # Now that its loggers are set up.
        logger.warning(untested)
    loop = dependencies.new_event_loop(options.event_loop)
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(Serving(worker, config, options, loop).run())
    finally:
        _close(loop)


def _close(loop: asyncio.AbstractEventLoop) -> None:
    """End a loop as ``asyncio.run`` does; what threads still do is not waited for."""
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    try:
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def _without_shutdown(graceful: float) -> float:
    """The time that requests have of what a worker has for leaving."""
    return graceful - min(graceful / SHUTDOWN_SHARE, SHUTDOWN_MAX)


class Serving:
    """One worker while it serves; what the native half calls its host."""

    def __init__(
        self, worker: Worker, config: Config, options: Options, loop: asyncio.AbstractEventLoop
    ) -> None:
        """Serve what Uvicorn has made of the application."""
        from uvicorn.server import ServerState  # noqa: PLC0415

        # It imports the classes of the parsers that are installed.
        from maitred.asgi import protocols  # noqa: PLC0415

        self.worker = worker
        self.config = config
        self.options = options
        self.loop = loop
        self.http_class = protocols.lent(config.http_protocol_class, options.limits)
        self.state = ServerState()
        # A WebSocket's handshake has the same fields, but for the end of the connection.
        self.ws_state = ServerState()
        self.ws_state.connections = self.state.connections
        self.ws_state.tasks = self.state.tasks
        self.app_state: dict[str, Any] = {}
        self.spares: list[Any] = []
        self.load_reports: LoadReports | None = None
        self.finishing = False
        self.leaving: asyncio.Future[float] = loop.create_future()

    async def run(self) -> None:
        """Start, serve, end."""
        lifespan = await self._start_up()
        self._take_signals()
        self._wrap()
        self.refresh()
        self.loop.add_reader(self.worker.fileno(), self.worker.turn)
        # In a context of its own, whoever asks: what runs in a turn is nobody's request.
        soon = functools.partial(
            self.loop.call_soon, self.worker.settle, context=contextvars.copy_context()
        )
        self.worker.start(self, soon)
        try:
            await self._leave(await self.leaving)
            await lifespan.shutdown()
        finally:
            self.loop.remove_reader(self.worker.fileno())
            self.worker.leave()

    # What the native half calls.

    def make_protocol(self, transport: Transport) -> Any:
        """Make the protocol of a connection whose first bytes are here, or use one again."""
        if self.spares:
            protocol = self.spares.pop()
        else:
            protocol = self.http_class(
                config=self.config,
                server_state=self.state,
                app_state=self.app_state,
                _loop=self.loop,
            )
        if self.options.logs_requests:
            protocol.app = Logged(self.config.loaded_app, self.worker, transport)
        protocol.connection_made(transport)
        return protocol

    def moved(self, protocol: Any) -> None:
        """
        Take back the protocol of a connection that another worker has now.

        Its parser is between two requests, and its last response is complete: it serves another
        connection as well as a new one, and is made in a third of the time.
        """
        self.state.connections.discard(protocol)
        if len(self.spares) < SPARES_MAX:
            protocol.cycle = None
            self.spares.append(protocol)

    def refresh(self) -> None:
        """Make the fields that every response has, once a second."""
        fields = list(self.config.encoded_headers)
        if self.config.date_header:
            fields.insert(0, (b"date", formatdate(time.time(), usegmt=True).encode()))
        if self.options.worker_header:
            slot, _ = self.worker.identity()
            fields.append((b"x-maitred-worker", str(slot).encode()))
        if self.load_reports is not None:
            self.load_reports.field = self.worker.load_field()
        self.ws_state.default_headers = fields
        self.state.default_headers = (
            [*fields, (b"connection", b"close")] if self.finishing else fields
        )

    def drain(self, ends: bool, graceful: float) -> None:  # noqa: FBT001
        """Serve on, as the last worker (``ends``); or leave to others what is not begun."""
        if ends:
            self._finish_requests()
            # Clients of WebSockets come again, and shall find that nothing listens.
            self.loop.call_later(
                min(self.options.drain_delay + HANDSHAKES_SETTLE_FOR, graceful / 2),
                self._end_websockets,
            )
            # From when on the time counts the master alone knows; it is not earlier than this.
            self.loop.call_later(_without_shutdown(graceful), self._cut_off)
            return
        self.worker.hand_over()
        self._begin_to_leave(graceful)

    def master_gone(self) -> None:
        """Finish what is being answered: nobody is left to give anything to."""
        self._finish_requests()
        self.worker.end_idle()
        self._begin_to_leave(self.options.graceful_timeout)

    # Its own.

    async def _start_up(self) -> Any:
        lifespan: Any = self.config.lifespan_class(self.config)
        said = logs.Capturing(logger)
        usual = getattr(lifespan, "logger", None)
        lifespan.logger = said
        await lifespan.startup()
        if lifespan.should_exit:
            raise StartupFailedError(said.lines[:-1])
        if usual is not None:
            lifespan.logger = usual
        self.app_state = lifespan.state
        return lifespan

    def _wrap(self) -> None:
        application: Any = self.worker.application(self.config.loaded_app)
        if self.options.body_max is not None:
            application = BodyLimit(application, self.options.body_max)
        if self.options.request_id:
            application = Identified(application, self.worker)
        if self.options.load_header or self.options.strips_load_header:
            application = LoadReports(application, strips=self.options.strips_load_header)
            self.load_reports = application
        self.config.loaded_app = application
        websockets = self.config.ws_protocol_class
        if websockets is not None:
            self.config.ws_protocol_class = self._with_state(websockets)

    def _with_state(self, websockets: Any) -> Any:
        def make(config: Config, server_state: Any, app_state: Any) -> Any:  # noqa: ARG001
            return websockets(config=config, server_state=self.ws_state, app_state=app_state)

        return make

    def _take_signals(self) -> None:
        self.loop.add_signal_handler(signal.SIGTERM, self._ask_for_leave)
        for number in _MASTERS_SIGNALS:
            # Caught and not ignored, so that programs which the application starts have them.
            signal.signal(number, lambda _number, _frame: None)

    def _ask_for_leave(self) -> None:
        if not self.finishing:
            # The master decides what becomes of this worker's connections, and says so.
            self.worker.ask_for_leave()

    def _finish_requests(self) -> None:
        """Answer what is here, each as the last on its connection."""
        self.finishing = True
        self.refresh()
        for protocol in self._http_protocols():
            cycle = protocol.cycle
            if cycle is not None and not cycle.response_complete:
                cycle.keep_alive = False

    def _http_protocols(self) -> list[Any]:
        return [one for one in self.state.connections if isinstance(one, self.http_class)]

    def _begin_to_leave(self, graceful: float) -> None:
        if not self.leaving.done():
            self.leaving.set_result(graceful)

    def _end_websockets(self) -> None:
        """Tell them to go (1012, service restart)."""
        for protocol in list(self.state.connections):
            if not isinstance(protocol, self.http_class):
                protocol.shutdown()

    def _cut_off(self) -> None:
        """End what does not end by itself."""
        connections, tasks = self.worker.connections(), list(self.state.tasks)
        if connections or tasks:
            message = "Time is up: %d connections and %d tasks are unfinished"
            logger.info(message, connections, len(tasks))
        self.worker.cut_off()
        for task in tasks:
            task.cancel()

    async def _leave(self, graceful: float) -> None:
        """Wait until everything has ended, for so long."""
        deadline = self.loop.time() + _without_shutdown(graceful)
        self._end_websockets()
        while self.worker.connections() or self.state.tasks:
            if self.loop.time() >= deadline:
                self._cut_off()
                await asyncio.sleep(LOOK_AGAIN_AFTER)
                return
            await asyncio.sleep(LOOK_AGAIN_AFTER)


__all__ = ["MissingDependencyError", "Options", "Serving", "StartupFailedError", "run"]
