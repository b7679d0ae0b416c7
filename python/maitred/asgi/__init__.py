"""
Serving ASGI applications: the Python half of a worker.

Connections, claims and the bytes in and out are native (python/src/asgi); HTTP, WebSockets and the
lifespan protocol are Uvicorn's. This package puts the two together and decides when it is over.

Not here: importing the application (``maitred.importing``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from maitred._native import Worker

__all__ = ["serve"]


def serve(worker: Worker, application: Any, options: dict[str, Any]) -> None:
    """Serve until the master has no more use for this worker."""
    # Here, so that a WSGI application needs nothing of this.
    from maitred.asgi import running  # noqa: PLC0415

    running.run(worker, application, running.Options(**options))
