"""Quotas: what a workspace uses, and how much of it is allowed."""

from __future__ import annotations

from collections.abc import Iterator

from trainshed.client.answers import pages, parse, segment
from trainshed.client.place import Place, id_of
from trainshed.client.transport import Transport
from trainshed.schemas import WorkspaceView
from trainshed.schemas.quotas import QuotaView, Resource


class Quotas:
    """`client.quotas`"""

    def __init__(self, transport: Transport, place: Place) -> None:
        self._transport = transport
        self._place = place

    def list(self, workspace: WorkspaceView | str | None = None) -> Iterator[QuotaView]:
        """Every resource of a workspace (a view or an id; by default the client's own)."""
        return pages(self._transport, self._path(workspace), QuotaView)

    def limit(self, resource: Resource, most: int | None, workspace: WorkspaceView | str | None = None) -> QuotaView:
        """Set the most that a workspace may use, `None` for no limit; for administrators of the installation."""
        path = f"{self._path(workspace)}/{segment(resource)}"
        return parse(QuotaView, self._transport.request("PUT", path, json={"most": most}))

    def _path(self, workspace: WorkspaceView | str | None) -> str:
        return f"/workspaces/{id_of(workspace or self._place.workspace())}/quotas"
