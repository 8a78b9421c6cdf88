"""Every page of accounts on a phone and a desk, by day and by night: they fit, and axe finds nothing."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from playwright.sync_api import Page

from browser import chromium
from browser.chromium import Mouse
from browser.conftest import PASSWORD, OpenWindow, pictures_folder, write_rows
from browser.open_house import OpenHouse
from browser.test_looks import LOOKED_INTO, LOOKS
from web import visitors
from web.test_accounts import ASKED, code_of

WALKER = "walker@example.org"
# What has no page of its own: it only leads on, brings a file, or speaks to programs.
NO_PAGES = {
    "mfa_index",
    "mfa_download_recovery_codes",
    "sign-in-with",
    "openid_connect_login",
    "openid_connect_callback",
    "socialaccount_connections",
    "configuration",
    "jwks",
    "token",
    "revoke",
    "userinfo",
    "device_code",
}
BEFORE = {
    "account_login": "/sign-in",
    "account_signup": "/sign-up",
    "account_inactive": "/sign-in/inactive",
    "account_email_verification_sent": "/email/sent",
    "account_confirm_email": "/email/confirm/old-and-used",
    "account_reset_password": "/password/forgotten",
    "account_reset_password_done": "/password/forgotten/sent",
    "account_reset_password_from_key": "/password/new/1a-old-and-used",
    "account_reset_password_from_key_done": "/password/changed",
    "socialaccount_login_cancelled": "/sign-in/cancelled",
    "socialaccount_login_error": "/sign-in/error",
    "authorization": "/identity/authorize?client_id=unknown",
}
INSIDE = {
    "settings": "/settings",
    "sign-in-settings": "/settings/sign-in",
    "sessions": "/settings/sessions",
    "tokens": "/settings/tokens",
    "let-in": f"/sign-in/terminal?{urlencode(ASKED)}",
    "account_email": "/settings/email",
    "account_change_password": "/settings/password",
    "delete-account": "/settings/delete",
    "account_logout": "/sign-out",
    "logout": "/identity/logout",
    "mfa_activate_totp": "/settings/second-factor/app",
}
WITH_FACTOR = {
    "sign-in-settings-with-factor": "/settings/sign-in",
    "mfa_view_recovery_codes": "/settings/second-factor/codes",
    "mfa_generate_recovery_codes": "/settings/second-factor/codes/new",
    "mfa_deactivate_totp": "/settings/second-factor/app/off",
    "mfa_reauthenticate": "/sign-in/second-factor/again",
}
ON_THE_WAY = {"account_reauthenticate", "mfa_authenticate", "socialaccount_signup", "account_set_password"}


def looked_at(page: Page, name: str) -> dict[str, list[str]]:
    """What is wrong with the page as it stands, by how it is looked at."""
    found: dict[str, list[str]] = {}
    for look, named in LOOKS.items():
        page.set_viewport_size(named["viewport"])
        page.emulate_media(color_scheme=named["color_scheme"])
        page.screenshot(path=pictures_folder() / f"account-{name}-{look}.png", animations="disabled")
        # Each size and each light once: what axe looks at depends on one or the other.
        wrong = [*chromium.spills(page), *(chromium.findings(page) if look in LOOKED_INTO else [])]
        wrong += [] if page.locator("h1").count() == 1 else ["not one h1"]
        found |= {f"{name} {look}": wrong} if wrong else {}
    return found


def walk(window: Any, table: dict[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, address in table.items():
        found |= looked_at(window.go(address), name)
    return found


def test_every_page_of_accounts_is_in_these_tables(django: None) -> None:
    from trainshed.server.web import accounts

    walked = NO_PAGES | BEFORE.keys() | INSIDE.keys() | WITH_FACTOR.keys() | ON_THE_WAY
    assert {name for name, _ in visitors.routes_of(accounts.urlpatterns)} <= walked


def test_the_pages_before_an_account_fit_and_are_open_to_everybody(house: OpenHouse, open_window: OpenWindow) -> None:
    window = open_window(site=house.running.url)
    found = walk(window, BEFORE)
    window.forgive("422")  # of the application that nobody knows
    window.forgive("401")  # of a provider that has proved nothing
    page = window.go("/sign-up")
    page.locator("input[name=name]").fill("N" * 40)
    page.locator("input[name=email]").fill("ann@example.org")
    page.locator("input[name=password1]").fill("password12")
    Mouse(page).press("main form button.btn-primary")
    page.locator("[aria-invalid=true]").first.wait_for()
    assert found | looked_at(page, "refused") == {}


def test_the_pages_of_an_account_fit_and_are_open_to_everybody(house: OpenHouse, open_window: OpenWindow) -> None:
    write_rows(
        house.running,
        "from allauth.account.models import EmailAddress\n"
        "from trainshed.server.records.models import Person\n"
        f"person = Person.objects.create_person({WALKER!r}, 'Walter Walker', {PASSWORD!r})\n"
        "EmailAddress.objects.create(user=person, email=person.email, verified=True, primary=True)\n",
    )
    window = open_window(WALKER, site=house.running.url)
    found = looked_at(window.go("/sign-in/again?next=/settings"), "account_reauthenticate")
    window.page.locator("input[name=password]").fill(PASSWORD)
    Mouse(window.page).press("main form button.btn-primary")
    window.page.wait_for_url("**/settings")
    found |= walk(window, INSIDE)
    codes = switch_second_factor_on(window.page)
    found |= walk(window, WITH_FACTOR)
    found |= second_step(house, open_window, codes[0])
    found |= signing_up_with_a_provider(house, open_window)
    assert found == {}


def switch_second_factor_on(page: Page) -> list[str]:
    """From the page with the QR code; returns the recovery codes."""
    assert page.locator("main img[src^='data:image/svg']").bounding_box()
    page.locator("input[name=code]").fill(code_of(page.locator("main li code").inner_text()))
    Mouse(page).press("main form button.btn-primary")
    page.wait_for_url("**/second-factor/codes")
    codes: list[str] = page.locator("main ul.font-mono li").all_inner_texts()
    assert len(codes) == 10
    return codes


def second_step(house: OpenHouse, open_window: OpenWindow, code: str) -> dict[str, list[str]]:
    """Signing in with a second factor: a recovery code instead of a phone."""
    page = open_window(site=house.running.url).go("/sign-in")
    page.locator("input[name=login]").fill(WALKER)
    page.locator("input[name=password]").fill(PASSWORD)
    page.locator("form[data-sign-in] button").click()
    page.wait_for_url("**/sign-in/second-factor")
    found = looked_at(page, "mfa_authenticate")
    page.locator("input[name=code]").fill(code)
    Mouse(page).press("main form button.btn-primary")
    page.wait_for_url("**/w/*")
    return found


def signing_up_with_a_provider(house: OpenHouse, open_window: OpenWindow) -> dict[str, list[str]]:
    """Of a provider that proves no address, so that one is asked for."""
    window = open_window(site=house.running.url)
    kept, house.university.accounts = house.university.accounts, [house.unproved]
    page = window.go("/sign-in")
    Mouse(page).press(page.get_by_role("button", name="Sign in with University"))
    page.locator("button[name=sub]").click()
    page.wait_for_url("**/sign-up/with")
    house.university.accounts = kept
    return looked_at(page, "socialaccount_signup")
