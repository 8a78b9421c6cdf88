"""The first owner, signing in and out, and what a session opens, no longer than it lives: pages, REST and streams."""

from __future__ import annotations

import time

import pytest

from server.api_client import Lab, make_person, problem
from web.visitors import PASSWORD, Page, Visitor

NEW_OWNER = {"name": "Ada", "email": "ada@example.org", "password": PASSWORD}


@pytest.fixture
def code(database: None) -> str:
    from trainshed.server.services import people

    made = people.new_setup_code()
    assert made is not None
    return made


def with_password(lab: Lab, role: str = "owner") -> str:
    """The e-mail address of a member who has the password."""
    person = lab.person(role)
    person.set_password(PASSWORD)
    person.save()
    from allauth.account.models import EmailAddress

    EmailAddress.objects.create(user=person, email=person.email, verified=True, primary=True)
    return str(person.email)


# The first run


def test_the_one_time_link_makes_the_first_owner_and_signs_them_in(visit, code):
    visitor = visit()
    page = visitor.page(f"/setup?code={code}")
    assert page.all("input", name="code", type="hidden")[0].attributes["value"] == code
    answer = visitor.send("/setup", {**NEW_OWNER, "code": code})
    assert (answer.status_code, answer.headers["location"]) == (302, "/")
    home = visitor.page(visitor.get("/").headers["location"])
    assert "Ada" in home.text and "My project" in home.text


def test_the_link_works_once(visit, code):
    assert visit().send("/setup", {**NEW_OWNER, "code": code}).status_code == 302
    second = visit()
    assert second.get(f"/setup?code={code}").headers["location"] == "/sign-in"
    proof = Page(second.get("/sign-in").text).proof
    form = {**NEW_OWNER, "email": "eve@example.org", "code": code, "csrfmiddlewaretoken": proof}
    assert second.http.post("/setup", data=form).headers["location"] == "/sign-in"
    assert second.get("/").headers["location"].startswith("/sign-in")
    from trainshed.server.records.models import Person

    assert Person.objects.count() == 1


def test_a_wrong_code_makes_nobody(visit, code):
    answer = visit().send("/setup", {**NEW_OWNER, "code": "tsu_wrong"})
    assert answer.status_code == 422 and "unknown or used up" in Page(answer.text).text
    from trainshed.server.records.models import Person

    assert not Person.objects.exists()


@pytest.mark.parametrize(
    ("field", "value"),
    [("name", " "), ("name", "n" * 201), ("email", "nonsense"), ("password", "short"), ("password", "password1234")],
)
def test_what_is_wrong_stands_at_its_field_and_the_rest_is_kept(visit, code, field, value):
    visitor = visit()
    answer = visitor.send("/setup", {**NEW_OWNER, "code": code, field: value})
    page = Page(answer.text)
    assert answer.status_code == 422
    wrong = [element.attributes for element in page.elements if element.attributes.get("aria-invalid") == "true"]
    assert [attributes["name"] for attributes in wrong] == [field]
    (words,) = [one for one in page.elements if one.attributes.get("id") == wrong[0]["aria-describedby"]]
    assert words.text.strip()
    for kept in {"name", "email"} - {field}:
        assert page.all("input", name=kept)[0].attributes["value"] == NEW_OWNER[kept]
    assert NEW_OWNER["password"] not in answer.text
    assert visitor.send("/setup", {**NEW_OWNER, "code": code}).status_code == 302


def test_before_anybody_is_there_sign_in_tells_of_the_link(visit, database):
    page = visit().page("/sign-in")
    assert not page.all("input", type="password") and "trainshed up" in page.text


# Signing in


def test_a_visitor_is_sent_to_sign_in_and_back_to_where_they_wanted_to_be(visit, lab):
    email, visitor = with_password(lab), visit()
    wanted = f"/w/{lab.workspace_id}/p/{lab.project_id}/jobs?state=failed"
    sent = visitor.get(wanted).headers["location"]
    page = visitor.page(sent)
    next_ = page.all("input", name="next")[0].attributes["value"]
    assert next_ == wanted
    answer = visitor.sign_in(email, next_=next_)
    assert (answer.status_code, answer.headers["location"]) == (302, wanted)
    visitor.page(wanted)


ELSEWHERE = (
    "https://evil.example/", "//evil.example/", "/\\evil.example", "\\\\evil.example", "javascript:alert(1)",
    "https:evil.example", "///evil.example", "http://127.0.0.1@evil.example/", " https://evil.example", "",
)  # fmt: skip


def test_a_link_to_another_site_is_not_followed(visit, lab):
    email = with_password(lab)
    for elsewhere in ELSEWHERE:
        answer = visit().sign_in(email, next_=elsewhere)
        assert (answer.status_code, answer.headers["location"]) == (302, "/"), elsewhere


def test_a_wrong_password_and_an_unknown_person_are_told_alike(visit, lab):
    email = with_password(lab)
    answers = [visit().sign_in(who, "wrong password").text for who in (email, "nobody@example.org")]
    pages = [Page(answer.replace(email, "").replace("nobody@example.org", "")) for answer in answers]
    assert pages[0].text == pages[1].text
    (alert,) = pages[0].all("div", role="alert")
    assert "wrong" in alert.text
    assert "wrong password" not in answers[0]


def test_an_address_is_the_same_person_in_any_case(visit, lab):
    assert visit().sign_in(f"  {with_password(lab).upper()} ").status_code == 302


def test_a_deactivated_person_cannot_sign_in(visit, lab):
    email = with_password(lab)
    lab.person("owner").__class__.objects.update(is_active=False)
    visitor = visit()
    assert visitor.sign_in(email).headers["location"] == "/sign-in/inactive"
    assert "switched off" in visitor.page("/sign-in/inactive").text
    assert visitor.get("/hosts").status_code == 302


def test_signing_in_gives_a_new_session_that_scripts_cannot_read(visit, lab):
    visitor = visit()
    visitor.http.cookies.set("sessionid", "planted", domain=visitor.http.base_url.host)
    answer = visitor.sign_in(with_password(lab))
    (cookie,) = [one for one in answer.headers.get_list("set-cookie") if one.startswith("sessionid=")]
    assert "planted" not in cookie and "HttpOnly" in cookie and "SameSite=Lax" in cookie


def test_a_form_without_its_proof_is_refused_with_a_page(visit, lab):
    email, visitor = with_password(lab), visit()
    visitor.page("/sign-in")
    answer = visitor.http.post("/sign-in", data={"login": email, "password": PASSWORD})
    assert answer.status_code == 403 and Page(answer.text).heading
    assert "style" not in {element.tag for element in Page(answer.text).elements}, "an inline style is blocked"
    assert "sessionid" not in visitor.http.cookies


# What a session opens, and until when


def opens(visitor: Visitor, lab: Lab) -> list[int]:
    """What a session gets of a page, of REST, of a stream and of a route for bytes."""
    stream = f"/api/v1/workspaces/{lab.workspace_id}/stream"
    with visitor.http.stream("GET", stream) as answer:
        told = answer.status_code
        if told != 200:
            answer.read()
            problem(answer, 401, "not_signed_in")
    uploads = visitor.ask("POST", f"{lab.path}/uploads?name=a.zip", content=b"zip").status_code
    return [visitor.get("/hosts").status_code, visitor.ask("GET", "/me").status_code, told, uploads]


OPEN, CLOSED = [200, 200, 200, 201], [302, 401, 401, 401]


def test_a_session_opens_pages_rest_and_streams_until_it_is_signed_out(visit, lab):
    visitor = visit()
    visitor.sign_in(with_password(lab))
    visitor.get("/hosts")
    assert opens(visitor, lab) == OPEN
    kept = visitor.http.cookies["sessionid"]
    answer = visitor.send("/sign-out")
    assert (answer.status_code, answer.headers["location"]) == (302, "/sign-in")
    visitor.http.cookies.set("sessionid", kept, domain=visitor.http.base_url.host)  # somebody kept a copy
    assert opens(visitor, lab) == CLOSED


def test_signing_out_leaves_the_persons_other_session_alone(visit, lab):
    first, second = visit(lab.person("owner")), visit(lab.person("owner"))
    first.send("/sign-out")
    assert opens(second, lab) == OPEN


def test_a_session_ends_when_the_password_changes(visit, lab):
    visitor = visit(lab.person("owner"))
    assert opens(visitor, lab) == OPEN
    with_password(lab)
    assert opens(visitor, lab) == CLOSED


def test_a_session_ends_when_its_person_is_deactivated(visit, lab):
    visitor = visit(lab.person("owner"))
    lab.person("owner").__class__.objects.update(is_active=False)
    assert opens(visitor, lab) == CLOSED


def test_a_session_ends_with_its_time(visit, lab):
    from django.utils import timezone

    from trainshed.server.records.models import Session

    visitor = visit(lab.person("owner"))
    Session.objects.update(expire_date=timezone.now())
    assert opens(visitor, lab) == CLOSED


def test_a_session_that_nobody_made_opens_nothing(visit, lab):
    visitor = visit()
    visitor.page("/setup")
    visitor.http.cookies.set("sessionid", "x" * 32, domain=visitor.http.base_url.host)
    assert opens(visitor, lab) == CLOSED


# Tokens of one's own


def test_a_token_is_made_shown_once_and_revoked(owner, lab):
    made = Page(owner.send("/settings/tokens", {"name": "laptop", "days": "7"}).text)
    secret = made.all("code")[0].text
    assert secret.startswith("tsp_")
    bearer = {"Authorization": f"Bearer {secret}"}
    assert owner.http.get("/api/v1/me", headers=bearer).status_code == 200
    page = owner.page("/settings/tokens")
    assert secret not in page.source and "laptop" in page.text
    (form,) = [form for form in page.all("form") if "/revoke" in form.attributes.get("action", "")]
    assert owner.send(form.attributes["action"]).status_code == 302
    assert owner.http.get("/api/v1/me", headers=bearer).status_code == 401
    assert "laptop" not in owner.page("/settings/tokens").text


def test_a_page_with_a_secret_is_kept_by_no_cache(owner):
    assert owner.send("/settings/tokens", {"name": "laptop", "days": "7"}).headers["cache-control"] == "no-store"


def test_a_reload_behind_a_new_token_makes_no_second_one(owner):
    (key,) = (field.attributes["value"] for field in owner.page("/settings/tokens").all("input", name="key"))
    form = {"name": "laptop", "days": "7", "key": key}
    assert "not shown again" in Page(owner.send("/settings/tokens", form).text).text
    reloaded = Page(owner.send("/settings/tokens", form).text)
    assert "was sent already" in reloaded.text
    assert len(owner.ask("GET", "/tokens").json()["items"]) == 1
    (other,) = (field.attributes["value"] for field in reloaded.all("input", name="key"))
    owner.send("/settings/tokens", form | {"key": other})
    assert len(owner.ask("GET", "/tokens").json()["items"]) == 2


@pytest.mark.parametrize(
    ("name", "days"),
    [(" ", "7"), ("a", "0"), ("a", "-1"), ("a", "１"), ("a", "9" * 30), ("a", "9" * 5000), ("\u200b", "7"), ("a", "")],
)
def test_a_token_that_cannot_be_is_refused_with_words(owner, name, days):
    page = Page(owner.send("/settings/tokens", {"name": name, "days": days}).text)
    assert page.all("div", role="alert") and not page.all("code")


def test_another_persons_token_is_not_revoked(owner, lab):
    from server.api_client import make_token
    from trainshed.server.records.models import Token

    secret = make_token(make_person())
    id_ = Token.objects.exclude(person=lab.person("owner")).get(kind="personal").id
    assert owner.send(f"/settings/tokens/{id_}/revoke").status_code == 404
    assert owner.http.get("/api/v1/me", headers={"Authorization": f"Bearer {secret}"}).status_code == 200


def test_an_expired_token_in_a_page_request_does_not_fall_back_to_the_session(owner, lab):
    """Who names a token is who the token is: the session says nothing then."""
    expired = lab.token("owner", expires_at=time.time() - 1)
    answer = owner.http.get("/api/v1/me", headers={"Authorization": f"Bearer {expired}"})
    problem(answer, 401, "not_signed_in")
