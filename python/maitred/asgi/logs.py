"""
Uvicorn's log lines in a worker, which go where the server's own do.

Only Uvicorn's loggers are set up, and only without ``--log-config``: the root logger is the
application's.

Not here: the server's log (native), the access log (``access``).
"""

from __future__ import annotations

import logging
import os
from typing import Any

from maitred import _native


class Handler(logging.Handler):
    """Leaves lines to the server's log: its place, its form, and the worker's name on them."""

    def __init__(self) -> None:
        """Belong to this process."""
        super().__init__()
        self._pid = os.getpid()
        self._formatter = logging.Formatter()

    def emit(self, record: logging.LogRecord) -> None:
        """Leave a line, with its traceback beneath it."""
        if os.getpid() != self._pid:
            # A process that the application has forked: nobody empties the log's buffer there.
            if logging.lastResort is not None:
                logging.lastResort.handle(record)
            return
        try:
            _native.log(record.levelno, record.getMessage(), self._below(record))
        except Exception:  # noqa: BLE001
            # As each of logging's own handlers: a line that cannot be made fails nobody.
            self.handleError(record)

    def _below(self, record: logging.LogRecord) -> str:
        parts = [record.exc_text or ""]
        if record.exc_info and not record.exc_text:
            parts = [self._formatter.formatException(record.exc_info)]
        if record.stack_info:
            parts.append(self._formatter.formatStack(record.stack_info))
        return "\n".join(part for part in parts if part)


#: The configuration of Uvicorn's loggers, for ``logging.config.dictConfig``. Their levels Uvicorn
#: sets itself, by ``log_level``.
CONFIG: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"server": {"()": Handler}},
    "loggers": {"uvicorn": {"handlers": ["server"], "level": "INFO", "propagate": False}},
}


class Capturing(logging.LoggerAdapter[logging.Logger]):
    """Keeps what is said, for whoever decides later where it belongs."""

    def __init__(self, logger: logging.Logger) -> None:
        """Keep what would have gone to this logger."""
        super().__init__(logger, {})
        self.lines: list[str] = []

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Keep errors; what else is said of a start is nobody's concern."""
        if level >= logging.ERROR:
            record = logging.LogRecord(self.logger.name, level, "", 0, msg, args, None)
            exception = kwargs.get("exc_info")
            if isinstance(exception, BaseException):
                record.exc_info = (type(exception), exception, exception.__traceback__)
            self.lines.append(logging.Formatter().format(record).strip("\n"))
