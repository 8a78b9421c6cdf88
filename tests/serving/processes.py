"""A small real web for the model server to ask, and the model server as a real process."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

from trainshed.errors import NotFound, NotSignedIn

TOKEN = "service-token"


class Web:
    """The two routes of web that the model server uses, over real HTTP, and what was asked of them."""

    def __init__(self) -> None:
        self.archives: dict[str, dict[str, bytes]] = {}
        self.blobs: dict[str, bytes] = {}
        self.folder: Path | None = None  # set: blobs are told by path too, as on a shared disk
        self.asked: Counter[str] = Counter()
        self.url = ""
        self.gate = threading.Event()  # shut: questions for models are held
        self.gate.set()

    def add(self, model_id: str, archive: dict[str, bytes]) -> None:
        """Put a model there; blobs by their sha256."""
        self.archives[model_id] = archive
        for data in archive.values():
            self.blobs[sha256(data)] = data
            if self.folder:
                (self.folder / sha256(data)).write_bytes(data)

    def answer(self, path: str, authorization: str) -> tuple[int, bytes]:
        """Status and body of a GET."""
        kind, _, wanted = path.removeprefix("/api/v1/serving/").partition("/")
        self.asked[wanted] += 1
        if authorization != f"Bearer {TOKEN}":
            return 401, json.dumps(NotSignedIn().to_problem()).encode()
        if kind == "blobs":
            return 200, self.blobs[wanted]
        self.gate.wait(20)
        if wanted not in self.archives:
            return 404, json.dumps(NotFound(f"There is no model {wanted!r}.").to_problem()).encode()
        files = {name: self._reference(data) for name, data in self.archives[wanted].items()}
        return 200, json.dumps({"id": wanted, "files": files}).encode()

    def _reference(self, data: bytes) -> dict[str, Any]:
        path = str(self.folder / sha256(data)) if self.folder else None
        return {"sha256": sha256(data), "size_bytes": len(data), "path": path}

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Answer on a free port of this machine, in threads."""
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, body = web.answer(self.path, self.headers["Authorization"])
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                with suppress(ConnectionError):  # the model server hangs up when it has seen enough
                    self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            self.url = f"http://127.0.0.1:{server.server_port}"
            thread = threading.Thread(target=server.serve_forever, args=(0.01,))
            thread.start()
            try:
                yield
            finally:
                self.gate.set()
                server.shutdown()
                thread.join()


def sha256(data: bytes) -> str:
    """The content's address."""
    return hashlib.sha256(data).hexdigest()


class Process:
    """A model server as its supervisor starts it, on a Unix socket or a port, and a client of it."""

    def __init__(self, web_url: str, folder: Path, *options: str, port: int = 0, **environment: str) -> None:
        self.port = port
        self.socket, self.log = folder / "serving.sock", folder / "log.txt"
        place = ("--port", str(port)) if port else ("--socket", str(self.socket))
        command = [sys.executable, "-m", "trainshed", "model-server", *place, *options]
        served = {"TRAINSHED_HOME": str(folder), "TRAINSHED_URL": web_url, "TRAINSHED_TOKEN": TOKEN}
        with self.log.open("ab") as log:
            self.child = subprocess.Popen(command, env={**os.environ, **served, **environment}, stderr=log)
        socket_or_none = None if port else str(self.socket)
        transport = httpx.HTTPTransport(uds=socket_or_none, limits=httpx.Limits(max_connections=300))
        self.client = httpx.Client(transport=transport, base_url=f"http://127.0.0.1:{port}", timeout=20)

    def wait_until_ready(self) -> None:
        """Return as soon as it answers; fail if it ends instead."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            assert self.child.poll() is None, self.log.read_text()
            if self._can_connect():
                self.client.get("/health")
                return
            time.sleep(0.02)
        raise AssertionError(f"no answer: {self.log.read_text()}")

    def predict(self, model_id: str, picture: bytes, **query: str) -> httpx.Response:
        """Ask for a prediction."""
        return self.client.post(f"/models/{model_id}/predict", content=picture, params=query)

    def wait_until_waiting(self, count: int) -> None:
        """Return when so many requests wait in it."""
        deadline = time.monotonic() + 20
        while (waiting := self.client.get("/health").json()["waiting"]) != count:
            assert time.monotonic() < deadline, f"{waiting} requests wait, expected {count}"
            time.sleep(0.01)

    def close(self) -> None:
        """End it whatever its state."""
        self.client.close()
        self.child.kill()
        self.child.wait()

    def _can_connect(self) -> bool:
        with socket.socket(socket.AF_UNIX if self.port == 0 else socket.AF_INET) as probe:
            return probe.connect_ex(("127.0.0.1", self.port) if self.port else str(self.socket)) == 0
