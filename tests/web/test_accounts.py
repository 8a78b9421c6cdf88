"""Accounts as a person meets them: making one, proving an address, a password, a second factor, browsers, leaving."""

from __future__ import annotations

import base64
import hmac
import re
import struct
import time
from collections.abc import Iterator
from typing import Any

import pytest

from server.api_client import make_person, ok, problem
from web.test_signing_in import with_password
from web.visitors import PASSWORD, Page, Visitor

NEW = {"name": "Grace Ünlü", "email": "grace@uni.example", "password1": PASSWORD}


@pytest.fixture
def mails(django: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """The mails that were sent, the newest last."""
    from django.conf import settings
    from django.core import mail

    monkeypatch.setattr(settings, "EMAIL_BACKEND", "django.core.mail.backends.locmem.EmailBackend")
    mail.outbox = []
    yield mail.outbox


@pytest.fixture
def policy(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets who may make an account, and whether an address has to be proved first."""
    from django.conf import settings

    def set_policy(sign_up: str, verification: str = "mandatory") -> None:
        monkeypatch.setenv("TRAINSHED_SIGN_UP", sign_up)
        monkeypatch.setattr(settings, "ACCOUNT_EMAIL_VERIFICATION", verification)

    return set_policy


def link_in(mail: Any) -> str:
    """The address of ours that a mail leads to, without the host."""
    found = re.search(r"http://[^/\s]+(/\S+)", mail.body)
    assert found, mail.body
    return found.group(1)


def is_signed_in(visitor: Visitor) -> bool:
    return visitor.ask("GET", "/me").status_code == 200


def sign_in_freshly(visitor: Visitor, email: str, password: str = PASSWORD) -> None:
    """Signed in, and asked once more just now: what changes a way in wants that."""
    visitor.sign_in(email, password)
    assert visitor.send("/sign-in/again", {"password": password, "next": "/settings"}).status_code == 302


def code_of(secret: str) -> str:
    """What an authenticator app shows now (RFC 6238, with the 30 s, 6 digits and SHA-1 that all apps take)."""
    key = base64.b32decode(secret + "=" * (-len(secret) % 8))
    digest = hmac.digest(key, struct.pack(">Q", int(time.time()) // 30), "sha1")
    start = digest[-1] & 15
    return f"{(struct.unpack('>I', digest[start : start + 4])[0] & 0x7FFFFFFF) % 1_000_000:06}"


# Making one


def test_nobody_makes_an_account_where_sign_up_is_closed(visit, lab, policy):
    policy("closed")
    visitor = visit()
    assert "invitation" in visitor.page("/sign-up").text
    assert "Make an account" not in visitor.page("/sign-in").text
    answer = visitor.send("/sign-up", NEW)
    from trainshed.server.records.models import Person

    assert not Person.objects.filter(email=NEW["email"]).exists() and not is_signed_in(visitor), answer.text


def test_an_open_installation_wants_the_address_proved_before_anybody_is_in(visit, lab, policy, mails):
    policy("open")
    visitor = visit()
    assert visitor.send("/sign-up", NEW).headers["location"] == "/email/sent"
    assert not is_signed_in(visitor)
    visitor.sign_in(NEW["email"])
    assert not is_signed_in(visitor), "an address that is not proved opens nothing"
    (mail, *_) = mails
    assert mail.to == [NEW["email"]]
    page = visitor.page(link_in(mail))
    assert page.heading == "Is this address yours?"
    assert visitor.send(link_in(mail)).status_code == 302
    visitor.sign_in(NEW["email"])
    me = ok(visitor.ask("GET", "/me"))
    assert (me["name"], me["email"], me["is_administrator"]) == (NEW["name"], NEW["email"], False)
    (mine,) = [workspace for workspace in me["workspaces"] if not workspace["is_shelf"]]
    assert mine["role"] == "owner" and mine["projects"]


@pytest.mark.parametrize(
    ("email", "is_welcome"),
    [
        ("a@uni.example", True),
        ("A@LAB.example", True),
        ("a@evil.example", False),
        ("a@sub.uni.example", False),
        ("a@uni.example.evil.example", False),
        ("a@evil-uni.example", False),
    ],
)
def test_only_the_domains_of_the_setting_may_sign_up(visit, lab, policy, mails, email, is_welcome):
    policy("uni.example, @lab.example")
    answer = visit().send("/sign-up", {**NEW, "email": email})
    assert (answer.headers.get("location") == "/email/sent") == is_welcome
    assert bool(mails) == is_welcome


def test_an_invite_opens_a_closed_installation_and_proves_the_address_that_it_was_sent_to(visit, lab, policy, mails):
    policy("closed")
    _, secret = lab.invite("editor", NEW["email"])
    visitor = visit()
    visitor.get(f"/invite/{secret}")
    assert (
        visitor.page(f"/sign-up?next=/invite/{secret}").all("input", name="email")[0].attributes["value"]
        == NEW["email"]
    )
    answer = visitor.send(f"/sign-up?next=/invite/{secret}", {**NEW, "next": f"/invite/{secret}"})
    assert (answer.status_code, answer.headers["location"]) == (302, f"/invite/{secret}"), answer.text
    assert visitor.send(f"/invite/{secret}").status_code == 302
    roles = {one["id"]: one["role"] for one in ok(visitor.ask("GET", "/me"))["workspaces"]}
    assert roles[lab.workspace_id] == "editor"


def test_an_invite_to_one_address_makes_no_account_for_another(visit, lab, policy, mails):
    policy("closed")
    _, secret = lab.invite("editor", "somebody@else.example")
    visitor = visit()
    visitor.get(f"/invite/{secret}")
    assert "invite" in visitor.send("/sign-up", NEW).text and not is_signed_in(visitor)


@pytest.mark.parametrize("how", ["revoked_at", "accepted_at", "expired"])
def test_an_invite_that_does_not_hold_opens_nothing(visit, lab, policy, how):
    policy("closed")
    row, secret = lab.invite("editor", days=-1 if how == "expired" else 7)
    if how != "expired":
        setattr(row, how, time.time())
        row.save()
    visitor = visit()
    visitor.get(f"/invite/{secret}")
    visitor.send("/sign-up", NEW)
    from trainshed.server.records.models import Person

    assert not Person.objects.filter(email=NEW["email"]).exists()


def test_an_address_that_has_an_account_is_not_told(visit, lab, policy, mails):
    """Who knows an address learns nothing: the answer is the same, and the owner of the address gets a mail."""
    policy("open")
    taken = with_password(lab)
    answers = [visit().send("/sign-up", {**NEW, "email": email}) for email in (taken, "free@uni.example")]
    assert [answer.headers.get("location") for answer in answers] == ["/email/sent", "/email/sent"]
    assert [mail.to for mail in mails] == [[taken], ["free@uni.example"]]


@pytest.mark.parametrize(("field", "value"), [("name", "\u200b"), ("password1", "short"), ("email", "no address")])
def test_what_is_wrong_in_a_new_account_stands_at_its_field(visit, lab, policy, field, value):
    policy("open")
    page = Page(visit().send("/sign-up", {**NEW, field: value}).text)
    wrong = [one.attributes["name"] for one in page.elements if one.attributes.get("aria-invalid") == "true"]
    assert wrong == [field]
    assert PASSWORD not in page.source


# A new password


def test_a_forgotten_password_is_chosen_anew_and_ends_every_session(visit, lab, mails):
    email = with_password(lab)
    before, visitor = visit(), visit()
    before.sign_in(email)
    assert visitor.send("/password/forgotten", {"email": email}).headers["location"] == "/password/forgotten/sent"
    link = link_in(mails[-1])
    form = visitor.get(link).headers["location"]
    assert visitor.page(form).heading == "A new password"
    new = "another battery horse"
    assert visitor.send(form, {"password1": new, "password2": new}).status_code == 302
    assert not is_signed_in(before)
    assert visit().sign_in(email).status_code == 200, "the old one is refused"
    assert visit().sign_in(email, new).status_code == 302
    assert "used already" in visit().page(link).text


def test_a_link_for_a_new_password_is_for_one_person_alone(visit, lab, mails):
    email, other = with_password(lab), make_person()
    visit().send("/password/forgotten", {"email": email})
    from allauth.account.utils import user_pk_to_url_str

    link = link_in(mails[-1])
    theirs = re.sub(r"/new/[^-]+-", f"/new/{user_pk_to_url_str(other)}-", link)
    assert "used already" in visit().page(theirs).text


def test_nobody_learns_whether_an_address_has_an_account(visit, lab, mails):
    known, unknown = with_password(lab), "nobody@uni.example"
    answers = [visit().send("/password/forgotten", {"email": email}) for email in (known, unknown)]
    assert len({answer.headers["location"] for answer in answers}) == 1
    assert [mail.to for mail in mails] == [[known]]


def test_changing_the_password_signs_out_every_other_browser_and_keeps_this_one(visit, lab, mails):
    email = with_password(lab)
    this, other = visit(), visit()
    for visitor in (this, other):
        sign_in_freshly(visitor, email)
    new = "another battery horse"
    wrong = this.send("/settings/password", {"oldpassword": "wrong", "password1": new, "password2": new})
    assert "The password is wrong" in wrong.text and is_signed_in(other)
    this.send("/settings/password", {"oldpassword": PASSWORD, "password1": new, "password2": new})
    assert is_signed_in(this) and not is_signed_in(other)
    assert mails[-1].to == [email], "the person is told by mail"


def test_another_address_counts_once_it_is_proved(visit, lab, mails):
    email, visitor = with_password(lab), visit()
    sign_in_freshly(visitor, email)
    visitor.send("/settings/email", {"action_add": "", "email": "new@uni.example"})
    assert ok(visitor.ask("GET", "/me"))["email"] == email
    proof = next(mail for mail in mails if mail.to == ["new@uni.example"])
    visitor.send(link_in(proof))
    assert ok(visitor.ask("GET", "/me"))["email"] == "new@uni.example"


# The second factor


@pytest.fixture
def guarded(visit, lab) -> tuple[str, str, list[str]]:
    """Somebody with an authenticator app: (e-mail, the app's secret, recovery codes)."""
    email, visitor = with_password(lab), visit()
    sign_in_freshly(visitor, email)
    page = visitor.page("/settings/second-factor/app")
    (secret,) = [one.text for one in page.all("code")]
    assert visitor.send("/settings/second-factor/app", {"code": "000000"}).status_code == 200
    answer = visitor.send("/settings/second-factor/app", {"code": code_of(secret)})
    assert answer.status_code == 302, answer.text
    codes = [
        one.text for one in visitor.page("/settings/second-factor/codes").all("li") if re.fullmatch(r"\S{8,}", one.text)
    ]
    assert len(codes) == 10
    from django.core.cache import cache

    cache.clear()  # the code of this half minute may be used once more
    return email, secret, codes


def test_a_password_alone_does_not_sign_in_whoever_has_a_second_factor(visit, guarded):
    email, secret, _ = guarded
    visitor = visit()
    assert visitor.sign_in(email).headers["location"] == "/sign-in/second-factor"
    assert not is_signed_in(visitor)
    assert visitor.send("/sign-in/second-factor", {"code": "123456"}).status_code == 200 and not is_signed_in(visitor)
    assert visitor.send("/sign-in/second-factor", {"code": code_of(secret)}).status_code == 302
    assert is_signed_in(visitor)


def test_a_code_works_once(visit, guarded):
    email, secret, codes = guarded
    for code in (code_of(secret), codes[0]):
        first, second = visit(), visit()
        for visitor in (first, second):
            visitor.sign_in(email)
            visitor.send("/sign-in/second-factor", {"code": code})
        assert is_signed_in(first) and not is_signed_in(second)


def test_rest_asks_for_the_second_factor_too(nobody, guarded):
    email, secret, codes = guarded
    said = {"email": email, "password": PASSWORD}
    problem(nobody.post("/sign-in", said), 401, "second_factor_needed")
    problem(nobody.post("/sign-in", {**said, "code": "123456"}), 401, "second_factor_needed")
    problem(nobody.post("/sign-in", {**said, "password": "wrong", "code": code_of(secret)}), 401, "not_signed_in")
    assert ok(nobody.post("/sign-in", {**said, "code": code_of(secret)}), 201)["token"]
    assert ok(nobody.post("/sign-in", {**said, "code": codes[1]}), 201)["token"]
    problem(nobody.post("/sign-in", {**said, "code": codes[1]}), 401, "second_factor_needed")


def test_codes_cannot_be_guessed_through(nobody, guarded):
    said = {"email": guarded[0], "password": PASSWORD}
    statuses = [nobody.post("/sign-in", {**said, "code": f"{number:06}"}).status_code for number in range(15)]
    assert statuses[-1] == 429 and statuses.count(401) <= 10


def test_switching_it_off_asks_again_who_it_is_and_then_the_password_is_enough(visit, guarded):
    email, secret, _ = guarded
    visitor = visit()
    visitor.sign_in(email)
    visitor.send("/sign-in/second-factor", {"code": code_of(secret)})
    assert "/again" in visitor.send("/settings/second-factor/app/off").headers["location"]
    # What was asked before goes on after the question.
    visitor.send("/sign-in/again?next=/settings/second-factor/app/off", {"password": PASSWORD})
    assert visit().sign_in(email).headers["location"] == "/"


def test_codes_cannot_be_guessed_through_on_the_page_either(visit, guarded):
    visitor = visit()
    visitor.sign_in(guarded[0])
    told = [visitor.send("/sign-in/second-factor", {"code": f"{number:06}"}).text for number in range(12)]
    assert "too many tries" in told[-1] and "too many tries" not in told[0]
    visitor.send("/sign-in/second-factor", {"code": code_of(guarded[1])})
    assert not is_signed_in(visitor), "the right code comes too late"


# Browsers


def test_a_person_sees_their_browsers_and_signs_one_out(visit, lab):
    email = with_password(lab)
    this, other, stranger = visit(), visit(), visit(lab.person("viewer"))
    other.http.headers["User-Agent"] = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
    for visitor in (this, other):
        visitor.sign_in(email)
    listed = ok(this.ask("GET", "/sessions"))["items"]
    assert [one["is_current"] for one in listed] == [True, False]
    assert "Firefox on Linux" in this.page("/settings/sessions").text
    problem(stranger.ask("DELETE", f"/sessions/{listed[1]['id']}"), 404, "not_found")
    this.send("/settings/sessions", {"session": listed[1]["id"]})
    assert is_signed_in(this) and not is_signed_in(other) and is_signed_in(stranger)


def test_all_others_are_signed_out_at_once(visit, lab):
    email = with_password(lab)
    browsers = [visit() for _ in range(3)]
    for visitor in browsers:
        visitor.sign_in(email)
    browsers[0].send("/settings/sessions")
    assert [is_signed_in(visitor) for visitor in browsers] == [True, False, False]


# Leaving


def test_an_account_is_deleted_with_what_is_personal_and_shared_work_stays(visit, lab):
    from trainshed.server.records.models import AuditRow, Dataset, Membership, Person

    email, dataset = with_password(lab), lab.dataset()
    Membership.objects.create(workspace_id=lab.workspace_id, person=make_person(), role="owner")
    visitor = visit()
    sign_in_freshly(visitor, email)
    person = lab.person("owner")
    assert "as it is shown" in visitor.send("/settings/delete", {"email": "other@example.org"}).text
    answer = visitor.send("/settings/delete", {"email": email})
    assert answer.headers.get("location") == "/sign-in", Page(answer.text).text
    assert not is_signed_in(visitor)
    assert not Person.objects.filter(id=person.id).exists() and Dataset.objects.filter(id=dataset.id).exists()
    told = AuditRow.objects.filter(actor=f"person:{person.id}")
    assert told.exists() and not told.exclude(address="").exists()
    assert visit().sign_in(email).status_code == 200


def test_the_last_owner_of_what_others_use_hands_it_over_first(visit, lab):
    email = with_password(lab)
    lab.person("viewer")
    visitor = visit()
    sign_in_freshly(visitor, email)
    assert "only owner" in visitor.send("/settings/delete", {"email": email}).text
    assert is_signed_in(visitor)


# Letting a command line in


ASKED = {
    "redirect_uri": "http://127.0.0.1:40123/signed-in",
    "state": "s" * 16,
    "challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",  # of the verifier in RFC 7636, appendix B
    "name": "ada's laptop",
}
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"


def asked(**changed: str) -> str:
    from urllib.parse import urlencode

    return f"/sign-in/terminal?{urlencode(ASKED | changed)}"


def test_a_command_line_is_let_in_once_by_who_asked_for_it(owner, nobody):
    assert "ada's laptop" in owner.page(asked()).text
    page = Page(owner.send(asked()).text)
    (link,) = [
        one.attributes["href"] for one in page.all("a") if one.attributes.get("href", "").startswith("http://127")
    ]
    code = re.search(r"code=([^&]+)&state=s{16}$", link).group(1)
    problem(nobody.post("/login-codes", {"code": code, "verifier": "x" * 43}), 401, "not_signed_in")
    problem(nobody.post("/login-codes", {"code": code, "verifier": VERIFIER}), 401, "not_signed_in")  # used up by it
    page = Page(owner.send(asked()).text)
    code = re.search(r"code=([^&]+)&", page.source.replace("&amp;", "&")).group(1)
    token = ok(nobody.post("/login-codes", {"code": code, "verifier": VERIFIER}), 201)["token"]
    assert ok(nobody.as_(token).get("/me"))["email"] == ok(owner.ask("GET", "/me"))["email"]
    problem(nobody.post("/login-codes", {"code": code, "verifier": VERIFIER}), 401, "not_signed_in")


@pytest.mark.parametrize(
    "elsewhere",
    ["https://evil.example/", "http://evil.example:80/x", "http://127.0.0.1@evil.example:1/", "http://127.0.0.1/x",
     "http://localhost.evil.example:1/", "http://127.0.0.1:1/x?next=http://evil", "javascript:alert(1)//:1", "http://[::1"],
)  # fmt: skip
def test_a_code_goes_nowhere_but_to_this_machines_loopback(owner, elsewhere):
    answer = owner.send(asked(redirect_uri=elsewhere))
    assert answer.status_code == 422 and "code=" not in answer.text


def test_no_makes_no_code(owner):
    from trainshed.server.records.models import LoginCode

    assert "access_denied" in owner.send(asked(), {"no": "1"}).text
    assert not LoginCode.objects.exists()


def test_a_stranger_signs_in_first_and_comes_back(visit, lab):
    answer = visit().get(asked())
    assert answer.headers["location"].startswith("/sign-in?next=%2Fsign-in%2Fterminal%3F")


def test_an_old_code_is_worth_nothing(owner, nobody):
    from trainshed.server.records.models import LoginCode

    page = Page(owner.send(asked()).text)
    code = re.search(r"code=([^&]+)&", page.source.replace("&amp;", "&")).group(1)
    LoginCode.objects.update(expires_at=time.time() - 1)
    problem(nobody.post("/login-codes", {"code": code, "verifier": VERIFIER}), 401, "not_signed_in")
