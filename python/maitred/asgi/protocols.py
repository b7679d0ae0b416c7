"""
Uvicorn's HTTP protocol classes, with what a lent connection needs.

Everything of HTTP stays theirs. Added is what the claim word must know: whether anything of a
request is here (a connection may move to another worker only between two requests), and when a
response is complete. Deadlines and limits that they lack are put around them.

Not here: WebSocket classes, which are used as they are: their connections never move.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from maitred.asgi.refusals import Refusal, head_and_text

if TYPE_CHECKING:
    from maitred._native import HeadLimits

#: Where a protocol is with its request; the numbers are ``session::Standing``'s.
REST, HEAD, BODY, HANDLED, SURPLUS = range(5)

_REFUSALS = {status: Refusal(status) for status in (413, 414, 431)}


class _Lent:
    """What both have in common, before Uvicorn's class in the order of methods."""

    #: Anything of a request that has not arrived whole.
    arriving: Any
    #: Its head has not.
    in_head: Any
    limits: HeadLimits
    refused = False

    # Uvicorn's.
    transport: Any
    cycle: Any
    app: Any

    def standing(self) -> int:
        """Where it is with its request."""
        cycle = self.cycle
        pending = cycle is not None and not cycle.response_complete
        if self.in_head:
            # An earlier one may be pending: then nothing is expected of the client yet.
            return HANDLED if pending else HEAD
        if self.arriving:
            return BODY if pending else SURPLUS
        return HANDLED if pending else REST

    def too_slow(self) -> None:
        """The client took too long over what it is sending."""
        cycle = self.cycle
        begun = cycle is not None and not cycle.response_complete and cycle.response_started
        if self.arriving and not begun and self.standing() != SURPLUS:
            self.refuse(408)
        elif self.arriving:
            self.transport.abort()
        else:
            # Claimed, and not a byte of a request: there is nothing to answer.
            self.transport.close()

    def too_large(self) -> None:
        """The head does not end."""
        self.refuse(431)

    def refuse(self, status: int) -> None:
        """Answer without the application."""
        self.transport.write(head_and_text(status))
        self.transport.close()

    def _refuse_head(self, target: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        status = self.limits.refusal(len(target), headers)
        if status:
            self.refused = True
            self.app = _REFUSALS[status]

    def _should_upgrade(self) -> bool:
        if self.refused:
            return False
        upgrades: bool = super()._should_upgrade()  # type: ignore[misc]
        return upgrades


def lent(base: type[Any], head_limits: HeadLimits) -> type[Any]:
    """Make the class for lent connections out of one of Uvicorn's."""
    names = [kind.__name__ for kind in base.__mro__]
    if "HttpToolsProtocol" in names:
        return _lent_httptools(base, head_limits)
    if "H11Protocol" in names:
        return _lent_h11(base, head_limits)
    message = f"{base.__name__} is none of the HTTP protocol classes that are served here"
    raise TypeError(message)


def _lent_httptools(base: type[Any], head_limits: HeadLimits) -> type[Any]:
    # Called for every request: each is looked up once, and nothing goes through super().
    headers_complete = base.on_headers_complete
    message_complete = base.on_message_complete
    response_complete = base.on_response_complete
    refusal = head_limits.refusal

    class HttpTools(_Lent, base):  # type: ignore[misc]
        limits = head_limits
        #: The scope of the last request that has arrived whole. Uvicorn makes a new one with the
        #: first byte of each, and its cycle when the head is whole.
        whole: Any = None

        @property
        def arriving(self) -> bool:
            return self.scope is not self.whole

        @property
        def in_head(self) -> bool:
            cycle = self.cycle
            return self.arriving and (cycle is None or cycle.scope is not self.scope)

        def on_headers_complete(self) -> None:
            if refusal(len(self.url), self.headers):
                self._refuse_head(self.url, self.headers)
            headers_complete(self)

        def on_message_complete(self) -> None:
            self.whole = self.scope
            message_complete(self)

        def on_response_complete(self) -> None:
            if self.pipeline or self.flow.read_paused or self.transport.is_closing():
                response_complete(self)
                self._unset_keepalive_if_required()
            else:
                # What Uvicorn does then, without a timer: the deadline of an idle connection
                # travels with it, and is the native half's.
                self.server_state.total_requests += 1
            at_rest = self.scope is self.whole and self.cycle.response_complete
            self.transport.responded(REST if at_rest else self.standing())

    return HttpTools


def _lent_h11(base: type[Any], head_limits: HeadLimits) -> type[Any]:
    import h11  # noqa: PLC0415

    idle, sending = h11.IDLE, h11.SEND_BODY

    class H11(_Lent, base):  # type: ignore[misc]
        limits = head_limits

        def on_response_complete(self) -> None:
            super().on_response_complete()
            # Idle connections are the native half's to end: the deadline travels with them.
            self._unset_keepalive_if_required()
            self.transport.responded(self.standing())

        @property
        def in_head(self) -> bool:
            return self.conn.their_state is idle and bool(self.conn.trailing_data[0])

        @property
        def arriving(self) -> bool:
            return self.conn.their_state is sending or self.in_head

        def _get_upgrade(self) -> bytes | None:
            # Uvicorn asks this of each request, before it looks which application it is for.
            self._refuse_head(self.scope["raw_path"] + self.scope["query_string"], self.headers)
            upgrade: bytes | None = None if self.refused else super()._get_upgrade()
            return upgrade

    return H11
