"""
Requests that take their time, as maitred's demonstration has them, and one that says who answers.

`/spin/MS` takes so much CPU time of the calling thread, `/sleep/MS` awaits, `/pid` is the worker's
process id.
"""

import asyncio
import os
import time

PID = str(os.getpid()).encode()


async def app(scope, receive, send):
    if scope["type"] != "http":
        raise ValueError("only http")
    _, kind, *rest = scope["path"].split("/")
    body = b"done\n"
    if kind == "spin":
        end = time.thread_time() + float(rest[0]) / 1000
        while time.thread_time() < end:
            pass
    elif kind == "sleep":
        await asyncio.sleep(float(rest[0]) / 1000)
    else:
        body = PID
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
