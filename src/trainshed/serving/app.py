"""The model server's door: HTTP in, predictions or problem documents out. It translates and never decides.

Whoever reaches it may ask every model: it listens where only web can come (see `main`).
"""

from __future__ import annotations

import asyncio
import hmac
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from trainshed.errors import InvalidInput, NotFound, NotSignedIn, TooLarge, TrainshedError, Unavailable
from trainshed.schemas import Prediction
from trainshed.serving.shelf import Shelf

DEFAULT_TOP, MOST_TOP = 5, 1000
MAX_WAITING = 128
MAX_WAITING_BYTES = 512 << 20


class ModelServer:
    """The routes over one shelf. At most `max_waiting` requests wait in it, in `max_waiting_bytes`."""

    def __init__(
        self,
        shelf: Shelf,
        *,
        max_image_bytes: int,
        max_waiting: int = MAX_WAITING,
        max_waiting_bytes: int = MAX_WAITING_BYTES,
        seconds_for_a_body: float = 60.0,
    ) -> None:
        self._shelf = shelf
        self._max_image_bytes = max_image_bytes
        self._max_waiting = max_waiting
        self._max_waiting_bytes = max(max_waiting_bytes, max_image_bytes)
        self._seconds_for_a_body = seconds_for_a_body
        self._num_waiting = 0
        self._waiting_bytes = 0

    @asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        """Close the shelf when the last request has been answered."""
        yield
        self._shelf.close()

    async def predict(self, request: Request) -> Response:
        """`POST /models/{model_id}/predict?top=5&name=cat.jpg`: a picture file in, a `Prediction` out."""
        started = time.perf_counter()
        model_id, top = request.path_params["model_id"], _top(request)
        async with self._held_body(request) as data, self._shelf.use(model_id) as model:
            scores = await model.answer(data, top=top, name=request.query_params.get("name", ""))
        milliseconds = round((time.perf_counter() - started) * 1e3, 3)
        prediction = Prediction(model_id=model_id, predictions=scores, milliseconds=milliseconds)
        return Response(prediction.model_dump_json(), media_type="application/json")

    async def load(self, request: Request) -> Response:
        """`POST /models/{model_id}/load`: 204; who asks the model next waits only for what is left of its loading."""
        self._shelf.bring(request.path_params["model_id"])
        return Response(status_code=204)

    async def models(self, request: Request) -> Response:
        """`GET /models`: the loaded models, last used first."""
        return JSONResponse({"items": [asdict(entry) for entry in self._shelf.entries()]})

    async def evict(self, request: Request) -> Response:
        """`DELETE /models/{model_id}`: forget the model; 204 also where it was not loaded."""
        self._shelf.evict(request.path_params["model_id"])
        return Response(status_code=204)

    async def health(self, request: Request) -> Response:
        """`GET /health`: the process answers."""
        return JSONResponse({"status": "ok", "waiting": self._num_waiting})

    @asynccontextmanager
    async def _held_body(self, request: Request) -> AsyncIterator[bytes]:
        """The request's body, counted as long as the request is held.

        Raises `TooLarge` and, when too much waits already, `Unavailable`.
        """
        if self._num_waiting >= self._max_waiting:
            raise _overloaded(f"{self._num_waiting} requests wait")
        self._num_waiting += 1
        chunks: list[bytes] = []
        try:
            await self._read(request, chunks)
            yield b"".join(chunks)
        finally:
            self._num_waiting -= 1
            self._waiting_bytes -= sum(map(len, chunks))

    async def _read(self, request: Request, chunks: list[bytes]) -> None:
        """Take the body as it comes, and no more of it than a picture may have."""
        self._require_size(int(request.headers.get("content-length", 0)))
        num_bytes = 0
        try:
            async with asyncio.timeout(self._seconds_for_a_body):
                async for chunk in request.stream():
                    chunks.append(chunk)
                    num_bytes += len(chunk)
                    self._waiting_bytes += len(chunk)
                    self._require_size(num_bytes)
                    if self._waiting_bytes > self._max_waiting_bytes:
                        raise _overloaded(f"pictures of {self._waiting_bytes:,} bytes wait")
        except TimeoutError:
            raise Unavailable(f"The picture took more than {self._seconds_for_a_body:g} s to come.") from None

    def _require_size(self, num_bytes: int) -> None:
        if num_bytes > self._max_image_bytes:
            raise TooLarge(
                f"The picture has {num_bytes:,} bytes or more; at most {self._max_image_bytes:,} are taken.",
                hint="Send a smaller picture, or raise TRAINSHED_MAX_IMAGE_BYTES.",
            )


class RequireSecret:
    """Lets only those in who send the shared secret as a bearer token; `/health` is open."""

    def __init__(self, app: ASGIApp, secret: str) -> None:
        self._app = app
        self._expected = f"Bearer {secret}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 401, or pass on."""
        if scope["type"] == "http" and scope["path"] != "/health":
            given = Headers(scope=scope).get("authorization", "").encode()
            if not hmac.compare_digest(given, self._expected):
                refusal = NotSignedIn("The shared secret is missing or wrong.", hint="Only web speaks to me.")
                await problem(refusal)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def build_app(server: ModelServer) -> Starlette:
    """The application of the model server; its end closes the shelf."""
    return Starlette(
        lifespan=server.lifespan,
        routes=[
            Route("/models/{model_id}/predict", server.predict, methods=["POST"]),
            Route("/models/{model_id}/load", server.load, methods=["POST"]),
            Route("/models", server.models, methods=["GET"]),
            Route("/models/{model_id}", server.evict, methods=["DELETE"]),
            Route("/health", server.health, methods=["GET"]),
        ],
        exception_handlers={
            TrainshedError: lambda request, error: problem(error),
            HTTPException: lambda request, error: _http_problem(error),
            ClientDisconnect: lambda request, error: Response(status_code=400),
            Exception: lambda request, error: problem(TrainshedError()),
        },
    )


def problem(error: TrainshedError, *, status: int = 0) -> Response:
    """The error as an RFC 9457 document; 503 says when to come again."""
    document = error.to_problem()
    document["status"] = status or error.status
    headers = {"Retry-After": "1"} if document["status"] == 503 else None
    return Response(json.dumps(document), document["status"], headers=headers, media_type="application/problem+json")


def _http_problem(error: HTTPException) -> Response:
    kind = NotFound if error.status_code == 404 else InvalidInput
    return problem(kind(f"No such route or method: {error.detail}."), status=error.status_code)


def _overloaded(words: str) -> Unavailable:
    return Unavailable(f"The model server has more to do than it can hold ({words}); try again in a second.")


def _top(request: Request) -> int:
    text = request.query_params.get("top", str(DEFAULT_TOP))
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= MOST_TOP):
        raise InvalidInput(f"top is {text!r}; it must be a whole number from 1 to {MOST_TOP}.")
    return int(text)
