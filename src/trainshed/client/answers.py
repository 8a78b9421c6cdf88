"""Answers of the server as typed data: one object, or a list that arrives in pages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError

from trainshed.client.transport import Transport
from trainshed.errors import TrainshedError
from trainshed.schemas import Page

Kind = TypeVar("Kind", bound=BaseModel)


def parse(kind: type[Kind], response: httpx.Response) -> Kind:
    """The body as `kind`. Raises `TrainshedError` when the server speaks otherwise."""
    return parse_json(kind, response.content, response.request.url.path)


def parse_json(kind: type[Kind], content: bytes | str, source: str) -> Kind:
    """JSON as `kind`; `source` names where it came from in the error."""
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        raise TrainshedError(
            f"The answer from {source} is not a {kind.__name__}: {error.errors()[0]['msg']}.",
            hint="Is this a Trainshed server, and of about the version of this client?",
        ) from error


def pages(transport: Transport, path: str, kind: type[Kind], params: dict[str, Any] | None = None) -> Iterator[Kind]:
    """Every item of a list, fetched page by page as the caller goes on."""
    cursor: str | None = None
    while True:
        answer = transport.request("GET", path, params={**(params or {}), "cursor": cursor})
        page = parse(Page[kind], answer)  # type: ignore[valid-type]
        yield from page.items
        cursor = page.next_cursor
        if cursor is None:
            return


def segment(identifier: str) -> str:
    """An id as one segment of a path, whatever is in it."""
    return quote(identifier, safe="")
