"""Becoming known to a server by the command line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from trainshed.client import credentials
from trainshed.testing.fake_server import CODE, EMAIL, PASSWORD, FakeServer

Trainshed = Callable[..., Any]  # the fixture `trainshed`: arguments in, what it said out


def test_setup_keeps_the_token_and_says_what_is_next(trainshed: Trainshed, server: FakeServer) -> None:
    server.is_set_up = False
    said = trainshed(
        "setup",
        CODE,
        "--url",
        server.url,
        "--name",
        "Ada",
        "--email",
        EMAIL,
        "--password",
        "-",
        stdin=f"{PASSWORD}\n",
    )

    assert said.code == 0
    assert f"Signed in to {server.url} as {EMAIL}" in said.out
    assert "trainshed dataset import" in said.out
    assert credentials.read().servers[server.url] == credentials.Credential(server.token, EMAIL, "tok0")


def test_setup_takes_the_link_that_up_printed(trainshed: Trainshed, server: FakeServer) -> None:
    server.is_set_up = False
    said = trainshed(
        "setup",
        f"{server.url}/setup?code={CODE}",
        "--name",
        "Ada",
        "--email",
        EMAIL,
        "--password",
        PASSWORD,
        "--json",
    )

    assert said.json() == {"url": server.url, "email": EMAIL}
    assert server.asked_for("POST", "/setup")[0].json()["code"] == CODE


def test_a_refused_password_keeps_nothing(trainshed: Trainshed, server: FakeServer) -> None:
    server.is_set_up = False
    said = trainshed("setup", CODE, "--url", server.url, "--name", "A", "--email", EMAIL, "--password", "short")

    assert said.code == 1
    assert "too short" in said.err
    assert credentials.read().servers == {}


def test_what_is_missing_is_named_when_nobody_is_there_to_ask(trainshed: Trainshed, server: FakeServer) -> None:
    said = trainshed("setup", CODE, "--url", server.url, "--name", "Ada", "--email", EMAIL)

    assert said.code == 1
    assert "--password" in said.err
    assert not server.asked_for("POST", "/setup")


def test_login_by_password_makes_the_server_the_one_in_use(trainshed: Trainshed, server: FakeServer) -> None:
    said = trainshed("login", server.url, "--email", EMAIL, "--password", PASSWORD)

    assert said.code == 0
    assert trainshed("dataset", "list").code == 0
    assert server.asked_for("POST", "/sign-in")[0].json()["token_name"].startswith("trainshed login of ")


def test_login_by_token_proves_it_first(trainshed: Trainshed, server: FakeServer) -> None:
    assert trainshed("login", server.url, "--token", "wrong").code == 1
    assert credentials.read().servers == {}

    said = trainshed("login", server.url, "--token", "-", "--json", stdin=server.token + "\n")
    assert said.json()["email"] == EMAIL
    assert credentials.read().servers[server.url].token_id == ""


def test_a_wrong_password_is_told(trainshed: Trainshed, server: FakeServer) -> None:
    said = trainshed("login", server.url, "--email", EMAIL, "--password", "guess")

    assert said.code == 1
    assert "e-mail address or the password is wrong" in said.err


def test_login_without_a_url_goes_to_the_server_used_last(trainshed: Trainshed, signed_in: FakeServer) -> None:
    assert trainshed("login", "--email", EMAIL, "--password", PASSWORD, "--json").json()["url"] == signed_in.url


def test_settings_that_go_before_the_kept_token_are_named(
    trainshed: Trainshed, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRAINSHED_TOKEN", "something else")

    said = trainshed("login", server.url, "--email", EMAIL, "--password", PASSWORD)
    assert "TRAINSHED_TOKEN is set" in said.err


def test_logout_revokes_the_token_and_forgets_it(trainshed: Trainshed, signed_in: FakeServer) -> None:
    said = trainshed("logout")

    assert "revoked and forgotten" in said.out
    assert signed_in.tokens == {}
    assert credentials.read().servers == {}
    assert "not signed in" in trainshed("logout", signed_in.url).out


def test_logout_of_a_pasted_token_only_forgets_it(trainshed: Trainshed, server: FakeServer) -> None:
    credentials.save(server.url, credentials.Credential(server.token))

    said = trainshed("logout", "--json")
    assert said.json() == {"url": server.url, "was_signed_in": True, "is_revoked": False}
    assert server.tokens
    assert credentials.read().servers == {}


def test_logout_of_a_server_that_is_gone_forgets_its_token(trainshed: Trainshed) -> None:
    credentials.save("http://127.0.0.1:9", credentials.Credential("t", EMAIL, "id"))

    assert "stays valid" in trainshed("logout").out
    assert credentials.read().servers == {}


def test_tokens_are_made_shown_once_and_revoked_by_name(trainshed: Trainshed, signed_in: FakeServer) -> None:
    made = trainshed("token", "create", "nightly", "--scope", "read", "--expires-in-days", "30")
    assert made.out == "secret-of-tok0001\n"
    assert "not shown again" in made.err
    body = signed_in.asked_for("POST", "/tokens")[0].json()
    assert body == {"name": "nightly", "scopes": ["read"], "expires_in_days": 30.0}

    listed = trainshed("token", "list")
    assert "tok0001" in listed.out
    assert "secret-of" not in listed.out
    assert trainshed("token", "revoke", "tok0001", "--json").json() == {"revoked": "tok0001"}
    assert [token["id"] for token in trainshed("token", "list", "--json").json()] == ["tok0"]


def test_a_token_that_never_expires_is_asked_for_with_nothing(trainshed: Trainshed, signed_in: FakeServer) -> None:
    trainshed("token", "create", "forever", "--expires-in-days", "0", "--json")

    body = signed_in.asked_for("POST", "/tokens")[0].json()
    assert (body["expires_in_days"], body["scopes"]) == (None, ["read", "write", "jobs"])
