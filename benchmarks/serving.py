"""P5: the model server beside a bare Starlette endpoint with the same decoder, network and engine.

Also LitServe and Ray Serve with the same file, where they are installed. Everything runs on this machine in
one go, in alternating pairs; the client is this process, as light as Python allows, and the same for all.
"""

import asyncio
import hashlib
import importlib.util
import io
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import numpy

from figures import Figure, alternate, arguments, median_interval, print_figures

TARGETS = ("<= 1.2 x", ">= 0.9 x")
LATENCY_REQUESTS = 40
MOST_SECONDS_TO_START = 60
CONCURRENCY, THROUGHPUT_SECONDS = 32, 3.0
BARE = "bare Starlette"
Measure = Callable[["Place"], float]
MODEL_ID, BACKBONE = "measured", "tf_efficientnet_lite0"
HERE = Path(__file__).resolve()


@dataclass(frozen=True)
class Place:
    """Where a server listens, and the path that predicts there."""

    name: str
    address: str | tuple[str, int]
    path: str
    takes_forms: bool = False

    def request(self, picture: bytes) -> bytes:
        """The HTTP request that asks about the picture."""
        kind = "image/jpeg"
        if self.takes_forms:
            head = b'--edge\r\nContent-Disposition: form-data; name="content"; filename="a.jpg"\r\n\r\n'
            picture, kind = head + picture + b"\r\n--edge--\r\n", "multipart/form-data; boundary=edge"
        lines = f"POST {self.path} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\n"
        return f"{lines}Content-Length: {len(picture)}\r\n\r\n".encode() + picture


class Asker(asyncio.Protocol):
    """One connection that asks again as soon as it is answered, and keeps the seconds of each answer."""

    def __init__(self, request: bytes, is_over: Callable[[int], bool]) -> None:
        self._request = request
        self._is_over = is_over
        self._received = bytearray()
        self.seconds: list[float] = []
        self.finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._ask()

    def data_received(self, data: bytes) -> None:
        self._received += data
        body = _body(bytes(self._received))
        if body is None:
            return
        if not self._received.startswith(b"HTTP/1.1 200"):
            self._end(RuntimeError(bytes(self._received[:500]).decode()))
            return
        self.body = body
        self._received.clear()
        self.seconds.append(time.perf_counter() - self._asked)
        if self._is_over(len(self.seconds)):
            self._end(None)
        else:
            self._ask()

    def connection_lost(self, error: Exception | None) -> None:
        self._end(error or ConnectionError("the server hung up"))

    def _ask(self) -> None:
        self._asked = time.perf_counter()
        self._transport.write(self._request)

    def _end(self, error: Exception | None) -> None:
        if not self.finished.done():
            if error is None:
                self.finished.set_result(None)
            else:
                self.finished.set_exception(error)
        self._transport.close()


def _body(answer: bytes) -> bytes | None:
    """The body of an HTTP answer that has come whole, or `None`."""
    head, _, body = answer.partition(b"\r\n\r\n")
    length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
    if length:
        return body if len(body) >= int(length) else None
    # In chunks: lines of sizes and of content in turn, the last size 0.
    return b"".join(body.split(b"\r\n")[1::2]) if body.endswith(b"\r\n0\r\n\r\n") else None


async def ask(place: Place, picture: bytes, connections: int, is_over: Callable[[int], bool]) -> list[Asker]:
    """Ask over so many connections until each is over."""
    loop, askers = asyncio.get_running_loop(), []
    for _ in range(connections):
        asker = Asker(place.request(picture), is_over)
        if isinstance(place.address, str):
            await loop.create_unix_connection(lambda asker=asker: asker, place.address)  # type: ignore[misc]
        else:
            await loop.create_connection(lambda asker=asker: asker, *place.address)  # type: ignore[misc]
        askers.append(asker)
    await asyncio.gather(*(asker.finished for asker in askers))
    return askers


def latency_milliseconds(place: Place, picture: bytes) -> float:
    """Median of sequential requests on one connection."""
    (asker,) = asyncio.run(ask(place, picture, 1, lambda answers: answers >= LATENCY_REQUESTS))
    return statistics.median(asker.seconds) * 1e3


def pictures_per_second(place: Place, picture: bytes) -> float:
    """Answers per second over many connections at once."""
    started = time.perf_counter()
    end = started + THROUGHPUT_SECONDS
    askers = asyncio.run(ask(place, picture, CONCURRENCY, lambda answers: time.perf_counter() >= end))
    return sum(len(asker.seconds) for asker in askers) / (time.perf_counter() - started)


def figure_of(name: str, unit: str, measure: Measure, place: Place, other: Place, pairs: int, target: str) -> Figure:
    """Medians side by side, and the median ratio of the pairs; `target` is like `<= 1.2 x`, or empty."""
    ours, theirs = alternate(lambda: measure(place), lambda: measure(other), pairs)
    ratio, interval = median_interval([a / b for a, b in zip(ours, theirs, strict=True)])
    limit = float(target.split()[1]) if target else 0.0
    holds = (ratio <= limit if target.startswith("<") else ratio >= limit) if target else None
    return Figure(
        "P5",
        name,
        statistics.median(ours),
        statistics.median(theirs),
        other.name,
        ratio,
        target,
        holds,
        unit,
        interval,
    )


def real_photo() -> bytes:
    """A photo of 960 x 640 px as JPEG."""
    import skimage.data
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(skimage.data.coffee()).resize((960, 640)).save(file, "JPEG", quality=90)
    return file.getvalue()


def build_archive(folder: Path) -> Path:
    """The archive of the ImageNet classifier that every installation has; made in a process of its own."""
    code = (
        "import sys, pathlib; from trainshed.vision.pretrained import build\n"
        "from trainshed.vision.story import SilentStory\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        f"build({BACKBONE!r}, cache_folder=folder / 'cache', story=SilentStory(folder))"
    )
    subprocess.run([sys.executable, "-c", code, str(folder)], check=True, stdout=subprocess.DEVNULL)
    return folder / "model"


@contextmanager
def web_telling(archive: Path) -> Iterator[str]:
    """The one route of web that the model server asks; the address of it."""
    files = {}
    for name in ("model.onnx", "classes.json", "transform.json"):
        data = (archive / name).read_bytes()
        sha256 = hashlib.sha256(data).hexdigest()
        files[name] = {"sha256": sha256, "size_bytes": len(data), "path": str(archive / name)}
    body = json.dumps({"id": MODEL_ID, "files": files}).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@contextmanager
def process(*arguments: str, **environment: str) -> Iterator[None]:
    """A child of this interpreter, ended at the end."""
    child = subprocess.Popen([sys.executable, *arguments], env={**os.environ, **environment})
    try:
        yield
    finally:
        child.send_signal(signal.SIGINT)
        child.wait(30)


def wait_for(place: Place, picture: bytes) -> dict[str, Any]:
    """Ask until it answers, then a little more, so that everything is warm; the last answer."""
    deadline = time.monotonic() + MOST_SECONDS_TO_START
    while True:
        try:
            asyncio.run(ask(place, picture, CONCURRENCY, lambda answers: answers >= 8))
            (asker,) = asyncio.run(ask(place, picture, 1, lambda answers: answers >= 8))
            return dict(json.loads(asker.body))
        except (OSError, RuntimeError):  # not there yet, or there but not ready
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


class Answering:
    """What every other server needs: the archive's transform, classes and network on the same engine."""

    def __init__(self, archive: str, backend: str) -> None:
        from trainshed import pictures
        from trainshed.schemas import Transform
        from trainshed.serving.choice import choose

        folder = Path(archive)
        self._load = pictures.load
        self._transform = Transform.model_validate_json((folder / "transform.json").read_bytes())
        classes = json.loads((folder / "classes.json").read_bytes())["classes"]
        self._names = [each["name"] for each in classes]
        self.predictor = choose((folder / "model.onnx").read_bytes(), self._transform.size, backend)

    def load(self, data: bytes) -> Any:
        """Decode and resize."""
        return self._load(data, self._transform)

    def predict(self, batch: list[Any]) -> list[Any]:
        """Probabilities of each picture."""
        return list(self.predictor.predict(numpy.stack(batch)))

    def best(self, answer: Any) -> dict[str, Any]:
        """The answer as it is sent."""
        order = answer.argsort()[::-1][:5]
        return {"predictions": [{"label": self._names[k], "score": float(answer[k])} for k in order]}


def serve_bare(socket_path: str, archive: str, backend: str) -> None:
    """The anchor: decode in threads, gather what waits, call the network, answer. No limits, no shelf."""
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    answering = Answering(archive, backend)
    decoding, predicting = ThreadPoolExecutor(os.cpu_count()), ThreadPoolExecutor(1)
    waiting: list[tuple[Any, asyncio.Future[Any]]] = []
    running: list[asyncio.Task[None]] = []
    is_running = False

    async def run() -> None:
        nonlocal is_running
        while waiting:
            batch = waiting[: answering.predictor.max_batch]
            del waiting[: len(batch)]
            loop = asyncio.get_running_loop()
            answers = await loop.run_in_executor(predicting, answering.predict, [each for each, _ in batch])
            for (_, future), answer in zip(batch, answers, strict=True):
                future.set_result(answer)
        is_running = False

    async def predict(request: Request) -> JSONResponse:
        nonlocal is_running
        loop = asyncio.get_running_loop()
        picture = await loop.run_in_executor(decoding, answering.load, await request.body())
        future: asyncio.Future[Any] = loop.create_future()
        waiting.append((picture, future))
        if not is_running:
            is_running = True
            running[:] = [loop.create_task(run())]
        return JSONResponse(answering.best(await future))

    app = Starlette(routes=[Route("/predict", predict, methods=["POST"])])
    uvicorn.run(app, uds=socket_path, log_level="warning", access_log=False)


if importlib.util.find_spec("litserve"):
    import litserve
    from fastapi import Request

    class LitServed(litserve.LitAPI):  # type: ignore[misc]
        """At the top of the module, because LitServe sends it to a process of its own."""

        def __init__(self, archive: str, backend: str) -> None:
            super().__init__(max_batch_size=8, batch_timeout=0.0)
            self._where = (archive, backend)

        def setup(self, device: str) -> None:
            self.answering = Answering(*self._where)

        def decode_request(self, request: Request) -> Any:
            return self.answering.load(request["content"].file.read())

        def batch(self, inputs: list[Any]) -> list[Any]:
            return inputs

        def predict(self, batch: list[Any]) -> list[Any]:
            return self.answering.predict(batch)

        def unbatch(self, output: list[Any]) -> list[Any]:
            return output

        def encode_response(self, output: Any) -> dict[str, Any]:
            return self.answering.best(output)


def serve_litserve(port: str, archive: str, backend: str) -> None:
    """LitServe; a form is its way to take a file."""
    server = litserve.LitServer(LitServed(archive, backend), accelerator="cpu")
    server.run(host="127.0.0.1", port=int(port), log_level="warning", generate_client_file=False)


def serve_ray(port: str, archive: str, backend: str) -> None:
    """Ray Serve: one replica, its own batching, decoding in threads."""
    import ray
    from ray import serve
    from starlette.requests import Request

    @serve.deployment(max_ongoing_requests=2 * CONCURRENCY)
    class RayServed:
        def __init__(self) -> None:
            self.answering = Answering(archive, backend)

        @serve.batch(max_batch_size=8, batch_wait_timeout_s=0.0)
        async def predict(self, batch: list[Any]) -> list[Any]:
            return await asyncio.to_thread(self.answering.predict, batch)

        async def __call__(self, request: Request) -> dict[str, Any]:
            picture = await asyncio.to_thread(self.answering.load, await request.body())
            return self.answering.best(await self.predict(picture))

    ray.init(address="local", include_dashboard=False, configure_logging=False)
    serve.start(http_options={"host": "127.0.0.1", "port": int(port)})
    serve.run(RayServed.bind(), route_prefix="/predict", blocking=True)


SERVERS = {"--bare": serve_bare, "--litserve": serve_litserve, "--ray": serve_ray}


def start_ours(closing: ExitStack, folder: Path, archive: Path, picture: bytes) -> tuple[Place, str]:
    """The model server as its supervisor starts it, and the engine that it found fastest."""
    ours = Place("Trainshed", str(folder / "ours.sock"), f"/models/{MODEL_ID}/predict")
    environment = {
        "TRAINSHED_HOME": str(folder),
        "TRAINSHED_URL": closing.enter_context(web_telling(archive)),
        "TRAINSHED_TOKEN": "token",
        "TRAINSHED_LOG_LEVEL": "warning",
    }
    command = ["-m", "trainshed", "model-server", "--socket", str(ours.address)]
    closing.enter_context(process(*command, **environment))
    wait_for(ours, picture)
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(ours.address))) as client:
        engine = client.get("http://x/models").json()["items"][0]["backend"]
    return ours, str(engine)


def start_others(closing: ExitStack, folder: Path, archive: Path, backend: str) -> Iterator[Place]:
    """The servers to compare with; the first is the anchor of the targets."""
    bare = Place(BARE, str(folder / "bare.sock"), "/predict")
    closing.enter_context(process(str(HERE), "--bare", str(bare.address), str(archive), backend))
    yield bare
    for name, module, takes_forms in (("LitServe", "litserve", True), ("Ray Serve", "ray", False)):
        if not importlib.util.find_spec(module):
            print(f"skipped: {name} is not installed", file=sys.stderr)
            continue
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        closing.enter_context(process(str(HERE), f"--{module}", str(port), str(archive), backend))
        yield Place(name, ("127.0.0.1", port), "/predict", takes_forms)


def compare(ours: Place, other: Place, picture: bytes, pairs: int) -> list[Figure]:
    """Latency and throughput beside one other server; only the bare one is the anchor of a target."""
    latency_target, rate_target = TARGETS if other.name == BARE else ("", "")
    latency, rate = (
        partial(latency_milliseconds, picture=picture),
        partial(pictures_per_second, picture=picture),
    )
    return [
        figure_of("answer to a lone request", "ms", latency, ours, other, pairs, latency_target),
        figure_of(f"answers at concurrency {CONCURRENCY}", "/s", rate, ours, other, pairs, rate_target),
    ]


def measure(pairs: int) -> list[Figure]:
    """Start all servers on one archive, see that they answer the same, and compare."""
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="p5-") as name, ExitStack() as closing:
        folder, picture = Path(name), real_photo()
        archive = build_archive(folder)
        ours, engine = start_ours(closing, folder, archive, picture)
        print(f"engine: {engine}; photo: {len(picture):,} bytes", file=sys.stderr)
        for other in start_others(closing, folder, archive, engine.split("-")[0]):
            try:
                answers = [wait_for(place, picture)["predictions"][0]["score"] for place in (ours, other)]
            except (OSError, RuntimeError) as error:
                if other.name == BARE:  # the anchor of the targets
                    raise
                print(f"left out: {other.name} did not answer ({str(error)[:100]!r})", file=sys.stderr)
                continue
            assert abs(answers[0] - answers[1]) < 1e-3, f"{other.name} answers differently: {answers}"
            figures += compare(ours, other, picture, pairs)
    return figures


if __name__ == "__main__":
    if len(sys.argv) > 2 and sys.argv[1] in SERVERS:
        with suppress(KeyboardInterrupt):
            SERVERS[sys.argv[1]](*sys.argv[2:])
    else:
        options = arguments(__doc__ or "")
        print_figures(measure(options.pairs), options.json)
