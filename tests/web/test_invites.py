"""An invite's link in a browser: what it says, the way in with and without an account, and what does not open."""

from __future__ import annotations

import time
from typing import Any

import pytest

from server.api_client import Lab
from web.visitors import Page


def role_in(lab: Lab, person: Any) -> str | None:
    from trainshed.server.records.models import Membership

    return (
        Membership.objects.filter(workspace_id=lab.workspace_id, person=person).values_list("role", flat=True).first()
    )


def test_a_person_reads_an_invite_and_joins(visit, lab):
    secret, person = lab.invite("editor")[1], Lab("elsewhere").person("viewer")
    visitor = visit(person)
    page = visitor.page(f"/invite/{secret}")
    assert page.heading == "Join lab" and lab.person("owner").name in page.text and "editor" in page.text
    assert role_in(lab, person) is None, "reading it changes nothing"
    joined = visitor.send(f"/invite/{secret}")
    assert (joined.status_code, joined.headers["location"]) == (302, f"/w/{lab.workspace_id}")
    assert role_in(lab, person) == "editor"
    assert visitor.page(f"/invite/{secret}", 404).heading == "This invite opens nothing"


def test_a_stranger_is_led_to_an_account_and_back(visit, lab):
    secret = lab.invite()[1]
    stranger = visit()
    assert "by invitation" in stranger.page("/sign-in").text, "sign-up is closed"
    page = stranger.page(f"/invite/{secret}")
    ways = {one.text.strip(): one.attributes["href"] for one in page.all("a") if "next=" in one.attributes["href"]}
    assert ways == {
        "Make an account": f"/sign-up?next=%2Finvite%2F{secret}",
        "Sign in": f"/sign-in?next=%2Finvite%2F{secret}",
    }
    assert not page.all("form", method="post")
    assert stranger.page(ways["Make an account"]).all("input", name="name"), "the invite opens the closed door"


def test_a_stranger_cannot_accept(visit, lab):
    row, secret = lab.invite()
    answer = visit().send(f"/invite/{secret}")
    assert answer.headers["location"].startswith("/sign-in?next=")
    row.refresh_from_db()
    assert row.accepted_at is None


def test_an_invite_for_another_address_says_so(visit, lab):
    secret, person = lab.invite("editor", "somebody@example.org")[1], Lab("elsewhere").person("viewer")
    answer = visit(person).send(f"/invite/{secret}")
    assert answer.status_code == 403 and "another e-mail address" in Page(answer.text).text
    assert role_in(lab, person) is None


def _expired(row: Any) -> None:
    row.expires_at = time.time() - 1


def _revoked(row: Any) -> None:
    row.revoked_at = time.time()


def _used(row: Any) -> None:
    row.accepted_at = time.time()


@pytest.mark.parametrize("end", [_expired, _revoked, _used])
def test_an_invite_that_does_not_hold_says_nothing_of_the_workspace(visit, lab, end):
    row, secret = lab.invite()
    end(row)
    row.save()
    for visitor in (visit(), visit(Lab("elsewhere").person("viewer"))):
        ended, unknown = visitor.page(f"/invite/{secret}", 404), visitor.page("/invite/tsi_nothing", 404)
        assert ended.heading == unknown.heading == "This invite opens nothing"
        assert "lab" not in ended.text.split()
    assert "by invitation" in visit().page("/sign-in").text, "and opens no sign-up"


def test_an_owner_invites_and_sees_the_link_once(owner, visit, lab):
    where = f"/w/{lab.workspace_id}/settings/members"
    (key,) = {one.attributes["value"] for one in owner.page(where).all("input", name="key")}
    form = {"email": "", "role": "viewer", "days": "7", "key": key}
    answer = owner.send(where, form)
    (code,) = [one.text for one in Page(answer.text).all("code")]
    assert "no-store" in answer.headers["cache-control"]
    assert visit().page(f"/invite/{code.rpartition('/')[2]}").heading == "Join lab"
    assert "was sent already" in owner.send(where, form).text, "a reload invites nobody twice"
    listed = owner.page(where)
    assert "Whoever has the link" in listed.text and "tsi_" not in owner.get(where).text
    assert not listed.all("input", name="remind"), "nobody to mail"


def test_an_invite_by_mail_is_reminded_with_a_new_link(owner, lab):
    where = f"/w/{lab.workspace_id}/settings/members"
    first = Page(owner.send(where, {"email": "New@example.org", "role": "editor", "days": "1"}).text)
    (remind,) = {one.attributes["value"] for one in first.all("input", name="remind")}
    second = Page(owner.send(where, {"remind": remind}).text)
    links = [page.all("code")[0].text for page in (first, second)]
    assert links[0] != links[1] and "reminded" in second.text and "new@example.org" in second.text
    assert owner.send(where, {"remind": "z" * 20}).status_code == 404


@pytest.mark.parametrize("form", [{"days": "31"}, {"days": "x"}, {"email": "nobody"}, {"role": "king"}])
def test_a_wrong_invite_is_refused_in_words(owner, lab, form):
    page = Page(owner.send(f"/w/{lab.workspace_id}/settings/members", form).text)
    assert page.all("div", role="alert") and not page.all("code")
