"""A FastAPI service: models, dependencies, lifespan state, background tasks, files, a WebSocket."""

import asyncio
import contextlib
import hashlib
import os
import time
from pathlib import Path
from typing import Annotated

from fastapi import (
    BackgroundTasks,
    Depends,
    FastAPI,
    Header,
    HTTPException,
    Request,
    UploadFile,
    WebSocket,
    WebSocketDisconnect,
)
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

# Where the service writes down that it has begun and ended; the tests read it.
DIARY = Path(os.environ["NOTES_DIARY"])


def note_down(line):
    with DIARY.open("a") as diary:
        diary.write(f"{line}\n")


@contextlib.asynccontextmanager
async def lifespan(app):
    note_down("began")
    yield {"greeting": "hello from the lifespan"}
    await asyncio.sleep(0)
    note_down("ended")


app = FastAPI(title="notes", lifespan=lifespan)


class Note(BaseModel):
    title: str = Field(min_length=1, max_length=20)
    stars: int = Field(ge=0, le=5)


def who(x_user: Annotated[str | None, Header()] = None):
    if x_user is None:
        raise HTTPException(401, "who are you?")
    return x_user


@app.get("/")
async def index(request: Request):
    return {"greeting": request.state.greeting, "client": request.client.host}


@app.post("/notes", status_code=201)
async def add(note: Note, user: Annotated[str, Depends(who)], tasks: BackgroundTasks):
    tasks.add_task(note_down, f"{user} added {note.title}")
    return {"user": user, "note": note}


@app.get("/blocking")
def blocking(ms: float):
    """Not async: FastAPI runs it in a thread, and the loop goes on."""
    note_down(f"sleeping {ms:g}")
    time.sleep(ms / 1000)
    return {"slept": ms}


@app.post("/upload")
async def upload(file: UploadFile):
    digest, size = hashlib.sha256(), 0
    while piece := await file.read(64 * 1024):
        digest.update(piece)
        size += len(piece)
    return {"name": file.filename, "size": size, "sha256": digest.hexdigest()}


@app.post("/raw")
async def raw(request: Request):
    digest, size = hashlib.sha256(), 0
    async for piece in request.stream():
        digest.update(piece)
        size += len(piece)
    return {"size": size, "sha256": digest.hexdigest()}


@app.get("/numbers")
async def numbers(count: int):
    async def lines():
        for number in range(count):
            yield f"{number}\n"

    return StreamingResponse(lines(), media_type="text/plain")


@app.get("/url")
async def url(request: Request):
    return {"url": str(request.url_for("add")), "root_path": request.scope["root_path"]}


@app.get("/fails")
async def fails():
    raise RuntimeError("this endpoint has a mistake")


@app.websocket("/chat/{room}")
async def chat(websocket: WebSocket, room: str):
    await websocket.accept()
    with contextlib.suppress(WebSocketDisconnect):
        while True:
            note = Note(**await websocket.receive_json())
            await websocket.send_json({"room": room, "title": note.title.upper()})
