"""
Ids of requests: on the request as the application sees it, and on its response.

Not here: which id it is (native), the access log, which finds it in the request (``access``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from maitred._native import Worker

FIELD = b"x-request-id"


class Identified:
    """An application whose requests have ids, with ``--request-id``."""

    def __init__(self, application: Any, worker: Worker) -> None:
        """Give ids to what this application is asked."""
        self._application = application
        self._worker = worker

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass the request on with its id, and put the id on the response."""
        if scope["type"] not in {"http", "websocket"}:
            await self._application(scope, receive, send)
            return
        fields = scope["headers"]
        given = next((value for name, value in fields if name == FIELD), None)
        client = scope["client"]
        # Here it is still the peer: whom forwarded fields name is found out further in.
        identity = self._worker.request_id(given, client[0] if client else None)
        scope["headers"] = _with(fields, identity)

        async def identified_send(message: Any) -> None:
            if message["type"] in {"http.response.start", "websocket.accept"}:
                message = {**message, "headers": _with(message.get("headers", ()), identity)}
            await send(message)

        await self._application(scope, receive, identified_send)


def _with(fields: Any, identity: bytes) -> list[Any]:
    others = [field for field in fields if bytes(field[0]).lower() != FIELD]
    return [*others, (FIELD, identity)]
