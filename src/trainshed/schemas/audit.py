"""The audit log as the API tells it."""

from typing import Any

from trainshed.schemas.frozen import Received


class AuditView(Received):
    """One act: who did what, on what, from where, by which token.

    `actor` is `person:id`, `robot:id`, ...; `actor_name` is what they are called now, empty for who has left.
    `token_id` is empty for an act in a browser.
    """

    id: int
    at: float
    workspace_id: str | None
    actor: str
    actor_name: str
    token_id: str
    address: str
    action: str
    noun: str
    thing_id: str
    thing_name: str
    details: dict[str, Any]
