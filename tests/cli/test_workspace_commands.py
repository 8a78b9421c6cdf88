"""Workspaces, members, invites, robots, projects and links by the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from trainshed.testing.fake_server import WORKSPACE, FakeServer

Trainshed = Callable[..., Any]  # the fixture `trainshed`: arguments in, what it said out


def test_a_workspace_is_made_renamed_deleted_and_taken_back(trainshed: Trainshed, signed_in: FakeServer) -> None:
    made = trainshed("workspace", "create", "Bird lab", "--json").json()
    assert "Bees" in trainshed("workspace", "rename", "Bird", "Bees").out
    said = trainshed("workspace", "delete", "Bees", "--yes")
    assert f"workspace restore {made['id']}" in said.out
    assert "Bees" not in trainshed("workspace", "list").out
    assert "in 14 days" in trainshed("workspace", "list", "--deleted").out
    assert "is back" in trainshed("workspace", "restore", made["id"]).out
    assert [it["name"] for it in trainshed("workspace", "list", "--json").json()] == ["Shelf", "My workspace", "Bees"]


def test_nothing_is_deleted_or_left_without_a_yes(trainshed: Trainshed, signed_in: FakeServer) -> None:
    for command in ("delete", "leave"):
        said = trainshed("workspace", command, "My workspace")
        assert said.code == 1 and "--yes" in said.err
    assert WORKSPACE in signed_in.workspaces
    assert "last owner" in trainshed("workspace", "leave", "My workspace", "--yes").err


def test_members_are_listed_changed_and_removed_by_name_or_address(trainshed: Trainshed, signed_in: FakeServer) -> None:
    assert "grace@example.org" in trainshed("workspace", "members", "My").out
    assert "Grace is editor now" in trainshed("workspace", "role", "My", "grace@example.org", "editor").out
    assert signed_in.members["grace"].role == "editor"
    assert "you are an editor" in trainshed("workspace", "hand-over", "My", "Grace", "--yes").out
    assert signed_in.members["ada"].role == "editor"
    assert "no member" in trainshed("workspace", "remove", "My", "Grace", "--yes").out
    assert set(signed_in.members) == {"ada"}


def test_an_invite_is_printed_once_reminded_of_used_and_ended(trainshed: Trainshed, signed_in: FakeServer) -> None:
    made = trainshed("workspace", "invite", "My", "--role", "editor", "--email", "new@example.org")
    assert "/invite/tsi_" in made.out and "mailed to new@example.org" in made.err
    listed = trainshed("workspace", "invites", "My")
    assert "new@example.org" in listed.out and "tsi_" not in listed.out
    reminded = trainshed("workspace", "remind", "My", "new@example.org", "--json").json()
    assert reminded["link"] not in made.out
    assert "You are owner of 'My workspace'" in trainshed("workspace", "join", reminded["link"]).out
    bare = trainshed("workspace", "invite", "My", "--json").json()
    assert "no more" in trainshed("workspace", "uninvite", "My", bare["id"]).out
    assert "There is no open invite" in trainshed("workspace", "uninvite", "My", bare["id"]).err


def test_a_robots_token_is_printed_once_and_ended_by_name(trainshed: Trainshed, signed_in: FakeServer) -> None:
    made = trainshed("workspace", "robot", "My", "nightly", "--role", "editor", "--scope", "read")
    assert made.out.startswith("tsr_") and "not shown again" in made.err
    body = signed_in.asked_for("POST", "/tokens")[0].json()
    assert (body["role"], body["scopes"], body["expires_in_days"]) == ("editor", ["read"], 90)
    listed = trainshed("workspace", "robots", "My").out
    assert "nightly" in listed and made.out.strip() not in listed
    assert "Revoked 'nightly'" in trainshed("workspace", "end-robot", "My", "nightly").out
    assert signed_in.robots == {}


def test_a_project_is_made_shown_changed_and_deleted(trainshed: Trainshed, signed_in: FakeServer) -> None:
    assert "Made 'Birds'" in trainshed("project", "create", "Birds", "--description", "At the feeder").out
    assert "At the feeder" in trainshed("project", "show", "Birds").out
    assert "Changed 'Bees'" in trainshed("project", "change", "Birds", "--name", "Bees").out
    assert [it["name"] for it in trainshed("project", "list", "--json").json()] == ["My project", "Bees"]
    said = trainshed("project", "delete", "Bees", "--with-everything", "--yes")
    assert said.code == 0
    (asked,) = signed_in.asked_for("DELETE", "")
    assert asked.query == {"with_everything": "true"}


def test_work_goes_on_in_the_workspace_and_project_that_are_named(
    trainshed: Trainshed, signed_in: FakeServer, pictures: Path
) -> None:
    trainshed("workspace", "create", "Bird lab")
    trainshed("project", "create", "Owls", "--workspace", "Bird lab")
    there = ("--workspace", "Bird lab", "--project", "Owls")
    assert trainshed("dataset", "import", pictures, *there).code == 0
    assert "flowers" in trainshed("dataset", "list", *there).out
    assert "flowers" not in trainshed("dataset", "list", "--workspace", "Bird lab").out
    assert "flowers" not in trainshed("dataset", "list").out, "the next command is where it was before"
    assert "There is no project 'Bats'" in trainshed("models", "list", "--project", "Bats").err


def test_a_dataset_and_a_model_are_moved_by_name(trainshed: Trainshed, signed_in: FakeServer, pictures: Path) -> None:
    trainshed("workspace", "create", "Bird lab")
    trainshed("project", "create", "Owls")
    trainshed("dataset", "import", pictures)
    assert "Where to?" in trainshed("dataset", "move", "flowers").err
    assert "'First project'" in trainshed("dataset", "move", "flowers", "--to-workspace", "Bird lab").out
    assert "flowers" in trainshed("dataset", "list", "--workspace", "Bird lab").out
    assert "'Owls'" in trainshed("models", "move", "ImageNet", "--to-workspace", "My", "--to-project", "Owls").out
    assert "ImageNet" in trainshed("models", "list", "--project", "Owls").out


def test_a_link_is_printed_once_listed_and_ended(trainshed: Trainshed, signed_in: FakeServer, pictures: Path) -> None:
    trainshed("dataset", "import", pictures)
    job = trainshed("train", "flowers", "--name", "roses", "--json").json()
    made = trainshed("share", "create", "model", "roses", "--expires-in-days", "7", "--note", "for Grace")
    assert "/share/tsl_" in made.out
    trainshed("share", "create", "job", job["id"])
    trainshed("share", "create", "version", job["spec"]["version_id"])
    listed = trainshed("share", "list", "--json").json()
    assert [(it["noun"], it["link"]) for it in listed] == [("version", None), ("job", None), ("model", None)]
    assert "for Grace" in trainshed("share", "list").out
    assert trainshed("share", "revoke", listed[0]["id"]).code == 0
    assert len(signed_in.shares) == 2
    assert trainshed("share", "create", "dataset", "flowers").code == 2


def test_a_token_can_be_kept_to_one_workspace(trainshed: Trainshed, signed_in: FakeServer) -> None:
    assert trainshed("token", "create", "nightly", "--workspace", "My").code == 0
    assert signed_in.asked_for("POST", "/tokens")[0].json()["workspace_id"] == WORKSPACE
