"""The honest flows of OpenID Connect, asked of our double and of somebody else's alike; and that ours can misbehave."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import httpx
import pytest

from testing.relying_party import CALLBACK, Distrust, RelyingParty
from trainshed.testing.codes import Client
from trainshed.testing.hostile_oidc import MISBEHAVIOURS, Account, HostileOidc

ADA = Account("ada-1815", "ada@example.org", "Ada Lovelace")
START_SECONDS = 60.0
# What a provider does too little of, and no client can see.
LAX = {"ignores_pkce", "accepts_used_codes"}


@pytest.fixture(scope="module", params=["ours", "oidc-provider-mock"])
def provider(request: pytest.FixtureRequest) -> Iterator[tuple[str, str, str]]:
    """(issuer, client id, client secret) of a running provider that knows Ada."""
    if request.param == "ours":
        with HostileOidc(Client("client", "a secret", (CALLBACK,)), ADA, asks=True) as ours:
            yield ours.issuer, "client", "a secret"
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        issuer = f"http://127.0.0.1:{free.getsockname()[1]}"
    claims = f'{{"sub": "{ADA.subject}", "email": "{ADA.email}", "email_verified": true, "name": "{ADA.name}"}}'
    options = ["--port", issuer.rpartition(":")[2], "--user-claims", claims, "--require-registration", "true"]
    command = [sys.executable, "-W", "ignore", "-m", "oidc_provider_mock", *options]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_until_it_answers(issuer, process)
        asked = {"redirect_uris": [CALLBACK], "token_endpoint_auth_method": "client_secret_basic"}
        made = httpx.post(f"{issuer}/oauth2/clients", json=asked).raise_for_status().json()
        yield issuer, made["client_id"], made["client_secret"]
    finally:
        process.terminate()
        process.wait(10)


def _wait_until_it_answers(issuer: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            httpx.get(issuer)
            return
        except httpx.ConnectError:
            assert process.poll() is None and time.monotonic() < deadline, "oidc-provider-mock did not start"
            time.sleep(0.05)


@pytest.fixture
def client(provider: tuple[str, str, str]) -> RelyingParty:
    return RelyingParty(*provider, sub=ADA.subject)


def test_the_metadata_name_their_own_issuer_and_every_endpoint(client: RelyingParty) -> None:
    found = client.metadata()
    endpoints = ("authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri")
    assert all(found[name].startswith(client.issuer) for name in endpoints)
    assert "code" in found["response_types_supported"]
    assert "RS256" in found["id_token_signing_alg_values_supported"]


def test_a_strict_client_learns_who_signed_in(client: RelyingParty) -> None:
    claims = client.sign_in()
    assert (claims["sub"], claims["nonce"]) == (ADA.subject, client.nonce)
    assert abs(claims["iat"] - time.time()) < 60 and claims["exp"] > time.time()


def test_user_info_tells_what_the_scopes_allow(client: RelyingParty) -> None:
    tokens = client.exchange(client.code()).raise_for_status().json()
    found = client.userinfo(tokens["access_token"])
    assert (found["email"], found["email_verified"], found["name"]) == (ADA.email, True, ADA.name)


def test_user_info_tells_nothing_without_a_token(client: RelyingParty) -> None:
    with pytest.raises(httpx.HTTPStatusError):
        client.userinfo("a guess")


def test_a_code_is_good_once(client: RelyingParty) -> None:
    code = client.code()
    assert client.exchange(code).status_code == 200
    assert client.exchange(code).json()["error"] == "invalid_grant"


def test_a_code_is_good_only_with_its_verifier(client: RelyingParty) -> None:
    if "S256" not in client.metadata().get("code_challenge_methods_supported", ()):
        pytest.skip("this provider does not know PKCE")
    for changes in ({"code_verifier": "another" * 8}, {"code_verifier": ""}):
        assert client.exchange(client.code(), **changes).json()["error"] == "invalid_grant"


def test_a_code_is_good_only_with_its_redirect_address(client: RelyingParty) -> None:
    answer = client.exchange(client.code(), redirect_uri=f"{CALLBACK}/elsewhere")
    assert answer.status_code == 400 and "id_token" not in answer.json()


def test_only_the_client_itself_gets_tokens(client: RelyingParty) -> None:
    code = client.code()
    client.client_secret = "a guess"
    assert client.exchange(code).json()["error"] == "invalid_client"


def test_an_unknown_redirect_address_gets_no_redirect(client: RelyingParty) -> None:
    answer = client.ask(redirect_uri="http://127.0.0.1:2/elsewhere")
    assert answer.status_code == 400 and "location" not in answer.headers


def test_a_refresh_token_brings_a_new_access_token(client: RelyingParty) -> None:
    first = client.exchange(client.code()).json()
    second = client.token({"grant_type": "refresh_token", "refresh_token": first["refresh_token"]})
    assert second.status_code == 200, second.text
    assert second.json()["access_token"] != first["access_token"]
    assert client.userinfo(second.json()["access_token"])["sub"] == ADA.subject
    guessed = client.token({"grant_type": "refresh_token", "refresh_token": "a guess"})
    assert guessed.json()["error"] == "invalid_grant"


@pytest.fixture(scope="module")
def hostile() -> Iterator[HostileOidc]:
    with HostileOidc(Client("client", "a secret", (CALLBACK,)), ADA) as running:
        yield running


@pytest.fixture
def victim(hostile: HostileOidc) -> Iterator[RelyingParty]:
    hostile.behave()
    yield RelyingParty(hostile.issuer, "client", "a secret", sub=ADA.subject)
    hostile.behave()


@pytest.mark.parametrize("name", sorted(MISBEHAVIOURS.keys() - LAX))
def test_a_strict_client_refuses_each_misbehaviour(hostile: HostileOidc, victim: RelyingParty, name: str) -> None:
    assert victim.sign_in()["sub"] == ADA.subject
    hostile.misbehaviours = {name}
    with pytest.raises(Distrust):
        victim.sign_in()
    assert set(hostile.done) == {name}


def test_a_lax_provider_takes_any_verifier_and_a_code_twice(hostile: HostileOidc, victim: RelyingParty) -> None:
    hostile.misbehaviours = LAX
    code = victim.code()
    assert [victim.exchange(code, code_verifier="another").status_code for _ in range(2)] == [200, 200]


def test_pkce_is_demanded(hostile: HostileOidc, victim: RelyingParty) -> None:
    assert "error=invalid_request" in victim.ask(code_challenge="").headers["location"]


def test_an_unknown_misbehaviour_is_an_error_of_the_test(hostile: HostileOidc) -> None:
    hostile.misbehaviours = {"wrong_nonse"}
    with pytest.raises(KeyError, match="wrong_nonse"):
        hostile._does("wrong_nonce")
