"""
Applications that refuse: what is answered in place of the real one.

They go the way of every response, so that framing and the end of the connection are Uvicorn's.

Not here: what is refused (``_native.HeadLimits``, ``protocols``).
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any


def text(status: int) -> bytes:
    """Say it, as the server's own engine does."""
    known = HTTPStatus(status)
    return f"{known.value} {known.phrase}\n".encode()


def head_and_text(status: int) -> bytes:
    """Make the whole response, for where no application is asked."""
    known = HTTPStatus(status)
    body = text(status)
    head = (
        f"HTTP/1.1 {known.value} {known.phrase}\r\n"
        f"content-length: {len(body)}\r\n"
        "content-type: text/plain; charset=utf-8\r\n"
        "connection: close\r\n\r\n"
    )
    return head.encode() + body


class Refusal:
    """Answers every request with one status, and ends the connection."""

    def __init__(self, status: int) -> None:
        """Refuse with this status."""
        self._body = text(status)
        self._start = {
            "type": "http.response.start",
            "status": status,
            "headers": [
                (b"content-type", b"text/plain; charset=utf-8"),
                (b"content-length", str(len(self._body)).encode()),
                (b"connection", b"close"),
            ],
        }

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG002
        """Answer."""
        await send(self._start)
        await send({"type": "http.response.body", "body": self._body})


class BodyLimit:
    """
    An application whose requests have bodies of so many bytes at the most.

    A declared length is refused before (``_native.HeadLimits``); this is for bodies in chunks.
    """

    def __init__(self, application: Any, body_max: int) -> None:
        """Limit this application."""
        self._application = application
        self._body_max = body_max
        self._refusal = Refusal(413)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Count what the application receives."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        counted = 0
        started = refused = False

        async def limited_receive() -> Any:
            nonlocal counted, refused
            if refused:
                return {"type": "http.disconnect"}
            message = await receive()
            counted += len(message.get("body", b""))
            if counted > self._body_max:
                refused = True
                if not started:
                    await self._refusal(scope, receive, send)
                return {"type": "http.disconnect"}
            return message

        async def limited_send(message: Any) -> None:
            nonlocal started
            started = True
            # The answer is given; whatever the application makes of it goes nowhere.
            if not refused:
                await send(message)

        await self._application(scope, limited_receive, limited_send)
