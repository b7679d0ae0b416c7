"""Server-sent events by sse-starlette: a ticker that goes on until somebody leaves."""

import asyncio
import itertools
import os

from sse_starlette import EventSourceResponse
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

open_streams = set()


async def ticks(request):
    stream = object()

    async def events():
        open_streams.add(stream)
        try:
            first = int(request.headers.get("last-event-id", -1)) + 1
            for number in itertools.count(first):
                yield {"event": "tick", "id": str(number), "data": f"tick {number}"}
                await asyncio.sleep(0.01)
        finally:
            open_streams.discard(stream)

    return EventSourceResponse(events())


async def state(request):
    return JSONResponse({"pid": os.getpid(), "open": len(open_streams)})


app = Starlette(routes=[Route("/ticks", ticks), Route("/state", state)])
