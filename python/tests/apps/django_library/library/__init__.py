"""A Django project as people have them: admin, sessions, forms, uploads, static files, streams."""
