"""Every error of the REST door as one RFC 9457 problem document."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

from django.db import DatabaseError, DataError, InterfaceError
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from ninja import NinjaAPI
from ninja.errors import HttpError, ValidationError

from trainshed.errors import InvalidInput, MethodNotAllowed, NotFound, TrainshedError
from trainshed.server.services import faults

log = logging.getLogger(__name__)
CONTENT_TYPE = "application/problem+json"


def respond(error: TrainshedError) -> HttpResponse:
    """The problem document of an error, with `Retry-After` where trying again helps."""
    response = HttpResponse(json.dumps(error.to_problem()), status=error.status, content_type=CONTENT_TYPE)
    if error.status in (429, 503):
        response["Retry-After"] = str(error.retry_after_seconds)
    if error.status == 401:
        response["WWW-Authenticate"] = "Bearer"
    return response


def _invalid(errors: list[dict[str, Any]]) -> InvalidInput:
    """The error of a request body or parameter that does not fit its schema; names each field."""
    details = [{"field": _field(error["loc"]), "message": str(error["msg"])} for error in errors]
    return InvalidInput("; ".join(f"{detail['field']}: {detail['message']}" for detail in details), details=details)


def _field(where: tuple[Any, ...]) -> str:
    """A field's name as the caller wrote it: ninja puts the part of the request before it, twice for a body."""
    named = where[2:] if where[0] == "body" else where[1:]
    return ".".join(str(part) for part in named or where[:1])


def from_foreign(error: Exception) -> TrainshedError:
    """The error of ours that an error of a library stands for; what nobody foresaw is logged and kept inside."""
    if isinstance(error, TrainshedError):
        return error
    if isinstance(error, ValidationError):
        return _invalid(error.errors)
    if isinstance(error, Http404):
        return NotFound()
    if isinstance(error, HttpError) and error.status_code in (400, 422):
        return InvalidInput(f"{error}: it must be JSON, in UTF-8.")
    if isinstance(error, OverflowError):
        return faults.of_database(DataError(error))
    if isinstance(error, DatabaseError | InterfaceError):
        return faults.of_database(error)
    log.error("a request failed", exc_info=error)
    return TrainshedError("Something went wrong inside Trainshed.", hint="The server's log names the cause.")


def install(api: NinjaAPI) -> None:
    """Make the API answer every error in our one shape."""

    def answer(request: HttpRequest, error: Any) -> HttpResponse:
        return respond(from_foreign(error))

    for kind in (Exception, TrainshedError, ValidationError, Http404, HttpError):
        api.add_exception_handler(kind, answer)


def middleware(get_response: Callable[[HttpRequest], HttpResponseBase]) -> Callable[[HttpRequest], HttpResponseBase]:
    """Django's and ninja's own refusals (a wrong method, an unknown host name) to a program, in our one error shape."""

    def answered(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        if not request.path.startswith("/api/"):
            return response
        if response.status_code == 405:
            ours = respond(MethodNotAllowed(f"This address does not answer {request.method}."))
            ours["Allow"] = ", ".join(sorted(response["Allow"].split(", ")))
            return ours
        if response.status_code == 400:
            return respond(InvalidInput("The request is malformed, or names a host that is not this server's."))
        return response

    return answered
