"""Dropbox's OAuth 2 as its guide describes it: consent, codes with PKCE, short access tokens, refresh tokens."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
import pytest

from trainshed.testing.codes import Client, s256
from trainshed.testing.fake_dropbox import DropboxAccount, FakeDropbox

CALLBACK = "http://127.0.0.1:1/callback"
VERIFIER = "v" * 43
ADA = DropboxAccount("dbid:ada", "ada@example.org", "Ada Lovelace")


@pytest.fixture(scope="module")
def dropbox() -> Iterator[FakeDropbox]:
    with FakeDropbox(Client("key", "secret", (CALLBACK,)), ADA) as running:
        yield running


def asked(dropbox: FakeDropbox, **changes: str) -> str:
    query = {
        "client_id": "key",
        "redirect_uri": CALLBACK,
        "response_type": "code",
        "state": "st&te",
        "code_challenge": s256(VERIFIER),
        "code_challenge_method": "S256",
        "token_access_type": "offline",
        **changes,
    }
    return f"{dropbox.url}/www/oauth2/authorize?{urlencode(query)}"


def said(answer: httpx.Response) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(answer.headers["location"]).query))


def code(dropbox: FakeDropbox, **changes: str) -> str:
    return said(httpx.post(asked(dropbox, **changes), data={"answer": "allow"}))["code"]


def exchange(dropbox: FakeDropbox, **form: str) -> httpx.Response:
    whole = {"grant_type": "authorization_code", "redirect_uri": CALLBACK, "code_verifier": VERIFIER, **form}
    return httpx.post(f"{dropbox.url}/api/oauth2/token", data=whole, auth=("key", "secret"))


def who(dropbox: FakeDropbox, token: str) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.post(f"{dropbox.url}/api/2/users/get_current_account", headers=headers)


def test_a_person_is_asked_and_sent_back_with_a_code_and_the_state(dropbox: FakeDropbox) -> None:
    page = httpx.get(asked(dropbox))
    assert page.status_code == 200 and "ada@example.org" in page.text
    answer = httpx.post(asked(dropbox), data={"answer": "allow"})
    assert answer.headers["location"].startswith(f"{CALLBACK}?")
    assert said(answer).keys() == {"code", "state"} and said(answer)["state"] == "st&te"


def test_a_person_may_say_no(dropbox: FakeDropbox) -> None:
    answer = said(httpx.post(asked(dropbox), data={"answer": "cancel"}))
    assert (answer["error"], answer["state"]) == ("access_denied", "st&te") and "code" not in answer


@pytest.mark.parametrize(
    "changes", [{"client_id": "another"}, {"redirect_uri": f"{CALLBACK}/elsewhere"}, {"response_type": "token"}]
)
def test_a_bad_request_gets_no_redirect(dropbox: FakeDropbox, changes: dict[str, str]) -> None:
    answer = httpx.post(asked(dropbox, **changes), data={"answer": "allow"})
    assert answer.status_code == 400 and "location" not in answer.headers


def test_a_token_says_whose_account_it_is(dropbox: FakeDropbox) -> None:
    tokens = exchange(dropbox, code=code(dropbox)).json()
    assert (tokens["token_type"], tokens["account_id"]) == ("bearer", ADA.account_id) and tokens["expires_in"] == 14400
    account = who(dropbox, tokens["access_token"]).json()
    assert (account["account_id"], account["email"], account["email_verified"]) == (ADA.account_id, ADA.email, True)
    assert account["name"]["display_name"] == ADA.name


def test_a_code_is_good_once_with_its_verifier_and_its_redirect_address(dropbox: FakeDropbox) -> None:
    used = code(dropbox)
    assert exchange(dropbox, code=used).status_code == 200
    refused = [
        exchange(dropbox, code=used),
        exchange(dropbox, code=code(dropbox), code_verifier="w" * 43),
        exchange(dropbox, code=code(dropbox), code_verifier=""),
        exchange(dropbox, code=code(dropbox), redirect_uri=f"{CALLBACK}/elsewhere"),
        exchange(dropbox, code="a guess"),
        exchange(dropbox, code=code(dropbox, code_challenge="", code_challenge_method="")),
    ]
    assert [(answer.status_code, answer.json()["error"]) for answer in refused] == [(400, "invalid_grant")] * 6


def test_only_the_application_itself_gets_tokens(dropbox: FakeDropbox) -> None:
    form = {"grant_type": "authorization_code", "code": code(dropbox), "redirect_uri": CALLBACK, "client_id": "key"}
    answer = httpx.post(f"{dropbox.url}/api/oauth2/token", data={**form, "client_secret": "a guess"})
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


def test_only_offline_access_brings_a_refresh_token(dropbox: FakeDropbox) -> None:
    assert "refresh_token" not in exchange(dropbox, code=code(dropbox, token_access_type="online")).json()
    tokens = exchange(dropbox, code=code(dropbox)).json()
    dropbox.expire_tokens()
    assert who(dropbox, tokens["access_token"]).json()["error"] == {".tag": "expired_access_token"}
    fresh = exchange(dropbox, grant_type="refresh_token", refresh_token=tokens["refresh_token"]).json()
    assert "refresh_token" not in fresh and who(dropbox, fresh["access_token"]).status_code == 200


def test_a_revoked_or_guessed_token_opens_nothing(dropbox: FakeDropbox) -> None:
    tokens = exchange(dropbox, code=code(dropbox)).json()
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    assert httpx.post(f"{dropbox.url}/api/2/auth/token/revoke", headers=headers).status_code == 200
    for token in (tokens["access_token"], "sl.a guess"):
        answer = who(dropbox, token)
        assert (answer.status_code, answer.json()["error"]) == (401, {".tag": "invalid_access_token"})
    refused = exchange(dropbox, grant_type="refresh_token", refresh_token=tokens["refresh_token"])
    assert refused.json()["error"] == "invalid_grant"
