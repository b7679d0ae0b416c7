"""What the library keeps."""

from django.db import models


class Book(models.Model):
    """A book, with a title."""

    title = models.CharField(max_length=200)

    def __str__(self):
        return self.title
