"""What the parts of the fake server share: a request, an answer, and which method answers which address."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from trainshed.errors import NotFound


@dataclass
class Asked:
    """One request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body or b"{}")


@dataclass
class Answer:
    """A status and a body: bytes, or chunks that are sent as they come."""

    status: int
    body: bytes | Iterator[bytes] = b""
    kind: str = "application/json"


Route = Callable[..., Answer]
Thing = TypeVar("Thing")
ROUTES: list[tuple[str, re.Pattern[str], Route]] = []
_OWN = r"/workspaces/(?P<workspace_id>[^/]+)/projects/(?P<project_id>[^/]+)"


def route(method: str, pattern: str) -> Callable[[Route], Route]:
    """Register a method of the server; `{name}` in the pattern is one segment, `{own}` a project."""

    def register(function: Route) -> Route:
        expression = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", pattern.replace("{own}", _OWN))
        ROUTES.append((method, re.compile(expression), function))
        return function

    return register


def get(things: dict[str, Thing], thing_id: str) -> Thing:
    if thing_id not in things:
        raise NotFound()
    return things[thing_id]


def answer_json(status: int, body: Any) -> Answer:
    plain = body if isinstance(body, dict) else body.model_dump()
    return Answer(status, json.dumps(plain).encode())
