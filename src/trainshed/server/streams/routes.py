"""The asynchronous routes, and their part of the OpenAPI document."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.routing import Route

from trainshed.schemas import Prediction, UploadView
from trainshed.server.streams import downloads, events, predictions, uploads
from trainshed.server.streams.door import wrong_method

API = "/api/v1"
_PROJECT = f"{API}/workspaces/{{workspace_id}}/projects/{{project_id}}"

ROUTES = [
    Route(f"{_PROJECT}/uploads", uploads.upload, methods=["POST"]),
    Route(f"{_PROJECT}/jobs/{{job_id}}/stream", events.job_stream, methods=["GET"]),
    Route(f"{_PROJECT}/models/{{model_id}}/predict", predictions.predict, methods=["POST"]),
    Route(f"{_PROJECT}/models/{{model_id}}/load", predictions.load, methods=["POST"]),
    Route(f"{API}/workspaces/{{workspace_id}}/stream", events.workspace_stream, methods=["GET"]),
    Route(f"{API}/attempt/blobs", uploads.put_blob, methods=["PUT"]),
    Route(f"{API}/attempt/blobs", uploads.post_blobs, methods=["POST"]),
    Route(f"{API}/attempt/blobs/{{sha256}}", downloads.attempt_blob, methods=["GET"]),
    Route(f"{_PROJECT}/images/{{image_id}}/file", downloads.image_file, methods=["GET"]),
    Route(f"{_PROJECT}/images/{{image_id}}/thumbnail", downloads.image_thumbnail, methods=["GET"]),
    Route(f"{_PROJECT}/models/{{model_id}}/archive", downloads.model_archive, methods=["GET"]),
]

for _route in ROUTES:
    # Starlette answers HEAD for GET; a stream would hold the connection for ever.
    (_route.methods or set()).discard("HEAD")
# A wrong method on these addresses would otherwise fall through to Django, which does not know them.
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
_taken: dict[str, set[str]] = {}
for _route in ROUTES:
    _taken.setdefault(_route.path, set()).update(_route.methods or set())
REFUSALS = [Route(path, wrong_method(taken), methods=sorted(_METHODS - taken)) for path, taken in _taken.items()]


def _binary(media_type: str) -> dict[str, Any]:
    return {media_type: {"schema": {"type": "string", "format": "binary"}}}


_BYTES = {"required": True, "content": _binary("application/octet-stream")}
_TEXT = {"type": "string"}
_EVENT = {
    "type": "object",
    "description": "One event of the stream; `data` is JSON.",
    "properties": {"id": _TEXT, "event": _TEXT, "data": _TEXT},
}
_STREAM = {"text/event-stream": {"schema": _EVENT}}
_SHA256 = {"application/json": {"schema": {"type": "object", "properties": {"sha256": {"type": "array"}}}}}


def _query(name: str, description: str, kind: str = "string") -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "description": description, "schema": {"type": kind}}


_AFTER = _query("after", "Where to go on, as the header Last-Event-ID says it; the header goes first.")
_WITHOUT = _query("without", "A kind of event to leave out of what is long past, such as `progress`.")
_TOP = _query("top", "How many classes the answer names at most.", "integer")
_NAME = _query("name", "The file's name, for error messages.")


def _json(schema: type[BaseModel]) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema.__name__}"}}}


_SAID: dict[str, dict[str, Any]] = {
    "upload": {"status": 201, "content": _json(UploadView), "body": _BYTES, "query": [_NAME], "tag": "datasets"},
    "job_stream": {"status": 200, "content": _STREAM, "query": [_AFTER, _WITHOUT], "tag": "jobs"},
    "predict": {"status": 200, "content": _json(Prediction), "body": _BYTES, "query": [_TOP, _NAME], "tag": "models"},
    "load": {"status": 204, "tag": "models"},
    "workspace_stream": {"status": 200, "content": _STREAM, "query": [_AFTER], "tag": "jobs"},
    "put_blob": {"status": 200, "content": _SHA256, "body": _BYTES, "tag": "attempts"},
    "post_blobs": {"status": 200, "content": _SHA256, "body": _BYTES, "tag": "attempts"},
    "attempt_blob": {"status": 200, "content": _binary("application/octet-stream"), "tag": "attempts"},
    "image_file": {"status": 200, "content": _binary("image/*"), "tag": "datasets"},
    "image_thumbnail": {"status": 200, "content": _binary("image/*"), "tag": "datasets"},
    "model_archive": {"status": 200, "content": _binary("application/zip"), "tag": "models"},
}


def openapi_schemas() -> dict[str, Any]:
    """The schemas that these routes' answers name."""
    named = [(schema, "serialization") for schema in (Prediction, UploadView)]
    _, schemas = models_json_schema(named, ref_template="#/components/schemas/{model}")  # type: ignore[arg-type]
    return dict(schemas["$defs"])


def openapi_paths() -> dict[str, Any]:
    """These routes as OpenAPI path items."""
    paths: dict[str, Any] = {}
    for route in ROUTES:
        method = next(iter(sorted((route.methods or set()) - {"HEAD"}))).lower()
        paths.setdefault(route.path, {})[method] = _operation(route)
    return paths


def _answered(said: dict[str, Any]) -> dict[str, Any]:
    return {"description": "OK"} | ({"content": said["content"]} if "content" in said else {})


def _operation(route: Route) -> dict[str, Any]:
    said = _SAID[route.endpoint.__name__]
    names = [part.strip("{}") for part in route.path.split("/") if part.startswith("{")]
    in_path = [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]
    problem = {"schema": {"$ref": "#/components/schemas/Problem"}}
    problems = {"description": "A problem document", "content": {"application/problem+json": problem}}
    operation: dict[str, Any] = {
        "operationId": route.endpoint.__name__,
        "summary": (route.endpoint.__doc__ or "").partition(":")[2].strip(),
        "tags": [said["tag"]],
        "security": [{"Bearer": []}],
        "parameters": [*in_path, *said.get("query", [])],
        "responses": {str(said["status"]): _answered(said), "default": problems},
    }
    if "body" in said:
        operation["requestBody"] = said["body"]
    return operation
