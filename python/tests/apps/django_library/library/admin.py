"""Books can be added in the admin."""

from django.contrib import admin

from library.models import Book

admin.site.register(Book)
