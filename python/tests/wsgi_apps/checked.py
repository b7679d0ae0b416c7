"""`wsgiref.validate` around an application that uses everything once."""

import json
from wsgiref.validate import validator


def inner(environ, start_response):
    body = environ["wsgi.input"].read(3)
    body += environ["wsgi.input"].readline()
    body += b"".join(environ["wsgi.input"])
    environ["wsgi.errors"].write("said by the application\n")
    environ["wsgi.errors"].flush()
    if environ["PATH_INFO"] == "/empty":
        start_response("204 No Content", [])
        return []
    start_response("200 OK", [("Content-Type", "application/json")])
    if environ["PATH_INFO"] == "/file":
        import io

        return environ["wsgi.file_wrapper"](io.BytesIO(body), 4)
    return [json.dumps([environ["PATH_INFO"], body.decode()]).encode()]


app = validator(inner)
