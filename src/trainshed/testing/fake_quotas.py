"""The fake server's quotas: what jobs and bytes it holds; a limit is kept and holds nobody back."""

from __future__ import annotations

from typing import Any

from trainshed.errors import InvalidInput
from trainshed.schemas.quotas import RESOURCES, QuotaView
from trainshed.testing.fake_routes import Answer, Asked, answer_json, get, route


class FakeQuotas:
    """A part of `FakeServer`."""

    workspaces: dict[str, Any]

    def __init__(self) -> None:
        super().__init__()
        self.limits: dict[tuple[str, str], int | None] = {}

    def _page(self, asked: Asked, items: list[Any]) -> Answer:
        raise NotImplementedError

    @route("GET", "/workspaces/{workspace}/quotas")
    def list_quotas(self, asked: Asked, workspace: str) -> Answer:
        get(self.workspaces, workspace)
        return self._page(asked, [self._quota(workspace, resource) for resource in RESOURCES])

    @route("PUT", "/workspaces/{workspace}/quotas/{resource}")
    def limit_quota(self, asked: Asked, workspace: str, resource: str) -> Answer:
        get(self.workspaces, workspace)
        most = asked.json()["most"]
        if resource not in RESOURCES or (most is not None and most < 0):
            raise InvalidInput(f"{resource} cannot be limited to {most}.")
        self.limits[workspace, resource] = most
        return answer_json(200, self._quota(workspace, resource))

    def _quota(self, workspace_id: str, resource: Any) -> QuotaView:
        most = self.limits.get((workspace_id, resource))
        return QuotaView(resource=resource, used=0, most=most, meaning=RESOURCES[resource])
