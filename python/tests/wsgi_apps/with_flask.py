"""A Flask application as its users write it."""

from flask import Flask, Response, request

app = Flask(__name__)


@app.get("/")
def hello():
    return "Hello from Flask"


@app.post("/upload")
def upload():
    return {"size": len(request.get_data()), "form": request.form.to_dict()}


@app.get("/stream")
def stream():
    return Response((f"{number}\n" for number in range(100)), mimetype="text/plain")


@app.get("/fails")
def fails():
    raise ValueError("in a view")
