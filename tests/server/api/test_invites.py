"""Invites: by a link or by mail, once, for a role, until they end."""

from __future__ import annotations

import concurrent.futures
import time
from collections.abc import Iterator
from typing import Any

import pytest

from server.api_client import Lab, make_person, make_token, ok, problem


@pytest.fixture
def mails(database: None) -> Iterator[list[Any]]:
    """What is mailed, instead of sending it."""
    from django.core import mail
    from django.test import override_settings

    with override_settings(EMAIL_BACKEND="django.core.mail.backends.locmem.EmailBackend"):
        mail.outbox = []
        yield mail.outbox


@pytest.fixture
def newcomer(nobody: Any) -> Any:
    return nobody.as_(make_token(make_person()))


def _create(owner: Any, lab: Lab, **said: Any) -> Any:
    return ok(owner.post(f"/workspaces/{lab.workspace_id}/invites", said), 201)


def _with_address(nobody: Any, email: str, *, is_verified: bool) -> Any:
    from allauth.account.models import EmailAddress

    person = make_person()
    EmailAddress.objects.create(user=person, email=email, verified=is_verified)
    return nobody.as_(make_token(person))


def test_an_invite_lets_one_person_in_once(nobody, owner, newcomer, lab):
    made = _create(owner, lab, role="editor")
    assert made["link"].rpartition("/")[2].startswith("tsi_") and "/invite/" in made["link"]
    joined = ok(newcomer.post("/invites/accept", {"link": made["link"]}))
    assert (joined["id"], joined["role"]) == (lab.workspace_id, "editor")
    ok(newcomer.post(f"{lab.path}/datasets", {"name": "n"}), 201)
    another = nobody.as_(make_token(make_person()))
    problem(another.post("/invites/accept", {"link": made["link"]}), 404, "not_found", "used up")
    assert ok(owner.get(f"/workspaces/{lab.workspace_id}/invites"))["items"] == []


def test_of_many_who_accept_at_once_one_comes_in(nobody, owner, lab):
    from trainshed.server.records.models import Membership

    link = _create(owner, lab)["link"]
    callers = [nobody.as_(make_token(make_person())) for _ in range(6)]
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        answers = pool.map(lambda caller: caller.post("/invites/accept", {"link": link}).status_code, callers)
        statuses = sorted(answers)
    assert statuses == [200, 404, 404, 404, 404, 404]
    assert Membership.objects.filter(workspace_id=lab.workspace_id).count() == 2


def test_an_invite_never_lowers_a_role_and_may_raise_it(owner, editor, lab):
    assert ok(editor.post("/invites/accept", {"link": _create(owner, lab, role="viewer")["link"]}))["role"] == "editor"
    assert ok(editor.post("/invites/accept", {"link": _create(owner, lab, role="owner")["link"]}))["role"] == "owner"


def test_an_invite_to_an_address_is_for_whoever_has_verified_it(nobody, owner, newcomer, lab, mails):
    link = _create(owner, lab, email=" New@Example.org ")["link"]
    problem(newcomer.post("/invites/accept", {"link": link}), 403, "forbidden", "another e-mail address")
    unverified = _with_address(nobody, "new@example.org", is_verified=False)
    problem(unverified.post("/invites/accept", {"link": link}), 403, "forbidden")
    ok(_with_address(nobody, "new@example.org", is_verified=True).post("/invites/accept", {"link": link}))


def test_an_invite_is_mailed_and_a_reminder_brings_a_new_link(owner, newcomer, lab, mails):
    from trainshed.server.records.models import Workspace

    Workspace.objects.filter(id=lab.workspace_id).update(name="Birds & <b>bees</b>\nBcc: eve@example.org")
    made = _create(owner, lab, email="new@example.org", role="editor")
    (first,) = mails
    assert first.to == ["new@example.org"] and made["link"] in first.body
    assert "\n" not in first.subject and "Birds & <b>bees</b> Bcc" in first.subject and "editor" in first.body
    reminded = ok(owner.post(f"/workspaces/{lab.workspace_id}/invites/{made['id']}/remind"))
    assert reminded["link"] in mails[1].body and reminded["reminded_at"]
    problem(newcomer.post("/invites/accept", {"link": made["link"]}), 404, "not_found")
    problem(newcomer.post("/invites/accept", {"link": reminded["link"]}), 403, "forbidden")
    bare = _create(owner, lab)
    problem(owner.post(f"/workspaces/{lab.workspace_id}/invites/{bare['id']}/remind"), 409, "conflict", "whoever")


def test_a_mail_that_cannot_be_sent_leaves_the_invite(owner, lab):
    from django.test import override_settings

    nowhere = {"EMAIL_HOST": "127.0.0.1", "EMAIL_PORT": 9}
    with override_settings(EMAIL_BACKEND="django.core.mail.backends.smtp.EmailBackend", **nowhere):
        assert _create(owner, lab, email="new@example.org")["link"]
    assert len(ok(owner.get(f"/workspaces/{lab.workspace_id}/invites"))["items"]) == 1


def test_a_revoked_an_expired_and_an_unknown_invite_look_the_same(owner, newcomer, lab):
    revoked, expired, gone = _create(owner, lab), lab.invite(days=-0.001)[1], Lab("gone")
    ok(owner.delete(f"/workspaces/{lab.workspace_id}/invites/{revoked['id']}"), 204)
    of_deleted = gone.invite()[1]
    ok(owner.as_(gone.token("owner")).delete(f"/workspaces/{gone.workspace_id}"), 204)
    links = [revoked["link"], expired, of_deleted, "tsi_unknown", "", "https://evil.example/invite/x"]
    answers = [newcomer.post("/invites/accept", {"link": link}) for link in links]
    for answer in answers:
        problem(answer, 404, "not_found")
    assert len({answer.content for answer in answers}) == 1


def test_only_whoever_made_an_invite_gets_its_link(owner, lab):
    from trainshed.server.records.models import Invite

    made = _create(owner, lab)
    (listed,) = ok(owner.get(f"/workspaces/{lab.workspace_id}/invites"))["items"]
    assert listed["id"] == made["id"] and listed["link"] is None
    assert made["link"].rpartition("/")[2] not in str(Invite.objects.values())


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"expires_in_days": 0.5}, "expires_in_days"),
        ({"expires_in_days": 31}, "expires_in_days"),
        ({"role": "king"}, "role"),
        ({"email": "nobody"}, "email"),
    ],
    ids=str,
)
def test_a_refused_invite_names_the_field(owner, lab, said, field):
    found = problem(owner.post(f"/workspaces/{lab.workspace_id}/invites", said), 422, "invalid_input")
    assert [error["field"] for error in found["errors"]] == [field]


def test_an_invite_ends_when_it_said_it_would(owner, newcomer, lab):
    from trainshed.server.records.models import Invite

    made = _create(owner, lab, expires_in_days=3)
    assert abs(made["expires_at"] - time.time() - 3 * 86400) < 60
    Invite.objects.update(expires_at=time.time() - 0.001)
    problem(newcomer.post("/invites/accept", {"link": made["link"]}), 404, "not_found")


def test_the_page_of_an_invite_tells_the_workspace_and_no_more(database):
    from trainshed.server.services import invites

    lab = Lab("Birds")
    secret = lab.invite("editor", "new@example.org")[1]
    told = invites.look(secret).model_dump()
    assert set(told) == {"workspace", "role", "invited_by", "expires_at"}
    assert (told["workspace"], told["role"], told["invited_by"]) == ("Birds", "editor", lab.person("owner").name)
    assert invites.admits(secret, " NEW@example.org ") and not invites.admits(secret, "eve@example.org")
    assert not invites.admits("tsi_unknown", "new@example.org") and invites.admits(lab.invite()[1], "any@example.org")


def test_invites_are_limited(owner, lab):
    answers = [owner.post(f"/workspaces/{lab.workspace_id}/invites", {}) for _ in range(25)]
    assert {answer.status_code for answer in answers} == {201, 429}
    problem(answers[-1], 429, "too_many_requests")
