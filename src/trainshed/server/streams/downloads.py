"""Bytes on their way out: pictures, models' archives and attempts' blobs. A slow reader holds no thread."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse

from trainshed.server.services import attempts, blobs, datasets, models
from trainshed.server.streams.door import actor_of, database, door, place_of

_PIECE_BYTES = 1 << 20
_TYPES = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG": "image/png", b"RIFF": "image/webp", b"GIF8": "image/gif"}


@door
async def image_file(request: Request) -> Response:
    """GET: the original bytes of a picture, untouched."""
    return await _picture(request, thumbnail=False)


@door
async def image_thumbnail(request: Request) -> Response:
    """GET: a small, upright version of a picture."""
    return await _picture(request, thumbnail=True)


async def _picture(request: Request, *, thumbnail: bool) -> Response:
    """A person's bytes are data and never a page: typed by what they are, and sandboxed."""
    actor, image_id = await actor_of(request), request.path_params["image_id"]
    file, sha256 = await database(datasets.open_image, actor, image_id, place_of(request), thumbnail=thumbnail)
    start = await database(file.read, 4)
    kind = next((kind for magic, kind in _TYPES.items() if start.startswith(magic)), "application/octet-stream")
    headers = {
        "ETag": f'"{sha256}"',
        "Cache-Control": "private, max-age=31536000, immutable",
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }
    return _send(sha256, file, kind, headers)


@door
async def model_archive(request: Request) -> Response:
    """GET: a model's archive as a zip: safetensors, ONNX, classes, transform, card."""
    actor, model_id = await actor_of(request), request.path_params["model_id"]
    name, pieces = await database(models.archive, actor, model_id, place_of(request))
    headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(name)}"}
    return StreamingResponse(pieces, media_type="application/zip", headers=headers)


@door
async def attempt_blob(request: Request) -> Response:
    """GET: a blob of the attempt's own workspace."""
    actor, sha256 = await actor_of(request), request.path_params["sha256"]
    return _send(sha256, await database(attempts.open_blob, actor, sha256), "application/octet-stream", {})


def _send(sha256: str, file: IO[bytes], media_type: str, headers: dict[str, str]) -> Response:
    headers = {**headers, "X-Content-Type-Options": "nosniff"}
    path = blobs.storage().path(sha256)
    if path is not None:
        file.close()
        return FileResponse(path, media_type=media_type, headers=headers)
    file.seek(0)
    return StreamingResponse(_pieces(file), media_type=media_type, headers=headers)


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while piece := file.read(_PIECE_BYTES):
            yield piece
