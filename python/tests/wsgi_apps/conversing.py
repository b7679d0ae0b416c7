"""What ``test_conversations`` asks for: bytes, a pause, and a request's body back."""

import time


def app(environ, start_response):
    _, name, *arguments = environ["PATH_INFO"].split("/")
    if name == "bytes":
        body = [b"x" * int(arguments[0])]
    elif name == "sleep":
        time.sleep(float(arguments[0]) / 1000)
        body = [b"slept"]
    else:
        body = []
        while piece := environ["wsgi.input"].read(50_000):
            body.append(piece)
    start_response("200 OK", [("Content-Length", str(sum(map(len, body))))])
    return body
