"""No attack on signing in with a provider makes a session, an account or a link; the honest flows make them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from server import sign_in_attacks
from server.sign_in_attacks import ATTACKS, Stage
from trainshed.testing.fake_dropbox import DropboxAccount


@pytest.fixture(scope="module")
def _providers(site: str) -> Iterator[Stage]:
    with sign_in_attacks.staged(site) as stage:
        yield stage


@pytest.fixture
def stage(_providers: Stage, database: None) -> Iterator[Stage]:
    # Until somebody has been made, the one-time link is the only way in.
    _providers.local()
    _providers.complaints.clear()
    yield _providers
    _providers._clear()


@pytest.mark.parametrize("name", ATTACKS)
def test_nothing_comes_of_an_attack(stage: Stage, name: str) -> None:
    assert "\n".join(stage.try_(ATTACKS[name])) == ""


def test_somebody_new_signs_in_and_is_the_same_person_again(stage: Stage) -> None:
    first, account = stage.newcomer()
    second = stage.browser()
    second.sign_in_with("lab")
    assert (first.who(), second.who(), stage.complaints) == (account.email, account.email, [])


def test_what_is_asked_of_a_provider_is_fresh_each_time(stage: Stage) -> None:
    browser = stage.browser()
    stage.lab.signed_in = stage.account()
    stage.lab.asked.clear()
    for _ in range(2):
        browser.consent(browser.begin("lab"))
    first, second = stage.lab.asked
    for name in ("nonce", "state", "code_challenge"):
        assert first.extra[name] and first.extra[name] != second.extra[name]
    assert first.extra["code_challenge_method"] == "S256"


def test_somebody_signs_in_with_dropbox(stage: Stage) -> None:
    stage.dropbox.signed_in = DropboxAccount("dbid:honest", "honest@example.org")
    browser = stage.browser()
    browser.sign_in_with("dropbox")
    assert (browser.who(), stage.complaints) == ("honest@example.org", [])
    assert stage.dropbox.asked[-1].challenge


def test_a_provider_that_is_linked_signs_the_same_person_in(stage: Stage) -> None:
    browser, account = stage.newcomer("rival")
    stage.lab.signed_in = stage.account()
    browser.sign_in_with("lab", "?process=connect")
    another = stage.browser()
    another.sign_in_with("lab")
    assert (another.who(), stage.complaints) == (account.email, [])


def test_the_way_back_leads_to_the_page_that_was_wanted(stage: Stage) -> None:
    stage.newcomer()
    assert stage.browser().sign_in_with("lab", "?next=/settings") == f"{stage.site}/settings"


def test_a_provider_that_does_not_answer_is_no_failure_of_ours(stage: Stage) -> None:
    assert (stage.browser().begin("gone"), stage.complaints) == ("", [])


def test_an_attack_that_never_takes_place_is_a_complaint(stage: Stage) -> None:
    def misses(stage: Stage) -> None:
        stage.lab.misbehaviours = {"wrong_nonce"}

    assert stage.try_(misses) == ["it did not come to: the nonce is not the one that was asked with"]


def test_a_session_an_account_and_a_link_are_complaints(stage: Stage) -> None:
    def succeeds(stage: Stage) -> None:
        stage.lab.signed_in = stage.account()
        stage.browser().sign_in_with("lab")

    said = " ".join(stage.try_(succeeds))
    assert "signed in as" in said and "made: ('person'" in said and "made: ('identity'" in said
