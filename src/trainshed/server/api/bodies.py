"""What the REST door takes as a JSON body: RFC 8259 without NaN, and only texts that every database can hold."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from django.http import HttpRequest
from ninja.parser import Parser


class JsonBodies(Parser):
    """Reads request bodies; one that is not JSON is refused by ninja, and so answered by `errors`."""

    def parse_body(self, request: HttpRequest) -> Any:
        body = request.body
        value = json.loads(body.decode("utf-8-sig"), parse_constant=_refuse)
        # Only an escape can bring in a character that PostgreSQL or UTF-8 cannot hold.
        return _storable(value) if b"\\u" in body else value


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _storable(value: Any) -> Any:
    """The value with NUL and half surrogate pairs replaced by U+FFFD, as decoders do with broken bytes."""
    if isinstance(value, str):
        return value.replace("\0", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_storable(entry) for entry in value]
    if isinstance(value, dict):
        return {_storable(name): _storable(entry) for name, entry in value.items()}
    return value
