"""
What the logs say of requests: what an application answers, seen on its way out.

Not here: the lines themselves (native), when they are written at all (``--access-log``,
``--slow-log``).
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
        began = answered = time.monotonic()
        status = size = 0
        headers: Any = ()

        async def logged_send(message: Any) -> None:
            nonlocal status, size, headers, answered
            kind = message["type"]
            if kind == "http.response.start":
                answered = time.monotonic()
            await send(message)
            if kind == "http.response.start":
                status = message["status"]
                headers = message.get("headers", ())
            elif kind == "http.response.body":
                size += len(message.get("body", b""))
                if not message.get("more_body", False):
                    write(complete=True)

        def write(*, complete: bool) -> None:
            nonlocal status
            self._worker.log_access(
                Answered(
                    # As middleware has left it: behind a proxy, the client that the proxy names.
                    client=scope["client"],
                    method=scope["method"],
                    path=scope["raw_path"],
                    query=scope["query_string"],
                    http_version=scope["http_version"],
                    headers=scope["headers"],
                    status=status,
                    response_headers=headers,
                    bytes=0 if scope["method"] == "HEAD" else size,
                    complete=complete,
                    handler_seconds=answered - began,
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
                write(complete=False)


class Answered:
    """What the native half needs for a line."""

    def __init__(self, **facts: Any) -> None:
        """Take the facts by their names."""
        vars(self).update(facts)
