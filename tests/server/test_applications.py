"""Other applications that sign people in with this server, over HTTP: what they are told, and how long it holds."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urljoin

import httpx
import jwt
import pytest

from server.api_client import Lab
from testing.relying_party import CALLBACK, RelyingParty
from trainshed.errors import StartRefused
from web.conftest import Visit
from web.test_signing_in import with_password
from web.visitors import PASSWORD, Page, Visitor

SECRET = "the secret of the notebooks"
_UNPROVED = {"verify_signature": False}
NOTEBOOKS = {"id": "notebooks", "name": "Notebooks", "secret": SECRET, "redirect_uris": [CALLBACK]}


@pytest.fixture
def settle(monkeypatch: pytest.MonkeyPatch, lab: Lab) -> Any:
    """Starts the installation anew with these applications in its settings."""

    def register(*said: Any) -> None:
        from trainshed.server.services import applications

        monkeypatch.setenv("TRAINSHED_OIDC_CLIENTS", json.dumps(said))
        applications.register()

    return register


@pytest.fixture
def party(site: str, settle: Any) -> RelyingParty:
    settle(NOTEBOOKS)
    return RelyingParty(site, "notebooks", SECRET)


@pytest.fixture
def ann(visit: Visit, lab: Lab) -> Visitor:
    """A browser in which the owner has signed in with the password."""
    visitor = visit()
    visitor.sign_in(with_password(lab))
    return visitor


@pytest.fixture
def other(visit: Visit, ann: Visitor, lab: Lab) -> Visitor:
    """Another browser of hers."""
    visitor = visit()
    visitor.sign_in(str(lab.person("owner").email))
    return visitor


def led_to(answer: httpx.Response) -> str:
    """Where an answer sends the browser: by itself, or by the page that leaves this site."""
    refreshed = [one.attributes["content"] for one in Page(answer.text).all("meta", http_equiv="refresh")]
    found = answer.headers.get("location") or (refreshed[0].partition("url=")[2] if refreshed else "")
    return urljoin(str(answer.request.url), found) if found else ""


def granted(party: RelyingParty, visitor: Visitor, **changes: str) -> str:
    """The code that the application gets when this browser comes with its question."""
    return party.code_in(led_to(visitor.get(party.address(**changes))))


def tokens_of(party: RelyingParty, visitor: Visitor) -> dict[str, Any]:
    answer = party.exchange(granted(party, visitor))
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def error(answer: httpx.Response) -> str:
    """The error of a refused request for tokens."""
    assert 400 <= answer.status_code < 500, (answer.status_code, answer.text)
    assert "access_token" not in answer.text
    return str(answer.json()["error"])


def is_known(party: RelyingParty, access_token: str) -> bool:
    address = party.metadata()["userinfo_endpoint"]
    status = httpx.get(address, headers={"Authorization": f"Bearer {access_token}"}).status_code
    assert status in (200, 401)
    return status == 200


# What is said


def test_an_application_is_told_who_it_is_in_a_token_that_proves_itself(party, ann, lab):
    told = tokens_of(party, ann)
    claims = party.verified(told["id_token"])
    person = lab.person("owner")
    wanted = {"sub": person.id, "name": person.name, "email": person.email, "email_verified": True}
    assert wanted.items() <= claims.items()
    assert wanted.items() <= party.userinfo(told["access_token"]).items()
    assert (told["token_type"], told["expires_in"] <= 240) == ("Bearer", True)


def test_only_what_an_application_asks_for_is_told(party, ann):
    claims = party.verified(party.exchange(granted(party, ann, scope="openid")).json()["id_token"])
    assert not {"name", "email"} & claims.keys()


def test_our_description_offers_what_we_do_and_nothing_else(party):
    told = party.metadata()
    assert told["grant_types_supported"] == ["authorization_code", "refresh_token"]
    assert told["response_types_supported"] == ["code"] and told["code_challenge_methods_supported"] == ["S256"]
    assert told["token_endpoint_auth_methods_supported"] == ["client_secret_basic", "client_secret_post"]
    assert not [name for name in told if "device" in name or "registration" in name]
    assert httpx.get(f"{party.issuer}/identity/device").status_code == 404
    grant = {"grant_type": "urn:ietf:params:oauth:grant-type:device_code", "device_code": "x"}
    assert error(party.token(grant)) == "invalid_grant"


def test_the_issuer_is_the_public_address_where_there_is_one(party, ann, monkeypatch):
    code, inside = granted(party, ann), party.issuer
    monkeypatch.setenv("TRAINSHED_PUBLIC_URL", "https://train.example.org/")
    told = httpx.get(f"{inside}/.well-known/openid-configuration").json()
    monkeypatch.setattr(party, "metadata", lambda: told)
    id_token = party.exchange(code).json()["id_token"]
    assert told["issuer"] == "https://train.example.org" == jwt.decode(id_token, options=_UNPROVED)["iss"]


# Who is asked for


def test_whoever_is_not_signed_in_signs_in_first(party, visit, site, lab):
    email, visitor = with_password(lab), visit()
    page = led_to(visitor.get(party.address()))
    assert page.startswith(f"{site}/sign-in?next=")
    answer = visitor.sign_in(email, next_=str(httpx.URL(page).params["next"]))
    back = led_to(visitor.get(led_to(answer)))
    assert party.verified(party.exchange(party.code_in(back)).json()["id_token"])["email"] == email


def test_with_prompt_none_nobody_is_asked(party, visit):
    assert "error=login_required" in led_to(visit().get(party.address(prompt="none")))


# Codes


def test_a_code_is_good_once_however_many_ask_at_once(party, ann):
    code = granted(party, ann)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: party.exchange(code), range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 400, 400, 400]
    assert error(party.exchange(code)) == "invalid_grant"


@pytest.mark.parametrize(
    "change",
    [{"code_verifier": "x" * 43}, {"code_verifier": ""}, {"redirect_uri": f"{CALLBACK}/more"}, {"redirect_uri": ""}],
    ids=str,
)
def test_a_code_is_worth_nothing_with(party, ann, change):
    code = granted(party, ann)
    assert error(party.exchange(code, **change)) in ("invalid_grant", "invalid_request")
    assert error(party.exchange(code)) == "invalid_grant", "whoever guesses has one guess"


@pytest.mark.parametrize(
    "address", ["http://evil.example/callback", f"{CALLBACK}/more", "http://127.0.0.1:2/callback", ""]
)
def test_a_code_goes_only_to_an_address_of_the_settings(party, ann, address):
    answer = ann.get(party.address(redirect_uri=address))
    assert led_to(answer) == "" and answer.status_code == 422 and address in Page(answer.text).text


def test_an_application_that_the_settings_do_not_name_gets_nothing(party, ann):
    answer = ann.get(party.address(client_id="somebody-else"))
    assert led_to(answer) == "" and answer.status_code == 422 and "TRAINSHED_OIDC_CLIENTS" in answer.text
    code = granted(party, ann)
    party.client_id = "somebody-else"
    assert error(party.exchange(code)) in ("invalid_client", "invalid_grant")


def test_a_wrong_secret_gets_nothing(party, ann):
    code, kept = granted(party, ann), tokens_of(party, ann)["refresh_token"]
    party.client_secret = "another secret"
    assert error(party.exchange(code)) == error(party.refresh(kept)) == "invalid_client"


def test_what_one_application_holds_is_worth_nothing_to_another(party, settle, ann):
    settle(NOTEBOOKS, {**NOTEBOOKS, "id": "wiki", "secret": "the wiki's"})
    code, kept = granted(party, ann), tokens_of(party, ann)["refresh_token"]
    wiki = RelyingParty(party.issuer, "wiki", "the wiki's", verifier=party.verifier)
    assert error(wiki.exchange(code)) == error(wiki.refresh(kept)) == "invalid_grant"


# How long it holds


def test_a_refresh_token_is_changed_for_a_new_one_and_the_old_one_is_refused(party, ann):
    first = tokens_of(party, ann)
    second = party.refresh(first["refresh_token"]).json()
    assert is_known(party, second["access_token"]) and second["expires_in"] <= 240
    assert second["refresh_token"] != first["refresh_token"]
    assert error(party.refresh(first["refresh_token"])) == "invalid_grant"
    assert party.refresh(second["refresh_token"]).status_code == 200


def _sign_out(ann: Visitor, other: Visitor, lab: Lab) -> None:
    assert ann.send("/sign-out").status_code == 302


def _sign_out_elsewhere(ann: Visitor, other: Visitor, lab: Lab) -> None:
    assert other.send("/settings/sessions").status_code == 302


def _change_password(ann: Visitor, other: Visitor, lab: Lab) -> None:
    new = "a wholly different passphrase"
    said = {"oldpassword": PASSWORD, "password": new, "password1": new, "password2": new}
    assert other.send("/settings/password", said).status_code == 302


def _switch_off(ann: Visitor, other: Visitor, lab: Lab) -> None:
    from trainshed.server.records.models import Person

    Person.objects.filter(id=lab.person("owner").id).update(is_active=False)


def _run_out(ann: Visitor, other: Visitor, lab: Lab) -> None:
    from datetime import timedelta

    from django.utils import timezone

    from trainshed.server.records.models import Session

    Session.objects.update(expire_date=timezone.now() - timedelta(seconds=1))


@pytest.mark.parametrize("end", [_sign_out, _sign_out_elsewhere, _change_password, _switch_off, _run_out])
def test_nothing_is_renewed_once_the_session_has_ended(party, ann, other, lab, end):
    kept, code = tokens_of(party, ann), granted(party, ann)
    end(ann, other, lab)
    assert error(party.refresh(kept["refresh_token"])) == "invalid_grant"
    assert error(party.exchange(code)) == "invalid_grant"


def test_the_browser_that_changes_the_password_stays_signed_in_and_so_do_its_applications(party, ann, lab):
    kept = tokens_of(party, ann)
    _change_password(ann, ann, lab)
    assert party.refresh(kept["refresh_token"]).status_code == 200


def test_a_sign_out_takes_the_access_token_back_at_once_and_leaves_other_browsers_theirs(party, ann, other, lab):
    mine, theirs = tokens_of(party, ann), tokens_of(party, other)
    _sign_out(ann, other, lab)
    assert not is_known(party, mine["access_token"])
    assert is_known(party, theirs["access_token"]) and party.refresh(theirs["refresh_token"]).status_code == 200


def test_an_application_may_give_a_token_back(party, ann):
    told = tokens_of(party, ann)
    httpx.post(
        party.metadata()["revocation_endpoint"],
        data={"token": told["access_token"]},
        auth=(party.client_id, party.client_secret),
    )
    assert not is_known(party, told["access_token"])


# The settings


def test_an_application_that_is_taken_out_of_the_settings_loses_its_tokens(party, settle, ann):
    told = tokens_of(party, ann)
    settle()
    assert not is_known(party, told["access_token"])
    assert error(party.refresh(told["refresh_token"])) in ("invalid_client", "invalid_grant")
    assert led_to(ann.get(party.address())) == ""


def test_an_application_keeps_its_tokens_when_nothing_of_it_changes(party, settle, ann):
    told = tokens_of(party, ann)
    settle({**NOTEBOOKS, "name": "Notebooks of the lab"})
    assert party.refresh(told["refresh_token"]).status_code == 200


@pytest.mark.parametrize(
    "said",
    ["{", "{}", '["a"]', '[{"id": "a"}]',
     '[{"id": "a", "name": "A", "secret": "s", "redirect_uris": "http://a.example/"}]',
     '[{"id": "a b", "name": "A", "secret": "s", "redirect_uris": ["http://a.example/"]}]'],
)  # fmt: skip
def test_a_setting_that_cannot_be_read_is_refused_at_the_start(lab, monkeypatch, said):
    from trainshed.server.services import applications

    monkeypatch.setenv("TRAINSHED_OIDC_CLIENTS", said)
    with pytest.raises(StartRefused, match="TRAINSHED_OIDC_CLIENTS"):
        applications.register()


def test_a_start_makes_the_applications_of_the_settings(lab, monkeypatch):
    from allauth.idp.oidc.models import Client

    from trainshed.server.services import installation

    monkeypatch.setenv("TRAINSHED_OIDC_CLIENTS", json.dumps([NOTEBOOKS]))
    installation.prepare()
    (client,) = Client.objects.all()
    assert (client.id, client.get_redirect_uris()) == ("notebooks", [CALLBACK])
    assert SECRET not in client.secret
