"""A Django application in one file."""

from io import BytesIO

import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import FileResponse, HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path

settings.configure(
    ALLOWED_HOSTS=["*"],
    SECRET_KEY="of a test",
    ROOT_URLCONF=__name__,
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
)
django.setup()


def hello(request):
    return HttpResponse(f"Hello from Django at {request.build_absolute_uri()}")


def upload(request):
    return JsonResponse({name: file.size for name, file in request.FILES.items()})


def stream(request):
    return StreamingHttpResponse(f"{number}\n" for number in range(100))


def file(request):
    from pathlib import Path

    if request.GET.get("kind") == "memory":
        return FileResponse(BytesIO(b"in memory"))
    return FileResponse(Path(__file__).open("rb"))


urlpatterns = [
    path("", hello),
    path("upload", upload),
    path("stream", stream),
    path("file", file),
]
application = get_wsgi_application()
