#!/usr/bin/env python3
"""Counts which worker gets how many of 400 held connections, by arm: `capture.py MAITRED > captures.csv`.

Opened one after the other, and in bursts of 50, as the table in docs/accept.md. Loopback only; each
server is ended before the next one starts.
"""

import json
import re
import socket
import subprocess
import sys

WORKERS = 8
CONNECTIONS = 400
REQUEST = b"GET /whoami HTTP/1.1\r\nHost: capture\r\n\r\n"


def connect(port):
    held = socket.create_connection(("127.0.0.1", port), timeout=10)
    held.sendall(REQUEST)
    return held


def slot_of(held):
    data = b""
    while b"}" not in data:
        piece = held.recv(4096)
        if not piece:
            raise OSError("closed before its answer")
        data += piece
    return json.loads(data[data.index(b"{"):])["slot"]


def counts(maitred, arm, threads, at_once):
    command = [maitred, "serve", "-b", "127.0.0.1:0", "-w", str(WORKERS)]
    command += ["--threads", str(threads)] + ([] if arm == "master" else ["--accept", arm])
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        port = next(
            int(found.group(1))
            for line in server.stderr
            if (found := re.search(r"listening on http://127\.0\.0\.1:(\d+)", line))
        )
        held, found = [], [0] * WORKERS
        for _ in range(CONNECTIONS // at_once):
            burst = [connect(port) for _ in range(at_once)]
            for one in burst:
                found[slot_of(one)] += 1
            held += burst
        return found
    finally:
        server.kill()
        server.wait()


def main():
    print("arm,threads,at_once," + ",".join(f"slot_{slot}" for slot in range(WORKERS)))
    for arm in ["master", "shared", "exclusive", "reuseport"]:
        for threads in [0, 1]:
            for at_once in [1, 50]:
                row = counts(sys.argv[1], arm, threads, at_once)
                print(",".join(map(str, [arm, threads, at_once, *row])), flush=True)


main()
