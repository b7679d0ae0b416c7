"""Where the views are."""

from django.contrib import admin
from django.urls import path

from library import views

handler404 = views.not_found

urlpatterns = [
    path("", views.index, name="index"),
    path("books", views.books, name="books"),
    path("upload", views.upload),
    path("raw", views.raw),
    path("file", views.file),
    path("stream/<str:name>", views.stream),
    path("gates/<str:name>", views.gate),
    path("request", views.describe),
    path("fails", views.fails),
    path("admin/", admin.site.urls),
]
