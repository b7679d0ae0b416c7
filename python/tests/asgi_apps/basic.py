"""An application of the bare protocol: what each test needs, by path."""

import asyncio
import json
import os
import sys
import time

events = []
open_streams = 0


async def app(scope, receive, send):
    await {"http": http, "websocket": websocket, "lifespan": lifespan}[scope["type"]](
        scope, receive, send
    )


async def lifespan(scope, receive, send):
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            scope["state"]["started"] = os.getpid()
            await send({"type": "lifespan.startup.complete"})
        else:
            sys.stderr.write(f"lifespan shutdown {os.getpid()}\n")
            await send({"type": "lifespan.shutdown.complete"})
            return


async def websocket(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            print("websocket disconnected", message["code"], file=sys.stderr, flush=True)
            return
        if "text" in message and message["text"] == "pid":
            message["text"] = str(os.getpid())
        await send(
            {key: message.get(key) for key in ("text", "bytes")} | {"type": "websocket.send"}
        )


async def respond(send, body, status=200, headers=()):
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
    fields = [(b"content-length", str(len(body)).encode()), *headers]
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": body})


async def whole_body(receive):
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message["body"]
        if not message.get("more_body"):
            return body


async def http(scope, receive, send):
    global open_streams  # noqa: PLW0603
    _, name, *arguments = scope["path"].split("/")
    if name == "":
        await respond(send, b"hello\n")
    elif name == "scope":
        plain = {
            key: value for key, value in scope.items() if isinstance(value, (str, list, tuple))
        }
        plain |= {"pid": os.getpid(), "state": scope["state"]}
        await respond(
            send, json.dumps(plain, default=lambda value: value.decode("latin-1")).encode()
        )
    elif name == "pid":
        await respond(send, str(os.getpid()).encode())
    elif name == "echo":
        await respond(send, await whole_body(receive) or b"")
    elif name == "length":
        body = await whole_body(receive)
        await respond(send, str(len(body)).encode())
    elif name == "spin":
        until = time.perf_counter() + float(arguments[0]) / 1000
        while time.perf_counter() < until:
            pass
        await respond(send, str(os.getpid()).encode())
    elif name == "sleep":
        print("sleeping", arguments[0], file=sys.stderr, flush=True)
        await asyncio.sleep(float(arguments[0]) / 1000)
        await respond(send, str(os.getpid()).encode())
    elif name == "spin-behind":
        # What is left to do when the response has gone.
        await respond(send, str(os.getpid()).encode())
        until = time.perf_counter() + float(arguments[0]) / 1000
        while time.perf_counter() < until:
            pass
    elif name == "child-spins":

        async def child():
            until = time.perf_counter() + float(arguments[0]) / 1000
            while time.perf_counter() < until:
                pass

        await asyncio.create_task(child())
        await respond(send, str(os.getpid()).encode())
    elif name == "bytes":
        await respond(send, b"x" * int(arguments[0]))
    elif name == "stream":
        count, size = int(arguments[0]), int(arguments[1])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for number in range(count):
            piece = str(number % 10).encode() * size
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            await asyncio.sleep(0)
        await send({"type": "http.response.body", "body": b""})
    elif name == "events":
        open_streams += 1
        try:
            await send(
                {
                    "type": "http.response.start",
                    "status": 200,
                    "headers": [(b"content-type", b"text/event-stream")],
                }
            )
            gone = asyncio.ensure_future(disconnected(receive))
            while not gone.done():
                await send(
                    {"type": "http.response.body", "body": b"data: x\n\n", "more_body": True}
                )
                await asyncio.wait([gone], timeout=0.02)
        finally:
            open_streams -= 1
            print("stream ended", file=sys.stderr, flush=True)
    elif name == "streams":
        await respond(send, str(open_streams).encode())
    elif name == "fail":
        raise RuntimeError("told to fail")
    elif name == "fail-late":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"some", "more_body": True})
        raise RuntimeError("told to fail late")
    elif name == "early":
        # Answers before the body is here.
        await respond(send, b"early")
    elif name == "crash":
        os.kill(os.getpid(), 9)
    else:
        await respond(send, b"nothing here", status=404)


async def disconnected(receive):
    while (await receive())["type"] != "http.disconnect":
        pass


class Legacy:
    """ASGI 2: a class of its scope."""

    def __init__(self, scope):
        self.scope = scope

    async def __call__(self, receive, send):
        if self.scope["type"] == "lifespan":
            raise NotImplementedError
        await respond(send, b"from before")


async def refuses_to_start(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        raise RuntimeError("no database")
    await respond(send, b"hello\n")


async def says_why_not(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database for you"})


def make():
    return app
