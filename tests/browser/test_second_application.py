"""One login for a second server: it asks Trainshed who somebody is, and no longer knows them once that has ended."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from browser.chromium import Mouse, Window
from browser.conftest import EMAIL, PASSWORD, OpenWindow, write_rows
from browser.open_house import OpenHouse

NEW_PASSWORD = "a wholly different passphrase"
MOST_SECONDS = 300
PEOPLE = ("sign-out", "elsewhere", "password", "switched-off")


@pytest.fixture(scope="module")
def people(house: OpenHouse) -> dict[str, str]:
    """E-mail addresses of people of this service, one for each way in which a session ends."""
    write_rows(
        house.running,
        "from allauth.account.models import EmailAddress\n"
        "from trainshed.server.records.models import Person\n"
        f"for name in {PEOPLE}:\n"
        f"    person = Person.objects.create_person(name + '@example.org', 'Ada ' + name, {PASSWORD!r})\n"
        "    EmailAddress.objects.create(user=person, email=person.email, verified=True, primary=True)\n",
    )
    return {name: f"{name}@example.org" for name in PEOPLE}


def led_in(house: OpenHouse, page: Page, email: str) -> None:
    """Open the application, be led to Trainshed, sign in there, and be led back signed in."""
    page.goto(house.application.url)
    page.get_by_text("Sign in with Trainshed").click()
    page.wait_for_url(f"{house.running.url}/sign-in**")
    page.locator("input[name=login]").fill(email)
    page.locator("input[name=password]").fill(PASSWORD)
    page.locator("form[data-sign-in] button").click()
    page.wait_for_url(f"{house.application.url}/")
    expect(page.locator("h1")).to_contain_text(email)


def _sign_out(house: OpenHouse, window: Window, other: Window) -> None:
    page = window.go("/settings")
    page.locator("form[action='/sign-out'] button").locator("visible=true").first.click()
    page.wait_for_url("**/sign-in*")


def _sign_out_elsewhere(house: OpenHouse, window: Window, other: Window) -> None:
    other.sign_in("elsewhere@example.org", PASSWORD)
    page = other.go("/settings/sessions")
    page.get_by_role("button", name="Sign out", exact=True).locator("visible=true").last.click()
    expect(page.locator("main li")).to_have_count(1)


def _change_password(house: OpenHouse, window: Window, other: Window) -> None:
    other.sign_in("password@example.org", PASSWORD)
    page, hands = other.go("/settings/password"), Mouse(other.page)
    hands.fill("input[name=oldpassword]", PASSWORD)
    hands.fill("input[name=password1]", NEW_PASSWORD)
    hands.fill("input[name=password2]", NEW_PASSWORD)
    hands.press("main form button.btn-primary")
    page.wait_for_url("**/settings/sign-in")


def _switch_off(house: OpenHouse, window: Window, other: Window) -> None:
    other.sign_in(EMAIL, PASSWORD)
    page = other.go("/installation")
    row = page.locator("li, tr", has_text="switched-off@example.org").last
    row.get_by_role("button", name="Switch off").first.click()
    expect(row).to_contain_text("off")


ENDS = dict(zip(PEOPLE, (_sign_out, _sign_out_elsewhere, _change_password, _switch_off), strict=True))


@pytest.mark.parametrize("name", ENDS)
def test_a_session_that_ends_here_ends_in_the_application_within_five_minutes(
    house: OpenHouse,
    people: dict[str, str],
    open_window: OpenWindow,
    name: str,
) -> None:
    window, other = open_window(site=house.running.url), open_window(site=house.running.url)
    page = window.page.context.new_page()
    led_in(house, page, people[name])
    house.application.grow_old()
    page.reload()
    expect(page.locator("h1")).to_contain_text(people[name])  # it has asked anew, and was told that all is well
    ENDS[name](house, window, other)
    house.application.grow_old()
    page.reload()
    expect(page.locator("h1")).to_have_text("Nobody")
    # So long did it believe an answer at most; the page that it was asked for next told the end.
    assert 0 < house.application.longest_seconds <= MOST_SECONDS - 60


def test_whoever_is_signed_in_already_is_led_straight_through(house: OpenHouse, open_window: OpenWindow) -> None:
    page = open_window(EMAIL, site=house.running.url).page
    page.goto(house.application.url)
    page.get_by_text("Sign in with Trainshed").click()
    page.wait_for_url(f"{house.application.url}/")
    expect(page.locator("h1")).to_contain_text(EMAIL)
