"""The API of version 1, assembled; its OpenAPI document describes the routes of `streams/` too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ninja import NinjaAPI

from trainshed import __version__
from trainshed.server.api import (
    attempts,
    audit,
    datasets,
    errors,
    hosts,
    jobs,
    members,
    models,
    people,
    quotas,
    serving,
    shares,
    workspaces,
)
from trainshed.server.api.bodies import JsonBodies
from trainshed.server.api.door import Bearer


class TrainshedApi(NinjaAPI):
    """Adds the paths that Starlette serves to the one OpenAPI document."""

    _extra_paths: dict[str, Any] = {}
    _extra_schemas: dict[str, Any] = {}
    _document: Any = None

    def describe_also(self, paths: dict[str, Any], schemas: dict[str, Any]) -> None:
        """Let the document tell of these as well."""
        self._extra_paths, self._extra_schemas, self._document = paths, schemas, None

    def get_openapi_schema(self, *arguments: Any, **named: Any) -> Any:
        """The document, made once per process: it takes a second, and anybody may ask for it."""
        self._document = self._document or self._describe(*arguments, **named)
        return self._document

    def _describe(self, *arguments: Any, **named: Any) -> Any:
        schema = super().get_openapi_schema(*arguments, **named)
        for answer in _problems(schema["paths"]):
            answer["content"] = {errors.CONTENT_TYPE: answer["content"].pop("application/json")}
        schema["paths"].update(self._extra_paths)
        schema["components"]["schemas"].update(self._extra_schemas)
        return schema


def _problems(paths: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every documented answer that is a problem document."""
    for operations in paths.values():
        for operation in operations.values():
            yield from (answer for status, answer in operation["responses"].items() if int(status) >= 400)


api = TrainshedApi(
    title="Trainshed",
    version=__version__,
    description="Pictures in, a model that answers out. Errors are RFC 9457 problem documents with `code` and `hint`.",
    auth=Bearer(),
    parser=JsonBodies(),
    urls_namespace="api-1",
    docs_url="/docs",
    openapi_url="/openapi.json",
)
errors.install(api)
for door in (people, workspaces, members, datasets, jobs, models, shares, hosts, quotas, audit, attempts, serving):
    api.add_router("", door.routes)
