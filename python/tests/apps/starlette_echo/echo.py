"""A WebSocket echo in Starlette, with subprotocols, refusals, and a last word."""

import os

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocketDisconnect

# Codes with which clients have gone, for the tests to ask.
gone = []


async def echo(websocket):
    subprotocols = websocket.scope["subprotocols"]
    await websocket.accept(subprotocol=subprotocols[0] if subprotocols else None)
    try:
        while True:
            message = await websocket.receive()
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(message["code"])
            if message.get("text") is not None:
                await websocket.send_text(message["text"])
            else:
                await websocket.send_bytes(message["bytes"])
    except WebSocketDisconnect as end:
        gone.append(end.code)


async def refuse(websocket):
    await websocket.close()


async def farewell(websocket):
    await websocket.accept(headers=[(b"x-greeting", b"welcome")])
    await websocket.send_text("good bye")
    await websocket.close(code=4001, reason="enough")


async def index(request):
    return PlainTextResponse(f"{os.getpid()} {gone}\n")


app = Starlette(
    routes=[
        Route("/", index),
        WebSocketRoute("/echo", echo),
        WebSocketRoute("/refuse", refuse),
        WebSocketRoute("/farewell", farewell),
    ]
)
