"""Workspaces and their projects."""

from __future__ import annotations

import pytest

from server.api_client import Lab, ok, problem
from trainshed.schemas import WorkspaceView


def test_a_project_is_made_and_listed(editor, lab):
    made = ok(editor.post(f"/workspaces/{lab.workspace_id}/projects", {"name": " Birds of Höxter "}), 201)
    assert made["name"] == "Birds of Höxter"
    (row,) = [WorkspaceView.model_validate(entry) for entry in ok(editor.get("/workspaces"))["items"]]
    assert [project.name for project in row.projects] == ["project", "Birds of Höxter"]
    assert ok(editor.get(f"/workspaces/{lab.workspace_id}/projects/{made['id']}/jobs"))["items"] == []


@pytest.mark.parametrize("name", ["", "   ", "p" * 201])
def test_a_projects_name_has_1_to_200_characters(editor, lab, name):
    problem(editor.post(f"/workspaces/{lab.workspace_id}/projects", {"name": name}), 422, "invalid_input", "200")


def test_two_projects_of_a_workspace_never_share_a_name(editor, lab):
    problem(editor.post(f"/workspaces/{lab.workspace_id}/projects", {"name": "project"}), 409, "conflict", "project")
    other = Lab("other")
    ok(editor.as_(other.token()).post(f"/workspaces/{other.workspace_id}/projects", {"name": "p" * 200}), 201)
