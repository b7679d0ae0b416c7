"""A FastAPI endpoint that works for a millisecond, as one that renders something does."""

import time

from fastapi import FastAPI

app = FastAPI()


@app.get("/spin/{ms}")
async def spin(ms: float) -> dict[str, float]:
    """Takes so much CPU time of the calling thread."""
    end = time.thread_time() + ms / 1000
    while time.thread_time() < end:
        pass
    return {"spun_ms": ms}


@app.get("/")
async def index() -> dict[str, str]:
    """Says that the service is ready."""
    return {"ready": "yes"}
