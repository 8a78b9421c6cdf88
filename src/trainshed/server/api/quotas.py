"""Quotas of a workspace."""

from __future__ import annotations

from django.http import HttpRequest
from pydantic import Field

from trainshed.schemas import Page
from trainshed.schemas.frozen import Received
from trainshed.schemas.quotas import QuotaView
from trainshed.server.api.door import actor, answers, router
from trainshed.server.services import quotas

routes = router("quotas")


class NewLimit(Received):
    most: int | None = Field(description="In the resource's own unit; `null`: without a limit.")


@routes.get("/workspaces/{workspace_id}/quotas", response=answers(Page[QuotaView]))
def list_quotas(request: HttpRequest, workspace_id: str):
    """What the workspace uses and may use."""
    return Page(items=quotas.visible(actor(request), workspace_id))


@routes.put("/workspaces/{workspace_id}/quotas/{resource}", response=answers(QuotaView))
def limit_quota(request: HttpRequest, workspace_id: str, resource: str, body: NewLimit):
    """Set a limit, as an administrator of the installation."""
    return quotas.limit(actor(request), workspace_id, resource, body.most)
