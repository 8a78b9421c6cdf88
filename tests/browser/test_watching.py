"""A training that is watched: reloaded, in two tabs, by two people, and through the death of the web process."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from browser.conftest import EMAIL, FreshService, OpenWindow, Things
from journeys.service import wait_until
from trainshed.errors import StateConflict
from trainshed.schemas import JobView

LONG = 400


@pytest.fixture
def job(running: FreshService, things: Things) -> Iterator[JobView]:
    """A training that goes on for longer than its test."""
    started = things.train(LONG)
    yield started
    with contextlib.suppress(StateConflict):
        running.client.jobs.cancel(started)
    running.client.jobs.wait(started, 30)


def address(job: JobView) -> str:
    return f"/w/{job.workspace_id}/p/{job.project_id}/jobs/{job.id}"


def points(page: Page) -> int:
    """How many points the curve of the loss has in this page."""
    return int(page.locator("[data-chart=loss]").get_attribute("data-points") or 0)


def told(running: FreshService, job: JobView) -> int:
    """How many steps the story tells a loss of."""
    events = [event.body for event in running.client.jobs.events(job) if event.kind == "metric"]
    return len({body["step"] for body in events if {"loss", "validation_loss"} & body["values"].keys()})


def wait_for_points(page: Page, num_points: int, seconds: float = 60) -> None:
    page.wait_for_function(
        "(wanted) => Number(document.querySelector('[data-chart=loss]')?.dataset.points ?? 0) >= wanted",
        arg=num_points,
        timeout=1000 * seconds,
    )


def test_a_reload_in_the_middle_loses_no_point(running: FreshService, open_window: OpenWindow, job: JobView) -> None:
    page = open_window(EMAIL).go(address(job))
    wait_for_points(page, 10)
    before = told(running, job)
    page.reload()
    wait_for_points(page, before)
    assert points(page) <= told(running, job)


def test_two_tabs_show_the_same_and_a_button_in_one_moves_the_other(open_window: OpenWindow, job: JobView) -> None:
    first = open_window(EMAIL)
    page, other = first.go(address(job)), first.page.context.new_page()
    other.goto(first.site + address(job).rpartition("/")[0])
    row = other.locator(f"[data-job='{job.id}']")
    expect(row).to_have_attribute("data-state", "running", timeout=30_000)
    wait_for_points(page, 5)
    page.locator("[data-do=cancel]").click()
    page.locator("dialog[open] button[value=cancel]").click()
    expect(page.locator("#status")).to_have_attribute("data-state", "cancelled", timeout=30_000)
    expect(row).to_have_attribute("data-state", "cancelled", timeout=10_000)


def test_another_person_watches_live_and_has_no_button(
    open_window: OpenWindow, vera: str, job: JobView, things: Things
) -> None:
    page = open_window(vera).go(address(job))
    wait_for_points(page, 5)
    assert page.locator("[data-do]").count() == 0
    project = address(job).partition("/jobs")[0]
    page.goto(page.url.partition("/w/")[0] + f"{project}/models/{things.model_id}")
    assert page.locator("[data-island=predict]").count() == 1
    assert page.locator("[data-island=upload], main form[method=post], [data-do]").count() == 0


def test_a_lost_connection_is_told_and_heals_by_itself(
    running: FreshService, open_window: OpenWindow, job: JobView
) -> None:
    window = open_window(EMAIL)
    page = window.go(address(job))
    wait_for_points(page, 10)
    lost = page.locator("#lost")
    expect(lost).to_be_hidden()
    deadline = time.monotonic() + 30
    while not lost.is_visible():  # it comes back within seconds, so it is kept away until the page has noticed
        assert time.monotonic() < deadline, "nobody is told that the connection is lost"
        for process in running.processes("web"):
            process.signal(signal.SIGKILL)
        page.wait_for_timeout(300)
    seen = points(page)
    expect(lost).to_be_hidden(timeout=60_000)
    wait_for_points(page, seen + 5)
    count = wait_until(lambda: points(page) >= (now := told(running, job)) - 5 and now, 30, "the points of the gap")
    assert count > seen
    window.forgive("ERR_CONNECTION_REFUSED")
    window.forgive("ERR_INCOMPLETE_CHUNKED_ENCODING")
    window.forgive("ERR_CONNECTION_RESET")
    window.forgive("ERR_EMPTY_RESPONSE")
