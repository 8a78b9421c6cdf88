"""The fake server's workspaces: their projects, members, invites, robots and links. Everybody may do everything."""

from __future__ import annotations

import time
from typing import Any

from trainshed.errors import Conflict, InvalidInput, NotFound
from trainshed.schemas import InviteView, MemberView, ProjectView, ShareView, TokenView, WorkspaceView
from trainshed.testing.fake_routes import Answer, Asked, answer_json, get, route

WORKSPACE, PROJECT, SHELF, SHELF_PROJECT = "work0space", "proj0ect", "shelf0", "shelf0project"
_DAY_SECONDS = 86400.0


class FakeWorkspaces:
    """A part of `FakeServer`. `workspace` in a pattern is the id of one that is not deleted."""

    def __init__(self) -> None:
        self.workspaces = {SHELF: _workspace(SHELF, "Shelf", "viewer", is_shelf=True)}
        self.workspaces[WORKSPACE] = _workspace(WORKSPACE, "My workspace", "owner")
        self._add_project(SHELF, SHELF_PROJECT, name="Models")
        self._add_project(WORKSPACE, PROJECT, name="My project")
        self.deleted: dict[str, WorkspaceView] = {}
        self.invites: dict[str, InviteView] = {}
        self.robots: dict[str, TokenView] = {}
        self.shares: dict[str, ShareView] = {}
        grace = MemberView(id="grace", name="Grace", email="grace@example.org", role="viewer", since=2.0)
        ada = MemberView(id="ada", name="Ada", email="ada@example.org", role="owner", since=1.0)
        self.members = {"ada": ada, "grace": grace}

    def _new_id(self, prefix: str) -> str:
        raise NotImplementedError

    def _page(self, asked: Asked, items: list[Any]) -> Answer:
        raise NotImplementedError

    @route("GET", "/workspaces")
    def list_workspaces(self, asked: Asked) -> Answer:
        wanted = self.deleted if asked.query.get("deleted") == "true" else self.workspaces
        return self._page(asked, list(wanted.values()))

    @route("POST", "/workspaces")
    def create_workspace(self, asked: Asked) -> Answer:
        made = _workspace(self._new_id("ws"), asked.json()["name"], "owner")
        self.workspaces[made.id] = made
        self._add_project(made.id, self._new_id("proj"), name="First project")
        return answer_json(201, self.workspaces[made.id])

    @route("GET", "/workspaces/{workspace}")
    def show_workspace(self, asked: Asked, workspace: str) -> Answer:
        return answer_json(200, get(self.workspaces, workspace))

    @route("PATCH", "/workspaces/{workspace}")
    def rename_workspace(self, asked: Asked, workspace: str) -> Answer:
        self.workspaces[workspace] = get(self.workspaces, workspace).model_copy(update=asked.json())
        return answer_json(200, self.workspaces[workspace])

    @route("DELETE", "/workspaces/{workspace}")
    def delete_workspace(self, asked: Asked, workspace: str) -> Answer:
        gone = get(self.workspaces, workspace)
        self.deleted[workspace] = gone.model_copy(update={"ends_at": time.time() + 14 * _DAY_SECONDS})
        del self.workspaces[workspace]
        return Answer(204)

    @route("POST", "/workspaces/{workspace}/restore")
    def restore_workspace(self, asked: Asked, workspace: str) -> Answer:
        back = get(self.deleted, workspace).model_copy(update={"ends_at": None})
        self.workspaces[workspace] = back
        del self.deleted[workspace]
        return answer_json(200, back)

    @route("POST", "/workspaces/{workspace}/leave")
    def leave_workspace(self, asked: Asked, workspace: str) -> Answer:
        if get(self.workspaces, workspace).role == "owner":
            raise Conflict("Ada is the last owner.", hint="Make another member owner first, or delete the workspace.")
        del self.workspaces[workspace]
        return Answer(204)

    # Members and invites

    @route("GET", "/workspaces/{workspace}/members")
    def list_members(self, asked: Asked, workspace: str) -> Answer:
        return self._page(asked, list(self.members.values()))

    @route("PATCH", "/workspaces/{workspace}/members/{person_id}")
    def change_member(self, asked: Asked, workspace: str, person_id: str) -> Answer:
        self.members[person_id] = get(self.members, person_id).model_copy(update=asked.json())
        return answer_json(200, self.members[person_id])

    @route("DELETE", "/workspaces/{workspace}/members/{person_id}")
    def remove_member(self, asked: Asked, workspace: str, person_id: str) -> Answer:
        del self.members[get(self.members, person_id).id]
        return Answer(204)

    @route("POST", "/workspaces/{workspace}/members/{person_id}/hand-over")
    def hand_over(self, asked: Asked, workspace: str, person_id: str) -> Answer:
        get(self.members, person_id)
        for id_, role in (("ada", "editor"), (person_id, "owner")):
            self.members[id_] = self.members[id_].model_copy(update={"role": role})
        return answer_json(200, self.members[person_id])

    @route("GET", "/workspaces/{workspace}/invites")
    def list_invites(self, asked: Asked, workspace: str) -> Answer:
        mine = [invite for invite in self.invites.values() if invite.workspace_id == workspace]
        return self._page(asked, [invite.model_copy(update={"link": None}) for invite in mine[::-1]])

    @route("POST", "/workspaces/{workspace}/invites")
    def create_invite(self, asked: Asked, workspace: str) -> Answer:
        said, now, id_ = asked.json(), time.time(), self._new_id("inv")
        ends = now + said.pop("expires_in_days") * _DAY_SECONDS
        about = {"id": id_, "workspace_id": workspace, "invited_by": "Ada", "created_at": now, "expires_at": ends}
        self.invites[id_] = InviteView.model_validate({**said, **about, "link": f"http://localhost/invite/tsi_{id_}"})
        return answer_json(201, self.invites[id_])

    @route("POST", "/workspaces/{workspace}/invites/{invite_id}/remind")
    def remind(self, asked: Asked, workspace: str, invite_id: str) -> Answer:
        invite = get(self.invites, invite_id)
        if not invite.email:
            raise Conflict("This invite is for whoever has its link; there is nobody to mail.")
        update = {"reminded_at": time.time(), "link": f"{invite.link}again"}
        self.invites[invite_id] = invite.model_copy(update=update)
        return answer_json(200, self.invites[invite_id])

    @route("DELETE", "/workspaces/{workspace}/invites/{invite_id}")
    def revoke_invite(self, asked: Asked, workspace: str, invite_id: str) -> Answer:
        del self.invites[get(self.invites, invite_id).id]
        return Answer(204)

    @route("POST", "/invites/accept")
    def accept_invite(self, asked: Asked) -> Answer:
        secret = asked.json()["link"].rpartition("/")[2]
        for invite in self.invites.values():
            if (invite.link or "").endswith(f"/{secret}"):
                del self.invites[invite.id]
                return answer_json(200, self.workspaces[invite.workspace_id])
        raise NotFound("This invite is unknown, used up, revoked or expired.", hint="Ask for a new one.")

    # Robots

    @route("GET", "/workspaces/{workspace}/tokens")
    def list_robots(self, asked: Asked, workspace: str) -> Answer:
        mine = [robot for robot in self.robots.values() if robot.workspace_id == workspace]
        return self._page(asked, [robot.model_copy(update={"token": None}) for robot in mine[::-1]])

    @route("POST", "/workspaces/{workspace}/tokens")
    def create_robot(self, asked: Asked, workspace: str) -> Answer:
        said, id_ = asked.json(), self._new_id("rob")
        if "admin" in said["scopes"]:
            raise InvalidInput("A robot cannot have the scopes ['admin'].")
        days = said.pop("expires_in_days")
        ends = time.time() + days * _DAY_SECONDS if days else None
        about = {"id": id_, "workspace_id": workspace, "created_at": time.time(), "expires_at": ends}
        secret = {"last_used_at": None, "beginning": "tsr_robo", "token": f"tsr_robot-{id_}"}
        self.robots[id_] = TokenView.model_validate({**said, **about, **secret})
        return answer_json(201, self.robots[id_])

    @route("DELETE", "/workspaces/{workspace}/tokens/{token_id}")
    def revoke_robot(self, asked: Asked, workspace: str, token_id: str) -> Answer:
        del self.robots[get(self.robots, token_id).id]
        return Answer(204)

    # Projects and links

    @route("GET", "/workspaces/{workspace}/projects")
    def list_projects(self, asked: Asked, workspace: str) -> Answer:
        return self._page(asked, get(self.workspaces, workspace).projects)

    @route("POST", "/workspaces/{workspace}/projects")
    def create_project(self, asked: Asked, workspace: str) -> Answer:
        said = asked.json()
        if any(project.name == said["name"] for project in get(self.workspaces, workspace).projects):
            raise Conflict(f"The workspace already has a project named {said['name']!r}.")
        return answer_json(201, self._add_project(workspace, self._new_id("proj"), **said))

    @route("GET", "/workspaces/{workspace}/projects/{project_id}")
    def show_project(self, asked: Asked, workspace: str, project_id: str) -> Answer:
        return answer_json(200, get(self._projects(workspace), project_id))

    @route("PATCH", "/workspaces/{workspace}/projects/{project_id}")
    def change_project(self, asked: Asked, workspace: str, project_id: str) -> Answer:
        projects, said = self._projects(workspace), asked.json()
        update = {name: value for name, value in said.items() if value is not None}
        projects[project_id] = get(projects, project_id).model_copy(update=update)
        self._keep_projects(workspace, projects)
        return answer_json(200, projects[project_id])

    @route("DELETE", "/workspaces/{workspace}/projects/{project_id}")
    def delete_project(self, asked: Asked, workspace: str, project_id: str) -> Answer:
        projects = self._projects(workspace)
        del projects[get(projects, project_id).id]
        self._keep_projects(workspace, projects)
        return Answer(204)

    @route("GET", "{own}/shares")
    def list_shares(self, asked: Asked, project_id: str) -> Answer:
        mine = [share for share in self.shares.values() if share.project_id == project_id]
        return self._page(asked, [share.model_copy(update={"link": None}) for share in mine[::-1]])

    @route("POST", "{own}/shares")
    def create_share(self, asked: Asked, project_id: str) -> Answer:
        said, now, id_ = asked.json(), time.time(), self._new_id("share")
        ends = now + said.pop("expires_in_days") * _DAY_SECONDS
        placed = {"id": id_, "workspace_id": self._workspace_of(project_id), "project_id": project_id}
        about = {"created_by": "person:ada", "created_at": now, "expires_at": ends}
        share = ShareView.model_validate({**said, **placed, **about, "link": f"http://localhost/share/tsl_{id_}"})
        self.shares[id_] = share
        return answer_json(201, share)

    @route("DELETE", "{own}/shares/{share_id}")
    def revoke_share(self, asked: Asked, project_id: str, share_id: str) -> Answer:
        del self.shares[get(self.shares, share_id).id]
        return Answer(204)

    # Inside

    def _projects(self, workspace_id: str) -> dict[str, ProjectView]:
        return {project.id: project for project in get(self.workspaces, workspace_id).projects}

    def _keep_projects(self, workspace_id: str, projects: dict[str, ProjectView]) -> None:
        update = {"projects": list(projects.values())}
        self.workspaces[workspace_id] = self.workspaces[workspace_id].model_copy(update=update)

    def _add_project(self, workspace_id: str, project_id: str, **said: Any) -> ProjectView:
        made = ProjectView(id=project_id, workspace_id=workspace_id, created_at=time.time(), **said)
        self._keep_projects(workspace_id, {**self._projects(workspace_id), project_id: made})
        return made

    def _workspace_of(self, project_id: str) -> str:
        """Where a project is. Raises `NotFound` if it is nowhere."""
        for workspace in self.workspaces.values():
            if any(project.id == project_id for project in workspace.projects):
                return workspace.id
        raise NotFound()


def _workspace(id_: str, name: str, role: str, *, is_shelf: bool = False) -> WorkspaceView:
    return WorkspaceView(id=id_, name=name, role=role, is_shelf=is_shelf)  # type: ignore[arg-type]
