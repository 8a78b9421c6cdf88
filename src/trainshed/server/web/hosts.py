"""The machines of the installation and who holds their slots."""

from __future__ import annotations

from django.http import HttpResponse

from trainshed.server.services import hosts
from trainshed.server.web.door import Frame, page


@page("GET")
def overview(frame: Frame) -> HttpResponse:
    found = hosts.visible(frame.actor, cursor=frame.request.GET.get("cursor"), limit=50)
    return frame.show("hosts/hosts.html", section="hosts", page=found)
