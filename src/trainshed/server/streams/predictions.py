"""Predictions: web authorises the person, then hands the picture to the model server and its answer back."""

from __future__ import annotations

from typing import Any

import httpx
from django.conf import settings as django_settings
from starlette.requests import Request
from starlette.responses import Response

from trainshed.errors import Unavailable
from trainshed.schemas import settings
from trainshed.server.services import models
from trainshed.server.streams.door import actor_of, body_of, database, door, place_of

_TIMEOUT_SECONDS = 120.0
_client: httpx.AsyncClient | None = None


def _model_server() -> httpx.AsyncClient:
    """One client per process, made inside its event loop."""
    global _client
    if _client is None:
        transport = httpx.AsyncHTTPTransport(
            uds=str(django_settings.HOME / "run" / "serving.sock"),
            limits=httpx.Limits(max_connections=256, max_keepalive_connections=64),
        )
        _client = httpx.AsyncClient(transport=transport, base_url="http://serving", timeout=_TIMEOUT_SECONDS)
    return _client


@door
async def predict(request: Request) -> Response:
    """POST: what does the model say about the picture in the body?"""
    model_id = await _askable_model(request)
    picture = await body_of(request, settings.whole("TRAINSHED_MAX_IMAGE_BYTES"), "A picture")
    params = {name: request.query_params[name] for name in ("top", "name") if name in request.query_params}
    return await _pass_on(f"/models/{model_id}/predict", params=params, content=picture)


@door
async def load(request: Request) -> Response:
    """POST: bring the model into the model server's memory, so that its first answer is as fast as the next."""
    return await _pass_on(f"/models/{await _askable_model(request)}/load")


async def _askable_model(request: Request) -> str:
    actor, model_id = await actor_of(request), str(request.path_params["model_id"])
    await database(models.get, actor, model_id, need="ask", within=place_of(request))
    return model_id


async def _pass_on(path: str, **body: Any) -> Response:
    try:
        answer = await _model_server().post(path, **body)
    except httpx.TransportError:
        raise Unavailable("The model server does not answer; it may be starting.") from None
    passed_on = {name: answer.headers[name] for name in ("content-type", "retry-after") if name in answer.headers}
    return Response(answer.content, status_code=answer.status_code, headers=passed_on)
