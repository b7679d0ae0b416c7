"""
The access log: what an application answers, seen on its way out.

Not here: the line itself (native), when it is written at all (``--access-log``).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from maitred._native import Transport, Worker


class Logged:
    """An application whose answers are logged, for one connection."""

    def __init__(self, application: Any, worker: Worker, transport: Transport) -> None:
        """Log what this application answers on this connection."""
        self._application = application
        self._worker = worker
        self._transport = transport

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass the request on, and write the line behind the last byte of the answer."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        began = time.monotonic()
        status = size = 0

        async def logged_send(message: Any) -> None:
            nonlocal status, size
            await send(message)
            kind = message["type"]
            if kind == "http.response.start":
                status = message["status"]
            elif kind == "http.response.body":
                size += len(message.get("body", b""))
                if not message.get("more_body", False):
                    write()

        def write() -> None:
            nonlocal status
            target = scope["raw_path"]
            if scope["query_string"]:
                target += b"?" + scope["query_string"]
            self._worker.log_access(
                Answered(
                    # As middleware has left it: behind a proxy, the client that the proxy names.
                    client=scope["client"],
                    method=scope["method"],
                    target=target,
                    http_version=scope["http_version"],
                    headers=scope["headers"],
                    status=status,
                    bytes=0 if scope["method"] == "HEAD" else size,
                    seconds=time.monotonic() - began,
                    queue_seconds=self._transport.take_queue_time(),
                )
            )
            status = 0

        try:
            await self._application(scope, receive, logged_send)
        finally:
            if status:
                # Begun, and not finished: cut off.
                write()


class Answered:
    """What the native half needs for a line."""

    def __init__(self, **facts: Any) -> None:
        """Take the facts by their names."""
        vars(self).update(facts)
