"""A workspace's settings as pages: what each role is shown, and what a form does. Rules are tested over REST."""

from __future__ import annotations

from typing import Any

import pytest

from server import api_client
from server.api_client import Lab
from web.visitors import Page, Visitor


def settings_of(lab: Lab, part: str = "") -> str:
    return f"/w/{lab.workspace_id}/settings{part}"


def quota_of(lab: Lab, resource: str) -> Any:
    from trainshed.server.records.models import Quota

    return Quota.objects.filter(workspace_id=lab.workspace_id, resource=resource).first()


@pytest.fixture
def administrator(visit: Any, lab: Lab) -> Visitor:
    """A browser of somebody who runs the installation and owns the workspace."""
    person = lab.person("owner")
    person.is_administrator = True
    person.save()
    visitor: Visitor = visit(person)
    return visitor


def test_a_viewer_sees_the_settings_and_can_change_none(owner, viewer, lab):
    lab.invite()
    for part in ("", "/members", "/usage"):
        page = viewer.page(settings_of(lab, part))
        islands = [one.attributes["data-address"] for one in page.all("form", data_island="request")]
        assert [address for address in islands if not address.endswith("/leave")] == [], part
        assert len(page.all("form", method="post")) == 2, "only the menu's way out, in both of its copies"
    names = {one.text.strip() for one in viewer.page(settings_of(lab)).all("a")}
    assert {"General", "Members", "Usage"} <= names and not {"Robots", "Audit"} & names
    assert "Open invites" in owner.page(settings_of(lab, "/members")).text
    assert "Open invites" not in viewer.page(settings_of(lab, "/members")).text


def test_a_workspace_is_made_deleted_and_offered_back(owner, lab):
    made = owner.send("/workspaces/new", {"name": "Second lab"})
    home = made.headers["location"]
    assert "Second lab" in owner.page(home).text
    wrong = owner.send(f"{home}/settings/delete", {"name": "Second"})
    assert "Write the name" in wrong.text and owner.get(home).status_code == 200
    gone = owner.send(f"{home}/settings/delete", {"name": " Second  lab "})
    assert gone.headers["location"] == "/workspaces/new" and owner.get(home).status_code == 404
    offered = owner.page("/workspaces/new")
    (form,) = offered.all("form", data_method="POST")
    assert "Second lab" in offered.text
    api_client.ok(owner.ask("POST", form.attributes["data-address"].removeprefix("/api/v1")))
    assert owner.get(home).status_code == 200


def test_a_workspace_without_a_name_is_refused(owner):
    page = Page(owner.send("/workspaces/new", {"name": " "}).text)
    assert page.all("div", role="alert")


def test_ownership_is_handed_over(owner, visit, lab):
    heir = lab.add_member("viewer")
    assert owner.page(settings_of(lab)).all("option", value=heir.id)
    owner.send(settings_of(lab, "/hand-over"), {"person": heir.id})
    assert "Editor" in owner.page(settings_of(lab)).text and "Hand over" not in owner.page(settings_of(lab)).text
    assert visit(heir).page(settings_of(lab, "/audit")).heading == "lab"


def test_a_personal_workspace_offers_no_way_out(visit):
    from trainshed.server.services import workspaces

    person = api_client.make_person()
    mine = workspaces.ensure_personal(person)
    page = visit(person).page(f"/w/{mine.id}/settings")
    assert "goes with it" in page.text and not page.all("a", href=f"/w/{mine.id}/settings/delete")


def test_a_robot_is_shown_once_and_revoked(owner, lab):
    where = settings_of(lab, "/robots")
    made = owner.send(where, {"name": "nightly", "role": "editor", "days": "7", "scopes": "read"})
    (code,) = [one.text for one in Page(made.text).all("code") if one.text.startswith("tsr_") and "…" not in one.text]
    assert "no-store" in made.headers["cache-control"] and code not in owner.get(where).text
    bearer = {"Authorization": f"Bearer {code}"}
    assert owner.http.get(f"/api/v1{lab.path}/models", headers=bearer).status_code == 200
    (form,) = [one for one in owner.page(where).all("form") if "/revoke" in one.attributes.get("action", "")]
    owner.send(form.attributes["action"])
    assert owner.http.get(f"/api/v1{lab.path}/models", headers=bearer).status_code == 401
    assert "Say what the robot does" in owner.send(where, {"name": ""}).text


def test_use_is_told_in_words_with_what_to_do_when_it_is_up(viewer, administrator, lab):
    lab.upload(b"x" * 3000)
    page = viewer.page(settings_of(lab, "/usage"))
    assert "no limit" in page.text and "2.9 KiB" in page.text and not page.all("input", name="stored_bytes")
    administrator.send(
        settings_of(lab, "/usage"), {"stored_bytes": "0.000001", "gpu_seconds": "1.5", "queued_jobs": ""}
    )
    assert quota_of(lab, "stored_bytes").most == 1074 and quota_of(lab, "gpu_seconds").most == 5400
    assert quota_of(lab, "queued_jobs") is None or quota_of(lab, "queued_jobs").most is None
    full = viewer.page(settings_of(lab, "/usage"))
    assert "It is used up." in full.text and "ask for more" in full.text and "0.0 h of 1.5 h" in full.text
    wrong = administrator.send(settings_of(lab, "/usage"), {"running_jobs": "many"})
    assert "is no number" in wrong.text
    administrator.send(settings_of(lab, "/usage"), {"gpu_seconds": ""})
    assert quota_of(lab, "gpu_seconds").most is None


def test_a_form_that_changes_no_limit_leaves_no_trace(administrator, lab):
    from trainshed.server.records.models import AuditRow

    form = {"stored_bytes": "", "running_jobs": "2", "queued_jobs": "", "gpu_seconds": ""}
    for _ in range(2):
        administrator.send(settings_of(lab, "/usage"), form)
    assert AuditRow.objects.filter(workspace_id=lab.workspace_id, action="quota.limit").count() == 1


def test_the_audit_shows_who_did_what_and_narrows(owner, visit, lab):
    editor = lab.person("editor")
    visit(editor).ask("POST", f"/workspaces/{lab.workspace_id}/projects", json={"name": "made by the editor"})
    owner.ask("PATCH", f"/workspaces/{lab.workspace_id}", json={"name": "lab"})
    everything = owner.page(settings_of(lab, "/audit"))
    assert {"project.create", "workspace.rename"} <= set(everything.text.split()) and editor.name in everything.text
    narrowed = owner.page(settings_of(lab, f"/audit?who=person:{editor.id}&noun=project"))
    assert "project.create" in narrowed.text and "workspace.rename" not in narrowed.text
    (csv,) = [one.attributes["href"] for one in narrowed.all("a") if "audit.csv" in one.attributes["href"]]
    rows = owner.get(csv).text
    assert "project.create" in rows and "workspace.rename" not in rows
    assert "Nothing like that" in owner.page(settings_of(lab, "/audit?noun=quota")).text
    assert owner.get(settings_of(lab, "/audit?cursor=rubbish")).status_code == 422


def test_a_project_is_shown_with_its_description_and_deleted_by_its_name(owner, viewer, lab):
    made = api_client.ok(
        owner.ask(
            "POST", f"/workspaces/{lab.workspace_id}/projects", json={"name": "trees", "description": "<b>Which</b>?"}
        ),
        201,
    )
    where = f"/w/{lab.workspace_id}/p/{made['id']}"
    assert "<b>Which</b>?" in viewer.page(where).text
    assert not viewer.page(where).all("a", href=f"{where}/delete") and owner.page(where).all(
        "a", href=f"{where}/delete"
    )
    assert "Write the name" in owner.send(f"{where}/delete", {"name": "tree"}).text
    assert owner.send(f"{where}/delete", {"name": "trees"}).headers["location"] == f"/w/{lab.workspace_id}"
    assert owner.get(where).status_code == 404


def test_an_editor_deletes_an_empty_project_alone(visit, lab):
    editor = visit(lab.person("editor"))
    lab.dataset()
    where = f"/w/{lab.workspace_id}/p/{lab.project_id}/delete"
    refused = editor.send(where, {"name": "project"})
    assert "1 dataset" in refused.text


def test_the_home_shows_one_project_alone_when_asked(owner, lab):
    lab.dataset("cats")
    other = lab.add_project("other")
    assert "cats" in owner.page(f"/w/{lab.workspace_id}").text
    assert "cats" not in owner.page(f"/w/{lab.workspace_id}?project={other}").text
    assert "cats" in owner.page(f"/w/{lab.workspace_id}?project=nonsense").text


def test_an_administrator_sees_people_and_workspaces_of_others(administrator, owner, lab):
    other = Lab("elsewhere")
    person = other.person("owner")
    other.upload(b"x" * 2048)
    page = administrator.page("/installation")
    assert {"elsewhere", "lab"} <= set(page.text.split()) and person.email in page.text and "2.0 KiB" in page.text
    administrator.send("/installation", {"workspace": other.workspace_id, "running_jobs": "3"})
    assert quota_of(other, "running_jobs").most == 3
    assert "Set the limits" in administrator.page("/installation").text


def test_an_administrator_switches_people_but_never_the_last_one(administrator, visit, lab):
    person = lab.person("viewer")
    theirs = visit(person)
    administrator.send("/installation", {"person": person.id, "is_active": "off"})
    assert theirs.get("/hosts").status_code == 302 and "switched off" in administrator.page("/installation").text
    administrator.send("/installation", {"person": person.id, "is_active": "on"})
    administrator.send("/installation", {"person": person.id, "is_administrator": "on"})
    person.refresh_from_db()
    assert person.is_active and person.is_administrator
    me = lab.person("owner")
    administrator.send("/installation", {"person": person.id, "is_administrator": "off"})
    refused = administrator.send("/installation", {"person": me.id, "is_administrator": "off"})
    assert "Somebody has to be an administrator" in refused.text


def test_only_administrators_have_the_installation_in_their_menu(administrator, viewer):
    assert administrator.page("/hosts").all("a", href="/installation")
    assert not viewer.page("/hosts").all("a", href="/installation")


def done(page: Page) -> int:
    (steps,) = page.all("section", aria_label="First steps")
    return steps.text.count("Done:")


def test_the_first_steps_tick_themselves_off_and_are_put_away(administrator, visit, lab):
    home = f"/w/{lab.workspace_id}"
    assert done(administrator.page(home)) == 0
    assert not visit(lab.person("viewer")).page(home).all("section", aria_label="First steps")
    assert done(administrator.page(home)) == 1, "a second member has come"
    lab.dataset()
    assert done(administrator.page(home)) == 2
    administrator.send("/first-steps")
    assert not administrator.page(home).all("section", aria_label="First steps")


def test_the_menu_leads_to_every_workspace_and_project(owner, lab):
    other = lab.add_project("other")
    page = owner.page("/hosts")
    for address in ("/workspaces/new", f"/w/{lab.workspace_id}/settings", f"/w/{lab.workspace_id}/p/{other}"):
        assert page.all("a", href=address), address


def test_a_dataset_and_a_model_are_moved_to_a_project_that_is_chosen(owner, visit, lab):
    from trainshed.server.records.models import Membership

    there = Lab("elsewhere")
    Membership.objects.create(workspace_id=there.workspace_id, person=lab.person("owner"), role="owner")
    here = f"/w/{lab.workspace_id}/p/{lab.project_id}"
    for noun, row in (("dataset", lab.dataset("cats")), ("model", lab.model("cats"))):
        page = owner.page(f"{here}/{noun}s/{row.id}")
        (link,) = [href for one in page.all("a") if "/move/" in (href := one.attributes.get("href", ""))]
        target = f"{there.workspace_id}/{there.project_id}"
        assert owner.page(link).all("option", value=target)
        moved = owner.send(link, {"to": target})
        assert owner.page(moved.headers["location"]).heading == "cats"
        assert f"/w/{there.workspace_id}/p/{there.project_id}/" in moved.headers["location"]
    assert owner.send(f"{here}/move/model/{lab.model().id}", {"to": "zzz"}).status_code == 404
    editor = visit(lab.person("editor"))
    assert "/move/" not in editor.get(f"{here}/models/{lab.model().id}").text, "only an owner takes it out"
