"""A greeting by each interface, as small as they allow: what is measured is the server."""

import os

PID = str(os.getpid()).encode()
BODY = b"Hello from Python\n"
LENGTH = str(len(BODY))
ASGI_HEADERS = [(b"content-type", b"text/plain"), (b"content-length", LENGTH.encode())]
WSGI_HEADERS = [("Content-Type", "text/plain"), ("Content-Length", LENGTH)]


async def app(scope, receive, send):
    """Greets by HTTP, and holds any WebSocket open that says nothing."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": ASGI_HEADERS})
        await send({"type": "http.response.body", "body": BODY})
    elif scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept", "headers": [(b"x-pid", PID)]})
        while (await receive())["type"] != "websocket.disconnect":
            pass
    else:
        raise ValueError("no lifespan")


def application(environ, start_response):
    """The same by WSGI."""
    start_response("200 OK", WSGI_HEADERS)
    return [BODY]
