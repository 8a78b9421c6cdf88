"""A team, in browsers: an owner invites, a second person makes an account and joins, and a new role works at once."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import expect

from browser.chromium import PHONE, Keyboard, Mouse, findings, spills
from browser.conftest import EMAIL, PASSWORD, FreshService, OpenWindow, Things

JOE = "joe@example.org"


def home_of(things: Things) -> str:
    return f"/w/{things.job.workspace_id}"


def test_an_owner_invites_and_a_second_person_joins_and_is_given_a_role(
    running: FreshService, things: Things, open_window: OpenWindow
) -> None:
    window = open_window(EMAIL)
    members = window.go(f"{home_of(things)}/settings/members")
    owner = Keyboard(members)
    members.locator("main select[name=role]").first.select_option("viewer")
    owner.press("main form[method=post] button.btn-primary")
    link = members.locator("[role=status] code").inner_text()

    joining = open_window(viewport=PHONE)
    page = joining.go("/invite/" + link.rpartition("/")[2])
    assert spills(page) + findings(page) == []
    joe = Mouse(page)
    joe.press("main a.btn-primary")
    joe.fill("input[name=name]", "Joe Joiner")
    joe.fill("input[name=email]", JOE)
    joe.fill("input[name=password1]", PASSWORD)
    joe.press("main form button.btn-primary")
    page.wait_for_url("**/invite/*")
    joe.press("main form button.btn-primary")
    page.wait_for_url(f"**{home_of(things)}")

    joining.go(f"{home_of(things)}/p/{things.job.project_id}/datasets")
    expect(page.locator("h1")).to_have_text("Datasets")
    expect(page.locator("[data-island=upload]")).to_have_count(0)
    members.reload()
    owner.choose("select[aria-label='Role of Joe Joiner']", "editor")
    expect(members.locator("#notices")).to_contain_text("Saved.")
    page.reload()
    expect(page.locator("[data-island=upload]")).to_have_count(1)

    owner.press(members.locator("li", has_text="Joe Joiner").locator("button", has_text="Remove").first)
    owner.press("dialog[open] button.btn-error")
    expect(members.locator("#members")).not_to_contain_text("Joe Joiner")
    page.reload()
    expect(page.locator("h1")).to_have_text("Not found")
    joining.forgive("404")


def test_a_role_that_cannot_be_taken_is_shown_as_it_was(
    running: FreshService, things: Things, open_window: OpenWindow
) -> None:
    """The last owner stays one, and the choice says so."""
    window = open_window(EMAIL)
    page = window.go(f"{home_of(things)}/settings/members")
    mine = page.locator("#members li", has_text="Ann Example").locator("select")
    mine.select_option("viewer")
    expect(page.locator("#members li", has_text="Ann Example").locator("[data-refusal]")).to_be_visible()
    expect(mine).to_have_value("owner")
    window.forgive("409")


def test_a_link_to_a_model_is_made_in_a_dialog_and_opens_for_a_stranger(
    running: FreshService, things: Things, open_window: OpenWindow, tmp_path: Path
) -> None:
    page = open_window(EMAIL).go(f"{home_of(things)}/p/{things.job.project_id}/models/{things.model_id}")
    owner = Keyboard(page)
    owner.press(page.locator("main button", has_text="Share").first)
    page.locator("dialog[open] [data-shares]").wait_for()
    assert findings(page) == []
    owner.fill("dialog[open] input[name=note]", "for the reviewers")
    owner.press("dialog[open] form button.btn-primary")
    link = page.locator("dialog[open] [role=status] code").inner_text()

    stranger = open_window(viewport=PHONE)
    shown = stranger.go("/share/" + link.rpartition("/")[2])
    expect(shown.locator("h1")).to_contain_text(page.locator("h1").inner_text())
    assert spills(shown) + findings(shown) == []
    assert shown.locator("nav").count() == 0

    owner.press(page.locator("dialog[open] li", has_text="for the reviewers").locator("button").first)
    expect(page.locator("dialog[open] [data-shares]")).not_to_contain_text("for the reviewers")
    shown.reload()
    expect(shown.locator("h1")).to_have_text("Not found")
    stranger.forgive("404")
