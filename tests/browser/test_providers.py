"""Signing in with an OpenID Connect provider and with Dropbox, which is none, by the pages of all three."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from browser.chromium import Mouse, Window
from browser.conftest import EMAIL, PASSWORD, OpenWindow
from browser.open_house import DORA, MIRA, OpenHouse

# By name: who signs in there, and the button of its page that agrees.
PROVIDERS = {
    "University": (MIRA.email, MIRA.name, "button[value='mira-1']"),
    "Dropbox": (DORA.email, DORA.name, "button[value='allow']"),
}


def go_to(window: Window, provider: str) -> Page:
    """To the provider's own page."""
    page = window.page
    Mouse(page).press(page.get_by_role("button", name=f"Sign in with {provider}"))
    page.wait_for_url(lambda address: not address.startswith(window.site))
    return page


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_provider_signs_somebody_up_and_in_again(house: OpenHouse, open_window: OpenWindow, provider: str) -> None:
    email, name, agrees = PROVIDERS[provider]
    window = open_window(site=house.running.url)
    window.go("/sign-up")
    page = go_to(window, provider)
    page.locator(agrees).click()
    page.wait_for_url("**/w/*")
    page = window.go("/settings")
    expect(page.locator("input[name=name]")).to_have_value(name)
    expect(page.locator("main")).to_contain_text(email)
    Mouse(page).press("form[action='/sign-out'] button")
    page.wait_for_url("**/sign-in*")
    page = go_to(window, provider)
    page.locator(agrees).click()
    page.wait_for_url("**/w/*")
    expect(window.go("/settings").locator("main")).to_contain_text(email)


def test_who_cancels_at_the_provider_is_nobody_here(house: OpenHouse, open_window: OpenWindow) -> None:
    window = open_window(site=house.running.url)
    window.go("/sign-in")
    page = go_to(window, "Dropbox")
    page.locator("button[value='cancel']").click()
    page.wait_for_url(f"{window.site}/**")
    expect(page.locator("h1")).to_have_text("Sign-in was cancelled")
    page = window.go("/settings")
    page.wait_for_url("**/sign-in?*")


def test_an_account_elsewhere_is_linked_and_unlinked_in_the_settings(house: OpenHouse, open_window: OpenWindow) -> None:
    house.dropbox.signed_in = type(DORA)("dbid:of-ann", "ann.elsewhere@drop.example", "Ann Elsewhere")
    window = open_window(EMAIL, site=house.running.url)
    page = window.go("/settings/sign-in")
    page.get_by_role("button", name="Link Dropbox", exact=True).click()
    page.wait_for_url(f"{house.dropbox.url}/**")
    page.locator("button[value='allow']").click()
    page.wait_for_url(f"{window.site}/sign-in/again")  # a new way in wants the password once more
    page.locator("input[name=password]").fill(PASSWORD)
    page.locator("main form button").click()
    page.wait_for_url(f"{window.site}/settings/sign-in")
    linked = page.locator("li", has_text="ann.elsewhere@drop.example")
    expect(linked).to_have_count(1)
    elsewhere = open_window(site=window.site)
    elsewhere.go("/sign-in")
    go_to(elsewhere, "Dropbox").locator("button[value='allow']").click()
    elsewhere.page.wait_for_url("**/w/*")
    expect(elsewhere.go("/settings").locator("main")).to_contain_text(EMAIL)
    linked.get_by_role("button", name="Unlink").click()
    page.wait_for_url(f"{window.site}/settings/sign-in")
    expect(linked).to_have_count(0)
    house.dropbox.signed_in = DORA
