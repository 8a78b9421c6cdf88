"""Every page on a phone and a desk, by day and by night: nothing spills, nothing is blocked, and axe finds nothing."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from browser import chromium
from browser.chromium import DESKTOP, PHONE
from browser.conftest import EMAIL, FreshService, OpenWindow, Things, make_things, pictures_folder, write_digits
from web import visitors

HOSTILE = ('<img src=x onerror="alert(1)">', "图片" * 40, "w" * 200)
UNKNOWN = "zzzzzzzzzzzzzzzzzzzz"
# What the table of addresses leaves out: a redirect, forms without a page of their own, and what `test_account_pages`
# looks at, as it does at all of `web/accounts.py`.
NO_PAGES = {"front", "let-in", "delete-account", "sign-out", "revoke-token", "revoke-robot", "hand-over", "first-steps"}


LOOKED_INTO = ("phone-day", "desk-night")


@pytest.fixture(scope="package")
def hostile(running: FreshService, tmp_path_factory: pytest.TempPathFactory) -> Things:
    """A dataset, a training and a model whose names do their worst."""
    made = make_things(running.client, write_digits(tmp_path_factory.mktemp("hostile"), HOSTILE))
    client = running.client
    client.models.rename(made.model_id, "<b>model</b> " + "x" * 280)
    return Things(client, client.datasets.rename(made.dataset, "🏳️‍🌈" + "y" * 290), made.job, made.model_id)


@pytest.fixture(scope="package")
def failed_job(running: FreshService, things: Things) -> str:
    """A training that cannot succeed: its backbone is nowhere."""
    asked = {"version_id": running.client.versions.newest(things.dataset).id, "recipe": {"backbone": "no_such_network"}}
    place = f"/workspaces/{things.job.workspace_id}/projects/{things.job.project_id}"
    job_id = running.raw("POST", f"{place}/trainings", json=asked).json()["id"]
    assert running.client.jobs.wait(job_id, 60).state == "failed"
    return str(job_id)


@pytest.fixture(scope="package")
def empty_project(running: FreshService, things: Things) -> str:
    answer = running.raw("POST", f"/workspaces/{things.job.workspace_id}/projects", json={"name": "Nothing yet"})
    return str(answer.json()["id"])


def ids_of(things: Things) -> dict[str, str]:
    where = {"workspace_id": things.job.workspace_id, "project_id": things.job.project_id}
    where |= {"noun": "model", "thing_id": things.model_id}
    return {**where, "dataset_id": things.dataset.id, "job_id": things.job.id, "model_id": things.model_id}


def links_of(things: Things) -> dict[str, str]:
    """What links open: (an invite, or the noun of a shared thing) -> its secret."""
    client = things.client
    shared = {
        "model": client.models.get(things.model_id),
        "version": client.versions.newest(things.dataset),
        "job": things.job,
    }
    made = {noun: client.shares.create(thing).link for noun, thing in shared.items()}
    made["invite"] = client.invites.create(workspace=things.job.workspace_id).link
    return {name: (link or "").rpartition("/")[2] for name, link in made.items()}


@pytest.fixture(scope="package")
def addresses(django: None, things: Things, hostile: Things, failed_job: str, empty_project: str) -> dict[str, str]:
    """Name -> address of everything that a person can see."""
    from trainshed.server.web import accounts

    left_out = NO_PAGES | {name for name, _ in visitors.routes_of(accounts.urlpatterns)}
    paths = {name: path for name, path in visitors.routes() if name not in left_out}
    ids, worst = ids_of(things), ids_of(hostile)
    empty = {**ids, "project_id": empty_project}
    snapshot, arrival = (
        next(job.id for job in things.client.jobs.list(kind=kind) if job.state == "succeeded")
        for kind in ("snapshot", "import")
    )
    of_project = ("project", "datasets", "jobs", "models", "train")
    links = links_of(things)
    secrets = {"invite": links["invite"], "share": links["model"]}
    return {
        **{name: path.format(**ids, secret=secrets.get(name, "")) for name, path in paths.items()},
        **{f"shared-{noun}": paths["share"].format(secret=links[noun]) for noun in ("version", "job")},
        **{f"hostile-{name}": paths[name].format(**worst) for name in ("dataset", "job", "model")},
        **{f"empty-{name}": paths[name].format(**empty) for name in of_project},
        "failed-job": paths["job"].format(**{**ids, "job_id": failed_job}),
        "snapshot-job": paths["job"].format(**{**ids, "job_id": snapshot}),
        "import-job": paths["job"].format(**{**ids, "job_id": arrival}),
        "not-there": paths["job"].format(**{**ids, "job_id": UNKNOWN}),
    }


LOOKS: dict[str, dict[str, Any]] = {
    f"{size}-{scheme}": {"viewport": viewport, "color_scheme": colours, "has_touch": size == "phone"}
    for size, viewport in (("phone", PHONE), ("desk", DESKTOP))
    for scheme, colours in (("day", "light"), ("night", "dark"))
}


@pytest.mark.parametrize("look", LOOKS)
def test_every_page_fits_and_is_open_to_everybody(
    open_window: OpenWindow, addresses: dict[str, str], look: str
) -> None:
    window = open_window(EMAIL, **LOOKS[look])
    faults: dict[str, list[str]] = {}
    for name, address in addresses.items():
        page = window.go(address)
        page.wait_for_timeout(300)  # streams never end, so the network is never idle
        page.screenshot(path=pictures_folder() / f"{name}-{look}.png")
        # Each size and each light once: what axe looks at depends on one or the other.
        found = [*chromium.spills(page), *(chromium.findings(page) if look in LOOKED_INTO else [])]
        if page.locator("h1").count() != 1:
            found.append("not one h1")
        if found:
            faults[name] = found
    window.forgive("404")  # of the page that is not there
    assert faults == {}


def test_a_page_that_is_not_open_to_everybody_is_found_out(open_window: OpenWindow, running: FreshService) -> None:
    page = open_window(viewport=PHONE).go("/sign-in")
    page.evaluate(
        """() => { const wide = document.createElement("h4"); wide.textContent = "x".repeat(500);
          document.querySelector("main").append(wide, document.createElement("input")); }"""
    )
    assert chromium.spills(page)
    assert any("label" in words for words in chromium.findings(page))


def test_the_pages_before_sign_in_are_open_to_everybody(open_window: OpenWindow, running: FreshService) -> None:
    for look in LOOKS.values():
        window = open_window(**look)
        for address in ("/sign-in", "/setup", "/nowhere"):
            page = window.go(address)
            assert chromium.spills(page) + chromium.findings(page) == [], address
        window.forgive("404")


def test_an_open_menu_a_dialog_and_a_refused_form_are_open_to_everybody(
    open_window: OpenWindow, addresses: dict[str, str]
) -> None:
    window = open_window(EMAIL, viewport=PHONE)
    page = window.go(addresses["train"])
    page.locator("summary[aria-label]").click()
    assert chromium.findings(page) == []
    page.keyboard.press("Escape")
    page = window.go(addresses["train"])
    page.locator("#field-epochs").fill("-1")
    page.locator("main form[method=post] button.btn-primary").click()
    page.locator("[aria-invalid=true]").first.wait_for()
    assert chromium.spills(page) + chromium.findings(page) == []
    window.forgive("422")
    page = window.go(addresses["model"])
    page.locator("main button", has_text="Delete").first.click()
    page.locator("dialog[open]").wait_for()
    assert chromium.spills(page) + chromium.findings(page) == []


def test_a_hostile_name_runs_nothing_in_what_scripts_draw(
    open_window: OpenWindow, addresses: dict[str, str], tmp_path: Path
) -> None:
    """The window's own watch finds the dialog, the policy and the picture that does not load."""
    page = open_window(EMAIL).go(addresses["hostile-model"])
    picture = next(write_digits(tmp_path / "again", ("a", "b", "c")).glob("a/*.png"))
    page.locator("[data-island=predict] [data-choose]").set_input_files(picture)
    card = page.locator("[data-cards] > li").first
    card.locator("[data-bars] [data-label]").first.wait_for()
    assert HOSTILE[0] in card.inner_text()
    assert page.locator("[data-cards] b, [data-cards] img[src=x]").count() == 0


def test_the_theme_that_is_chosen_stays(open_window: OpenWindow, running: FreshService) -> None:
    page = open_window(EMAIL, color_scheme="light").page
    (menu,) = [button for button in page.locator("[x-data=theme]").all() if button.is_visible()]
    menu.click()
    menu.click()
    assert page.evaluate("document.documentElement.dataset.theme") == "night"
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") == "night"
    assert chromium.findings(page) == []


def test_the_page_of_the_api_works_under_the_policy(open_window: OpenWindow, running: FreshService) -> None:
    page = open_window(EMAIL).go("/api/v1/docs")
    page.locator(".opblock").first.wait_for()


def test_p11_scripts_are_light_and_pages_stand_soon(
    open_window: OpenWindow, browser: Browser, things: Things, addresses: dict[str, str]
) -> None:
    window = open_window(EMAIL)
    cookies = window.page.context.cookies()
    for name in ("home", "dataset", "train", "job", "model", "hostile-model"):
        openings = [chromium.opening(browser, window.site, cookies, addresses[name]) for _ in range(3)]
        assert max(one.script_kib for one in openings) <= chromium.MOST_SCRIPT_KIB, name
        assert 0 < statistics.median(one.paint_seconds for one in openings) <= chromium.MOST_PAINT_SECONDS, name
