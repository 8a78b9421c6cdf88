"""The audit log: of a workspace for its owners, of the installation for its administrators."""

from __future__ import annotations

from django.http import HttpRequest, StreamingHttpResponse

from trainshed.schemas import AuditView, Page
from trainshed.server.api.door import actor, answers, router, sends
from trainshed.server.services import audit

routes = router("audit")
_CSV = "text/csv"


@routes.get("/workspaces/{workspace_id}/audit", response=answers(Page[AuditView]))
def list_audit(
    request: HttpRequest,
    workspace_id: str,
    who: str = "",
    action: str = "",
    noun: str = "",
    cursor: str | None = None,
    limit: int = 100,
):
    """What was done in a workspace, the newest first."""
    return audit.visible(actor(request), workspace_id, who=who, action=action, noun=noun, cursor=cursor, limit=limit)


@routes.get("/workspaces/{workspace_id}/audit.csv", openapi_extra=sends(_CSV), response=answers(None))
def export_audit(request: HttpRequest, workspace_id: str, who: str = "", action: str = "", noun: str = ""):
    """The same as a table that is safe in a spreadsheet."""
    return _file(audit.as_csv(actor(request), workspace_id, who=who, action=action, noun=noun))


@routes.get("/audit", response=answers(Page[AuditView]))
def list_all_audit(
    request: HttpRequest, who: str = "", action: str = "", noun: str = "", cursor: str | None = None, limit: int = 100
):
    """What was done anywhere, for administrators of the installation."""
    return audit.visible(actor(request), None, who=who, action=action, noun=noun, cursor=cursor, limit=limit)


def _file(pieces) -> StreamingHttpResponse:
    headers = {"Content-Disposition": 'attachment; filename="audit.csv"'}
    return StreamingHttpResponse(pieces, content_type=f"{_CSV}; charset=utf-8", headers=headers)
