"""One WSGI application with a target for everything that PEP 3333 speaks of.

What it does apart from its responses it notes in `NOTES`, which `/notes` tells.
"""

import gzip
import io
import json
import os
import sys
import tempfile
import threading
import time
from pathlib import Path

TEXT = [("Content-Type", "text/plain")]
NOTES = []
LOCAL = threading.local()
GATE = threading.Event()


def notes(environ, start_response):
    start_response("200 OK", TEXT)
    return [json.dumps(NOTES).encode()]


def environ_(environ, start_response):
    start_response("200 OK", TEXT)
    shown = {key: value for key, value in environ.items() if isinstance(value, (str, bool))}
    shown["wsgi.version"] = environ["wsgi.version"]
    shown["type"] = type(environ).__name__
    return [json.dumps(shown).encode()]


def plain(environ, start_response):
    start_response("200 OK", TEXT)
    return [b"Hello, world!"]


class Closing:
    """An iterable that says when it was closed, and in which thread."""

    def __init__(self, name, pieces):
        self.name = name
        self.pieces = iter(pieces)

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.pieces)

    def close(self):
        NOTES.append(f"closed {self.name} in {threading.get_native_id() != os.getpid()}")


def closing(environ, start_response):
    start_response("200 OK", TEXT)
    return Closing("closing", [b"", b"one", b"", b"two"])


def closing_empty(environ, start_response):
    start_response("200 OK", TEXT)
    return Closing("closing_empty", [])


def fails_at_once(environ, start_response):
    start_response("200 OK", TEXT)

    def pieces():
        raise ValueError("before the first piece")
        yield b""

    return Closing("fails_at_once", pieces())


def fails_later(environ, start_response):
    start_response("200 OK", TEXT)

    def pieces():
        yield b"one"
        raise ValueError("after the first piece")

    return Closing("fails_later", pieces())


def close_fails(environ, start_response):
    start_response("200 OK", TEXT)

    class Bad(Closing):
        def close(self):
            raise ValueError("in close")

    return Bad("close_fails", [b"fine"])


def endless(environ, start_response):
    start_response("200 OK", TEXT)

    def pieces():
        while True:
            NOTES[:] = [note for note in NOTES if not note.startswith("made ")]
            yield b"x" * 65536

    return Closing("endless", pieces())


def lazy(environ, start_response):
    """A generator: it calls start_response when it is first asked for a piece."""
    start_response("203 Lazy", TEXT)
    yield b"late"


def never_begins(environ, start_response):
    return [b"no head"]


def begins_too_late(environ, start_response):
    yield b"piece"
    start_response("200 OK", TEXT)


def raises(environ, start_response):
    raise ValueError("a\nb")


def exits(environ, start_response):
    sys.exit("no more")


def interrupts(environ, start_response):
    raise KeyboardInterrupt


def text_piece(environ, start_response):
    start_response("200 OK", TEXT)
    return ["text"]


def writes(environ, start_response):
    write = start_response("200 OK", TEXT)
    write(b"one ")
    write(b"two ")
    return [b"three"]


def writes_and_raises(environ, start_response):
    write = start_response("200 OK", TEXT)
    write(b"one ")
    raise ValueError("after write")


def changes_its_mind(environ, start_response):
    start_response("200 OK", TEXT)
    try:
        raise ValueError("in time")
    except ValueError:
        start_response("503 Sorry", TEXT, sys.exc_info())
    return [b"sorry"]


def changes_its_mind_too_late(environ, start_response):
    start_response("200 OK", TEXT)

    def pieces():
        yield b"one"
        try:
            raise ValueError("too late")
        except ValueError:
            try:
                start_response("503 Sorry", TEXT, exc_info=sys.exc_info())
            except ValueError as error:
                NOTES.append(f"raised again: {error}")
                raise

    return pieces()


def begins_twice(environ, start_response):
    start_response("200 OK", TEXT)
    start_response("201 Created", TEXT)
    return [b"no"]


def declared(environ, start_response):
    """Content-Length is in the target; `pieces` of three bytes each, as a list or iterated."""
    _, kind, length, pieces = environ["PATH_INFO"].strip("/").split("/")
    start_response("200 OK", [*TEXT, ("Content-Length", length)])
    body = [b"abc"] * int(pieces)
    return body if kind == "list" else Closing(f"declared {length} {pieces}", body)


def head_with(environ, start_response):
    """The query is the status; the body are header lines, as the application shall give them."""
    fields = json.loads(environ["wsgi.input"].read() or b"[]")
    from urllib.parse import unquote

    start_response(
        unquote(environ["QUERY_STRING"], "latin-1"), [(name, value) for name, value in fields]
    )
    return [b"body"]


def body_read(environ, start_response):
    body = environ["wsgi.input"]
    kind = environ["QUERY_STRING"]
    if kind == "all":
        parts = [body.read()]
    elif kind == "sizes":
        parts = [
            body.read(5),
            body.read(0),
            body.read(70000),
            body.read(-1),
            body.read(),
            body.read(1),
        ]
    elif kind == "lines":
        parts = [
            body.readline(),
            body.readline(2),
            *body.readlines(4),
            *list(body),
            body.readline(),
        ]
    else:
        parts = [body.read(1) for _ in range(3)]
    start_response("200 OK", TEXT)
    lengths = [len(part) for part in parts]
    total = b"".join(parts)
    return [json.dumps([lengths, sum(total), environ.get("CONTENT_LENGTH")]).encode()]


def upload_slowly(environ, start_response):
    """Reads nothing until `/open` is asked for."""
    NOTES.append("upload began")
    assert GATE.wait(30)
    total = 0
    while piece := environ["wsgi.input"].read(65536):
        total += len(piece)
    start_response("200 OK", TEXT)
    return [str(total).encode()]


def open_gate(environ, start_response):
    GATE.set()
    start_response("200 OK", TEXT)
    return [b"open"]


def upload_fails(environ, start_response):
    try:
        environ["wsgi.input"].read()
    except OSError as error:
        NOTES.append(f"upload failed: {type(error).__name__}")
        raise
    start_response("200 OK", TEXT)
    return [b"whole"]


def file_(environ, start_response):
    """A stretch of a file, as several kinds of objects."""
    kind = environ["PATH_INFO"].rpartition("/")[2]
    path = Path(tempfile.gettempdir()) / f"maitred-wsgi-{os.getpid()}"
    content = bytes(range(256)) * 4096
    wrapper = environ["wsgi.file_wrapper"]
    if kind == "gzip":
        path.write_bytes(gzip.compress(content))
        opened = gzip.open(path)
    elif kind == "memory":
        opened = io.BytesIO(content)
    elif kind == "temporary":
        opened = tempfile.NamedTemporaryFile()
        opened.write(content)
        opened.flush()
    else:
        path.write_bytes(content)
        opened = path.open("rb")
    opened.seek(1000)
    fields = list(TEXT)
    if kind == "declared":
        fields.append(("Content-Length", "10"))
    if kind == "buffered":
        assert opened.read(3) == content[1000:1003]
    path.unlink(missing_ok=True)

    class Noting:
        def __init__(self, close):
            self.close_ = close

        def __call__(self):
            NOTES.append(f"closed file {kind}")
            self.close_()

    start_response("200 OK", fields)
    if kind in {"memory", "gzip"}:
        opened.close = Noting(opened.close)
    return wrapper(opened)


def thread(environ, start_response):
    """Which thread this is, and how many requests it has had, by a thread-local variable."""
    LOCAL.requests = getattr(LOCAL, "requests", 0) + 1
    start_response("200 OK", TEXT)
    return [json.dumps([threading.get_native_id(), LOCAL.requests, os.getpid()]).encode()]


def sleeps(environ, start_response):
    """Takes as many milliseconds as the target says, and tells its thread."""
    if environ["PATH_INFO"] == "/sleeps/100000":
        sys.stdout.write("sleeping\n")
        sys.stdout.flush()
    time.sleep(int(environ["PATH_INFO"].rpartition("/")[2]) / 1000)
    start_response("200 OK", TEXT)
    return [str(threading.get_native_id()).encode()]


def spins(environ, start_response):
    """Never ends, and never lets go of the interpreter by itself."""
    sys.stdout.write("spinning\n")
    sys.stdout.flush()
    while True:
        pass


BARRIER = threading.Barrier(4)


def together(environ, start_response):
    """Answers once four requests are here at the same time."""
    BARRIER.wait(30)
    start_response("200 OK", TEXT)
    return [b"together"]


def streams(environ, start_response):
    """Ten pieces, of which the last nine come once `/open` was asked for."""
    start_response("200 OK", TEXT)

    def pieces():
        yield b"0"
        assert GATE.wait(30)
        for number in range(1, 10):
            time.sleep(0.01)
            yield str(number).encode()

    return Closing("streams", pieces())


TARGETS = {
    "notes": notes,
    "environ": environ_,
    "plain": plain,
    "closing": closing,
    "closing_empty": closing_empty,
    "fails_at_once": fails_at_once,
    "fails_later": fails_later,
    "close_fails": close_fails,
    "endless": endless,
    "lazy": lazy,
    "never_begins": never_begins,
    "begins_too_late": begins_too_late,
    "raises": raises,
    "exits": exits,
    "interrupts": interrupts,
    "text_piece": text_piece,
    "writes": writes,
    "writes_and_raises": writes_and_raises,
    "changes_its_mind": changes_its_mind,
    "changes_its_mind_too_late": changes_its_mind_too_late,
    "begins_twice": begins_twice,
    "declared": declared,
    "head_with": head_with,
    "body_read": body_read,
    "upload_slowly": upload_slowly,
    "open": open_gate,
    "upload_fails": upload_fails,
    "file": file_,
    "thread": thread,
    "sleeps": sleeps,
    "spins": spins,
    "together": together,
    "streams": streams,
}


def app(environ, start_response):
    name = environ["PATH_INFO"].strip("/").split("/")[0]
    return TARGETS.get(name, environ_)(environ, start_response)
