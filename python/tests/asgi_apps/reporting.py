"""An application that reports a load of its own, where it is asked to."""


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    own = [(b"Endpoint-Load-Metrics", b"TEXT eps=7")] if scope["path"] == "/own" else []
    headers = [(b"content-length", b"3"), *own]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"ok\n"})
