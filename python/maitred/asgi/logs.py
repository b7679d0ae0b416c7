"""
Python's own log lines in a worker, with the worker's name on them.

Only Uvicorn's loggers are set up, and only without ``--log-config``: the root logger is the
application's.

Not here: the server's log (native), the access log (``access``).
"""

from __future__ import annotations

import logging
import os
import time
from typing import Any


class Formatter(logging.Formatter):
    """Time, level, who; and a traceback behind it, as Python prints it."""

    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def __init__(self, slot: int, generation: int) -> None:
        """Name the worker in each line as the server's log names it."""
        who = f"worker={slot} gen={generation} pid={os.getpid()}"
        super().__init__(f"%(asctime)s %(levelname)5s {who} %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """Format one record; messages that end a line themselves leave no empty one."""
        record = logging.makeLogRecord(vars(record))
        if isinstance(record.msg, str):
            record.msg = record.msg.rstrip("\n")
        return super().format(record)


def config(slot: int, generation: int) -> dict[str, Any]:
    """Make the configuration of Uvicorn's loggers, for ``logging.config.dictConfig``."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "default": {"()": Formatter, "slot": slot, "generation": generation},
        },
        "handlers": {
            "default": {
                "formatter": "default",
                "class": "logging.StreamHandler",
                "stream": "ext://sys.stderr",
            },
        },
        "loggers": {
            "uvicorn": {"handlers": ["default"], "level": "INFO", "propagate": False},
            "uvicorn.error": {"level": "INFO"},
        },
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
