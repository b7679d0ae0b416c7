"""
maitred: a pre-fork HTTP server in which only the master accepts.

The command is ``maitred``; this package is what it consists of. What an application sees of the
server is ASGI or WSGI, and nothing in here.
"""
