"""What the model server asks of web, under a service token."""

from __future__ import annotations

from django.http import FileResponse, HttpRequest

from trainshed.schemas import ServedModel
from trainshed.server.api.door import actor, answers, router, sends
from trainshed.server.services import models

routes = router("serving")


@routes.get("/serving/models/{model_id}", response=answers(ServedModel))
def served_model(request: HttpRequest, model_id: str):
    """The files of a model."""
    return models.served(actor(request), model_id)


@routes.get("/serving/blobs/{sha256}", response=answers(None), openapi_extra=sends("application/octet-stream"))
def served_blob(request: HttpRequest, sha256: str):
    """One file of a model."""
    return FileResponse(models.open_served(actor(request), sha256), content_type="application/octet-stream")
