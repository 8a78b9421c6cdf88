"""The audit log."""

from __future__ import annotations

from collections.abc import Iterator

from trainshed.client.answers import pages, segment
from trainshed.client.place import Place
from trainshed.client.transport import Transport
from trainshed.schemas import AuditView


class Audit:
    """`client.audit`"""

    def __init__(self, transport: Transport, place: Place) -> None:
        self._transport = transport
        self._place = place

    def list(self, *, who: str = "", action: str = "", noun: str = "") -> Iterator[AuditView]:
        """What was done in the workspace, the newest first; for its owners. `who` is such as `person:id`."""
        path = f"/workspaces/{segment(self._place.workspace().id)}/audit"
        return pages(self._transport, path, AuditView, {"who": who, "action": action, "noun": noun})

    def everywhere(self, *, who: str = "", action: str = "", noun: str = "") -> Iterator[AuditView]:
        """What was done anywhere; for administrators of the installation."""
        return pages(self._transport, "/audit", AuditView, {"who": who, "action": action, "noun": noun})
