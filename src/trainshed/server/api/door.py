"""What every router shares: who is asking, where, and which problems are documented."""

from __future__ import annotations

from typing import Any, ClassVar

from django.http import HttpRequest
from ninja import Router

from trainshed.schemas.frozen import Received
from trainshed.server.services import sessions
from trainshed.server.services.actors import Actor, Place

PROJECT = "/workspaces/{workspace_id}/projects/{project_id}"


class Problem(Received):
    """An RFC 9457 problem document with our `code`, `hint` and `errors`."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    hint: str = ""
    errors: list[dict[str, Any]] = []


PROBLEMS: dict[frozenset[int], type[Problem]] = {frozenset({401, 403, 404, 409, 413, 422, 429, 500, 503, 507}): Problem}


def answers(schema: Any, status: int = 200) -> dict[Any, Any]:
    """The documented answers of a route: its own, and the problems that any route may end in."""
    return {status: schema, **PROBLEMS}


class Bearer:
    """Finds the actor of a request, which ninja keeps as `request.auth`; our own pages send a session instead."""

    openapi_security_schema: ClassVar[dict[str, str]] = {"type": "http", "scheme": "bearer"}

    def __call__(self, request: HttpRequest) -> Actor:
        return sessions.sender(request, request.COOKIES, address(request))


def sends(media_type: str) -> dict[str, Any]:
    """The documented answer of a route that sends bytes."""
    binary = {"schema": {"type": "string", "format": "binary"}}
    return {"responses": {200: {"content": {media_type: binary}}}}


def address(request: HttpRequest) -> str:
    """Where the request came from, past the proxies that are trusted."""
    return str(request.META.get("REMOTE_ADDR", ""))


def actor(request: HttpRequest) -> Actor:
    found: Actor = request.auth  # type: ignore[attr-defined]
    return found


def place(workspace_id: str, project_id: str) -> Place:
    return Place(workspace_id, project_id)


def router(tag: str) -> Router:
    return Router(tags=[tag])
