"""
The load of the node on responses (``--load-header``), for balancers in front of it.

Not here: what it says (native, ``fleet::orca``), when a new one is there (``running.refresh``).
"""

from __future__ import annotations

from typing import Any

#: Under either a report is sent, by us or by an application.
NAMES = (b"endpoint-load-metrics", b"endpoint-load-metrics-bin")


class LoadReports:
    """An application whose responses carry the load of the node."""

    def __init__(self, application: Any, *, strips: bool) -> None:
        """Report on responses of this application, whose own reports stay or go."""
        self._application = application
        self._strips = strips
        #: The field, as it is now; none while nothing is known.
        self.field: tuple[bytes, bytes] | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass the request on, and put the field onto the head of its response."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return

        async def reporting_send(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": self._with_report(message.get("headers", ()))}
            await send(message)

        await self._application(scope, receive, reporting_send)

    def _with_report(self, headers: Any) -> list[Any]:
        fields = list(headers)
        others = [field for field in fields if field[0].lower() not in NAMES]
        if len(others) < len(fields) and not self._strips:
            # Readers take one report of a response, or none if there are two.
            return fields
        return others if self.field is None else [*others, self.field]
