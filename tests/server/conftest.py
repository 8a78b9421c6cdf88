"""A small world for the server's tests: a workspace with a project, a host with slots, a clock to turn."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest


@dataclass
class World:
    """Rows that most tests need, and short words for what they do with the ledger."""

    workspace_id: str
    project_id: str
    host_id: str
    lease_seconds: float = 30.0
    seconds: float = 1_000_000.0
    num_made: int = field(default=0)

    def wait(self, seconds: float) -> None:
        from trainshed.server.queue import dialect

        self.seconds += seconds
        dialect.set_clock(self.seconds)

    def wait_while_web_is_up(self, seconds: float) -> None:
        from trainshed.server.queue import ledger

        gap = ledger.pulse_gap(self.lease_seconds)
        for _ in range(int(seconds / gap * 2) + 1):
            self.wait(gap / 2)
            ledger.beat("web", gap_seconds=gap)

    def submit(self, **named: Any) -> str:
        from trainshed.server.queue import ledger

        self.num_made += 1
        said: dict[str, Any] = {
            "workspace_id": self.workspace_id,
            "project_id": self.project_id,
            "kind": "train",
            "title": f"job {self.num_made}",
            "spec": {},
            **named,
        }
        return ledger.submit(ledger.Request(**said), actor="person:test")[0]

    def assign(self) -> list[Any]:
        from trainshed.server.queue import ledger

        return ledger.assign(lease_seconds=self.lease_seconds)

    def start(self) -> Any:
        """Assign exactly one job and start it; returns what its attempt holds."""
        (assigned,) = self.assign()
        self.renew(assigned.held)
        return assigned.held

    def renew(self, held: Any) -> Any:
        from trainshed.server.queue import ledger

        return ledger.renew(held, lease_seconds=self.lease_seconds)

    def state(self, job_id: str) -> str:
        return str(self.job(job_id).state)

    def job(self, job_id: str) -> Any:
        from trainshed.server.records.models import Job

        return Job.objects.get(id=job_id)

    def add_workspace(self, name: str, weight: float = 1.0) -> tuple[str, str]:
        from trainshed.server.records.models import Project, Workspace

        workspace = Workspace.objects.create(name=name, weight=weight)
        return workspace.id, Project.objects.create(workspace=workspace, name="project").id


@pytest.fixture
def world(database: None) -> World:
    """One host with two CPU slots and no card; the clock stands until `wait`."""
    from trainshed.server.records.models import Host, Project, Slot, Workspace

    workspace = Workspace.objects.create(name="lab")
    project = Project.objects.create(workspace=workspace, name="project")
    host = Host.objects.create(name="here", key_sha256="0" * 64)
    Slot.objects.bulk_create([Slot(host=host, pool="cpu", position=position) for position in range(2)])
    made = World(workspace.id, project.id, host.id)
    made.wait(0)
    return made


def add_gpus(world: World, num_gpus: int, host: str | None = None) -> str:
    """Give the world's host, or a new one of that name, this many cards."""
    from trainshed.server.records.models import Host, Slot

    row = Host.objects.create(name=host, key_sha256=host) if host else Host.objects.get(id=world.host_id)
    Slot.objects.bulk_create([Slot(host=row, pool="gpu", position=position) for position in range(num_gpus)])
    return row.id


from server.api_client import editor, lab, nobody, owner, site, viewer  # noqa: E402, F401
from web.conftest import visit  # noqa: E402, F401
