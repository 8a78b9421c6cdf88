"""Links to one thing, for anybody who has them. What a link opens is a page."""

from __future__ import annotations

from django.http import HttpRequest
from ninja import Status
from pydantic import Field

from trainshed.schemas import Page, ShareNoun, ShareView
from trainshed.schemas.frozen import Received
from trainshed.server.api.door import PROJECT, actor, answers, place, router
from trainshed.server.services import shares

routes = router("shares")


class NewShare(Received):
    noun: ShareNoun
    thing_id: str
    expires_in_days: float = Field(30, ge=1, le=shares.MOST_DAYS)
    note: str = Field("", max_length=200)


@routes.get(f"{PROJECT}/shares", response=answers(Page[ShareView]))
def list_shares(request: HttpRequest, workspace_id: str, project_id: str, thing_id: str | None = None):
    """The project's open links, without their secrets; `thing_id` leaves those of one thing."""
    return Page(items=shares.visible(actor(request), place(workspace_id, project_id), thing_id))


@routes.post(f"{PROJECT}/shares", response=answers(ShareView, 201))
def create_share(request: HttpRequest, workspace_id: str, project_id: str, body: NewShare):
    """Make a link to one model, version or job; it is in this answer and never shown again."""
    return Status(201, shares.create(actor(request), place(workspace_id, project_id), **body.model_dump()))


@routes.delete(f"{PROJECT}/shares/{{share_id}}", response=answers(None, 204))
def revoke_share(request: HttpRequest, workspace_id: str, project_id: str, share_id: str):
    """End a link, at once."""
    shares.revoke(actor(request), share_id, place(workspace_id, project_id))
    return Status(204, None)
