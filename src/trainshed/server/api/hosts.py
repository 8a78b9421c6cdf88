"""Hosts, their agents' readings, and the health of this server."""

from __future__ import annotations

from django.db import connection
from django.http import HttpRequest
from ninja import Status

from trainshed import __version__
from trainshed.schemas import HostReading, HostView, Page
from trainshed.schemas.frozen import Received
from trainshed.server.api.door import actor, answers, router
from trainshed.server.services import hosts

routes = router("hosts")


class Health(Received):
    status: str
    version: str


@routes.get("/health", auth=None, response=answers(Health))
def health(request: HttpRequest):
    """Ready to answer, database included?"""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return Health(status="ok", version=__version__)


@routes.get("/hosts", response=answers(Page[HostView]))
def list_hosts(request: HttpRequest, cursor: str | None = None, limit: int = 100):
    """All machines with their last readings and their slots."""
    return hosts.visible(actor(request), cursor=cursor, limit=limit)


@routes.post("/hosts/readings", response=answers(None, 204))
def report(request: HttpRequest, body: HostReading):
    """An agent's reading of its machine; needs the host's own key."""
    hosts.report(actor(request), body)
    return Status(204, None)
