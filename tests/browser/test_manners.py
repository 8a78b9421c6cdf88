"""What a page does when nobody looks, when its session has ended, when a part of it fails, and on a person's word."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, Request, Route, expect

from browser.chromium import Mouse
from browser.conftest import EMAIL, PASSWORD, FreshService, OpenWindow, Things, write_digits
from browser.test_watching import address, wait_for_points
from trainshed import Client
from trainshed.errors import StateConflict
from trainshed.schemas import JobView


@pytest.fixture
def job(running: FreshService, things: Things) -> Iterator[JobView]:
    """A training that goes on for longer than its test."""
    started = things.train(400)
    yield started
    with contextlib.suppress(StateConflict):
        running.client.jobs.cancel(started)
    running.client.jobs.wait(started, 30)


def of_project(things: Things, page: str = "") -> str:
    return f"/w/{things.dataset.workspace_id}/p/{things.dataset.project_id}{page}"


HIDDEN = """let hidden = true;
Object.defineProperty(document, "hidden", {get: () => hidden});
window.look = (isHidden) => { hidden = isHidden; document.dispatchEvent(new Event("visibilitychange")); };"""


def test_pages_that_are_opened_behind_another_hold_no_stream_until_somebody_looks(
    open_window: OpenWindow, things: Things
) -> None:
    """A browser gives one server six connections: seven tabs with a stream each would stop the eighth for ever."""
    window = open_window(EMAIL)
    context = window.page.context
    context.add_init_script(HIDDEN)
    tabs = [context.new_page() for _ in range(7)]
    asked: list[str] = []
    for tab in tabs:
        tab.on("request", lambda request: asked.append(request.url) if "/stream" in request.url else None)
        tab.goto(window.site + of_project(things, f"/jobs/{things.job.id}"))
        expect(tab.locator("h1")).to_be_visible()
    tabs[0].wait_for_timeout(500)
    assert asked == []
    tabs[3].evaluate("look(false)")
    wait_for_points(tabs[3], 1)
    assert len(asked) == 1
    for tab in tabs:
        tab.close()


def test_a_session_that_has_ended_is_told_and_goes_on_after_a_sign_in(open_window: OpenWindow, things: Things) -> None:
    window = open_window(EMAIL)
    page = window.page
    is_out = [True]

    def refuse(route: Route) -> None:
        if is_out[0]:
            route.fulfill(status=401, content_type="application/problem+json", body="{}")
        else:
            route.continue_()

    page.route("**/stream*", refuse)
    page.route("**/api/v1/me", refuse)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/stream" in request.url else None)
    page.add_init_script(HIDDEN.replace("let hidden = true", "let hidden = false"))
    window.go(of_project(things))
    expect(page.locator("#notices [role=alert]")).to_contain_text("You are signed out")
    page.wait_for_timeout(4000)
    expect(page.locator("#lost")).to_be_hidden()
    assert len(asked) == 1, "it is not asked again and again"
    is_out[0] = False
    page.evaluate("look(true); look(false)")  # in another tab somebody signs in, and comes back
    page.wait_for_timeout(500)
    assert len(asked) == 2
    window.forgive("401")


def test_a_part_of_a_page_that_cannot_be_had_says_why(open_window: OpenWindow, things: Things) -> None:
    page = open_window(EMAIL).go(of_project(things, f"/datasets/{things.dataset.id}"))
    page.route("**/*cursor=*", lambda route: route.continue_(url=f"{page.url}?cursor=broken"))
    before = page.locator("#grid > li").count()
    page.locator("#more").click()
    expect(page.locator("#notices .alert")).to_be_visible()
    assert page.locator("#grid > li").count() == before
    assert page.locator("#notices h1, #notices main").count() == 0


def test_a_training_pauses_goes_on_and_is_cloned_on_a_persons_word(
    running: FreshService, open_window: OpenWindow, job: JobView
) -> None:
    page = open_window(EMAIL).go(address(job))
    wait_for_points(page, 5)
    page.locator("#do-pause").click()
    expect(page.locator("#status")).to_have_attribute("data-state", "paused", timeout=30_000)
    page.locator("#do-resume").click()
    expect(page.locator("#status")).to_have_attribute("data-state", "running", timeout=60_000)
    expect(page.locator("#attempts li")).to_have_count(2)
    page.locator("#do-cancel").click()
    page.locator("dialog[open] button[value=cancel]").click()
    page.locator("a[href*='clone=']").click(timeout=30_000)
    page.wait_for_url("**/train?clone=*")
    expect(page.locator("#field-epochs")).to_have_value("400")
    assert page.locator("#field-dataset").input_value() == job.spec["dataset_id"]


def test_a_number_that_is_none_is_refused_in_its_field_with_all_else_kept(
    open_window: OpenWindow, things: Things
) -> None:
    window = open_window(EMAIL)
    page = window.go(of_project(things, f"/train?dataset={things.dataset.id}"))
    page.locator("summary", has_text="Advanced").click()
    page.locator("#field-learning_rate").fill("0,001")
    page.locator("#field-epochs").fill("7")
    page.locator("main form[method=post] button.btn-primary").click()
    field = page.locator("#field-learning_rate")
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(field).to_have_value("0,001")
    expect(page.locator("#field-epochs")).to_have_value("7")
    window.forgive("422")


def test_what_was_typed_outlives_the_session(running: FreshService, open_window: OpenWindow, things: Things) -> None:
    window = open_window(EMAIL)
    form = of_project(things, f"/train?dataset={things.dataset.id}")
    page = window.go(form)
    page.locator("summary", has_text="Advanced").click()
    page.locator("#field-epochs").fill("7")
    page.locator("#field-name").fill("Blumen 花")
    page.locator("[name=frozen_first]").uncheck()
    num_jobs = len(list(running.client.jobs.list()))
    page.context.clear_cookies(name="sessionid")
    page.locator("main form[method=post] button.btn-primary").click()
    page.wait_for_url("**/sign-in?*")
    page.locator("input[name=login]").fill(EMAIL)
    page.locator("input[name=password]").fill("wrong the first time")
    page.locator("main form button").click()
    expect(page.locator("main [role=alert]")).to_be_visible()
    window.forgive("422")
    page.locator("input[name=password]").fill(PASSWORD)
    page.locator("main form button").click()
    page.wait_for_url("**/train?*")
    expect(page.locator("#notices .alert")).to_contain_text("nothing has been sent")
    expect(page.locator("#field-epochs")).to_have_value("7")
    expect(page.locator("#field-name")).to_have_value("Blumen 花")
    assert not page.locator("[name=frozen_first]").is_checked()
    assert len(list(running.client.jobs.list())) == num_jobs
    window.go(of_project(things))
    window.go(form)
    expect(page.locator("#field-epochs")).to_have_value("12")


def test_an_age_goes_on_in_an_open_page(open_window: OpenWindow, things: Things) -> None:
    window = open_window(EMAIL)
    window.page.clock.install()
    page = window.go(address(things.job))
    told = page.locator("#status time")
    expect(told).to_be_visible()
    before = told.inner_text()
    page.clock.fast_forward("05:00:00")
    expect(told).to_have_text("5 hours ago")
    assert before != "5 hours ago"


def test_what_a_colleague_begins_appears_with_one_request(
    running: FreshService, open_window: OpenWindow, things: Things, tmp_path: Path
) -> None:
    """Also on the page of a project in which there was nothing."""
    workspace = things.dataset.workspace_id
    made = running.client.transport.request("POST", f"/workspaces/{workspace}/projects", json={"name": "Empty so far"})
    page = open_window(EMAIL).go(f"/w/{workspace}/p/{made.json()['id']}")
    expect(page.locator("#newest")).to_be_empty()
    asked: list[Request] = []
    page.on("requestfinished", lambda request: asked.append(request) if request.url == page.url else None)
    with Client(running.url, running.client.transport.token, project="Empty so far") as of_colleague:
        arrived = of_colleague.datasets.import_folder(write_digits(tmp_path / "digits"))
        expect(page.locator("#newest [data-job]")).to_have_count(1)
        of_colleague.jobs.wait(arrived.job, 60, must_succeed=True)
    expect(page.locator(f"#newest [data-job='{arrived.job.id}']")).to_have_attribute("data-state", "succeeded")
    page.wait_for_timeout(1000)
    times = [request.timing["startTime"] for request in asked]
    assert len(times) >= 2
    assert all(second - first > 200 for first, second in itertools.pairwise(times)), times


def test_a_photo_is_answered_by_the_shelf_within_a_second(
    running: FreshService, open_window: OpenWindow, things: Things, tmp_path: Path
) -> None:
    """The model comes into memory while the person looks for a picture."""
    deadline = time.monotonic() + 60
    while not list(running.client.models.shelf()):
        assert time.monotonic() < deadline, "the shelf stays empty"
        time.sleep(0.5)
    window = open_window(EMAIL)
    page = window.page
    with page.expect_response("**/load") as loaded:
        window.go(f"/w/{things.dataset.workspace_id}")
    assert loaded.value.status == 204
    page.wait_for_timeout(8000)
    Mouse(page).give_picture(next(write_digits(tmp_path / "photo").glob("*/*.png")))
    began = time.monotonic()
    expect(page.locator("[data-cards] > li").first).to_have_attribute("data-state", "answered", timeout=5000)
    assert time.monotonic() - began < 1.0


def test_an_upload_that_leaves_a_question_open_does_not_lead_away(
    open_window: OpenWindow, things: Things, tmp_path: Path
) -> None:
    """An archive is sent while loose pictures beside it still wait for the name of their class."""
    page = open_window(EMAIL).go(of_project(things, "/datasets"))
    drop(page, write_digits(tmp_path / "loose") / "0", as_class=False)
    expect(page.locator("[data-ask]:visible")).to_have_count(1)
    drop(page, tmp_path / "loose" / "loose", as_class=True)
    expect(page.locator("[data-open]:visible")).to_have_count(1, timeout=30_000)
    assert page.url.endswith("/datasets")
    expect(page.locator("[data-ask]:visible")).to_have_count(1)


def drop(page: Page, folder: Path, *, as_class: bool) -> None:
    """Choose loose pictures, or a folder of class folders."""
    if as_class:
        page.locator("[data-island=upload] input[webkitdirectory]").set_input_files(folder)
    else:
        pictures = sorted(folder.glob("*.png"))[:3]
        page.locator("[data-island=upload] input[accept^='image']").set_input_files(pictures)
