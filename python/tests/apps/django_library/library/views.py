"""Views that use what Django asks of a server: bodies, files, streams, the request's own truth."""

import asyncio
import hashlib
import os
import threading
from collections import defaultdict

from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.http import FileResponse, HttpResponse, JsonResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from library.models import Book

# A stream that waits for a gate that nobody opens ends after this.
GATE_SECONDS_MAX = 30


class Gate:
    """What a stream waits for, and what has become of that stream."""

    def __init__(self):
        self.opened = threading.Event()
        self.is_closed = False


GATES = defaultdict(Gate)


def index(request):
    """A page from a template, with a static file in it."""
    return render(request, "library/index.html", {"books": Book.objects.order_by("title")})


def books(request):
    """A form with a CSRF token, a database row, a message in the session, a redirect."""
    if request.method == "POST":
        Book.objects.create(title=request.POST["title"])
        request.session["added"] = request.session.get("added", 0) + 1
        return redirect("index")
    return render(request, "library/form.html")


@csrf_exempt
@require_POST
def upload(request):
    """Says what has been uploaded, by Django's own parser."""
    files = {}
    for field, file in request.FILES.items():
        digest = hashlib.sha256()
        for chunk in file.chunks():
            digest.update(chunk)
        is_in_memory = file.multiple_chunks() is False
        files[field] = {
            "name": file.name,
            "size": file.size,
            "sha256": digest.hexdigest(),
            "is_in_memory": is_in_memory,
        }
    return JsonResponse({"files": files, "fields": request.POST.dict()})


@csrf_exempt
def raw(request):
    """Reads a body of any framing, piece by piece."""
    digest, size = hashlib.sha256(), 0
    while piece := request.read(16 * 1024):
        digest.update(piece)
        size += len(piece)
    return JsonResponse({"size": size, "sha256": digest.hexdigest()})


def file(request):
    """A file: `wsgi.file_wrapper` under WSGI."""
    path = settings.DATA / "book.bin"
    return FileResponse(path.open("rb"), as_attachment=True, filename="book.bin")


def stream(request, name):
    """One line at once, another when the gate has been opened."""
    gate = GATES[name]

    def in_a_thread():
        try:
            yield b"first\n"
            gate.opened.wait(GATE_SECONDS_MAX)
            yield b"second\n"
        finally:
            gate.is_closed = True

    async def on_the_loop():
        try:
            yield b"first\n"
            await asyncio.to_thread(gate.opened.wait, GATE_SECONDS_MAX)
            yield b"second\n"
        finally:
            gate.is_closed = True

    lines = on_the_loop() if isinstance(request, ASGIRequest) else in_a_thread()
    return StreamingHttpResponse(lines, content_type="text/plain")


@csrf_exempt
def gate(request, name):
    """Opens a gate (POST), and says whether its stream has ended."""
    if request.method == "POST":
        GATES[name].opened.set()
    return JsonResponse({"is_closed": GATES[name].is_closed})


def describe(request):
    """The request as Django understands it."""
    return JsonResponse(
        {
            "interface": "asgi" if isinstance(request, ASGIRequest) else "wsgi",
            "pid": os.getpid(),
            "method": request.method,
            "path": request.path,
            "path_info": request.path_info,
            "query": request.GET.dict(),
            "scheme": request.scheme,
            "host": request.get_host(),
            "remote": request.META.get("REMOTE_ADDR"),
            "cookies": request.COOKIES,
            "headers": dict(request.headers),
        }
    )


def fails(request):
    """A view with a mistake."""
    raise RuntimeError("this view has a mistake")


def not_found(request, exception):
    """Answers 404 shortly."""
    return HttpResponse("no such page\n", status=404, content_type="text/plain")
