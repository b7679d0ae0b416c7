"""A Flask shop with a factory: sessions, JSON, uploads, streams, files with ranges."""

import hashlib
import io
import os
import threading
from collections import defaultdict

from flask import (
    Blueprint,
    Flask,
    Response,
    abort,
    jsonify,
    request,
    send_file,
    session,
    stream_with_context,
    url_for,
)

# A stream that waits for a gate that nobody opens ends after this.
GATE_SECONDS_MAX = 30

shop = Blueprint("shop", __name__)
gates = defaultdict(threading.Event)


@shop.get("/")
def index():
    return jsonify(name="shop", link=url_for("shop.item", number=7, _external=True))


@shop.get("/items/<int:number>")
def item(number):
    if number > 100:
        abort(404, description="no such item")
    return jsonify(number=number, quantity=request.args.get("quantity", type=int))


@shop.post("/cart/<int:number>")
def cart(number):
    session["cart"] = [*session.get("cart", []), number]
    return jsonify(session["cart"])


@shop.post("/upload")
def upload():
    digest = hashlib.sha256()
    while piece := request.stream.read(64 * 1024):
        digest.update(piece)
    return jsonify(sha256=digest.hexdigest(), length=request.content_length)


@shop.post("/picture")
def picture():
    file = request.files["picture"]
    return jsonify(name=file.filename, sha256=hashlib.sha256(file.read()).hexdigest())


@shop.get("/file")
def file():
    return send_file(os.environ["SHOP_FILE"], mimetype="application/octet-stream", conditional=True)


@shop.get("/memory")
def memory():
    return send_file(io.BytesIO(b"from memory\n"), mimetype="text/plain")


@shop.get("/stream/<name>")
def stream(name):
    def lines():
        yield f"first for {request.args['who']}\n"
        gates[name].wait(GATE_SECONDS_MAX)
        yield "second\n"

    return Response(stream_with_context(lines()), mimetype="text/plain")


@shop.post("/gates/<name>")
def gate(name):
    gates[name].set()
    return "", 204


@shop.get("/breaks")
def breaks():
    def lines():
        yield "so far so good\n"
        raise RuntimeError("this stream has a mistake")

    return Response(lines(), mimetype="text/plain")


@shop.get("/fails")
def fails():
    raise RuntimeError("this view has a mistake")


def create_app():
    app = Flask(__name__)
    app.config["SECRET_KEY"] = "only for tests"
    app.register_blueprint(shop)
    app.register_error_handler(404, lambda error: (jsonify(error=error.description), 404))
    return app
