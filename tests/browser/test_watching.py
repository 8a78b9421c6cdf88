"""A training that is watched: reloaded, in two tabs, by two people, and through the death of the web process."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from browser.conftest import EMAIL, FreshService, OpenWindow, Things, write_rows
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


NUM_LINES, FIRST_KEPT = 20_000, 300
LONG_STORY = """
from trainshed.server.records.models import Event, Job
at, ended_at = 1_700_000_000.0, {ended_at}
job = Job.objects.create(
    id="{job_id}", workspace_id="{workspace_id}", project_id="{project_id}", kind="import", title="a long story",
    spec={{}}, state="{state}", pool="cpu", created_by="test", created_at=at, available_at=at, ended_at=ended_at,
    revision={last}, attempt=1,
)
Event.objects.bulk_create(
    Event(job=job, revision=number, attempt=1, kind="log", body={{"text": f"line {{number}}"}}, at=at + number)
    for number in range({first}, {last} + 1)
)
"""
ITS_END = """
from trainshed.server.records.models import Event, Job
Event.objects.create(job_id="{job_id}", revision={next}, attempt=1, kind="log", body={{"text": "the end"}}, at=1.0)
Job.objects.filter(id="{job_id}").update(state="cancelled", ended_at=1.0, revision={next})
"""


@pytest.mark.parametrize(("state", "ended_at"), [("failed", 1_700_000_000.0), ("running", None)])
def test_a_story_of_which_the_beginning_is_gone_shows_its_newest_lines_soon(
    running: FreshService, open_window: OpenWindow, things: Things, state: str, ended_at: float | None
) -> None:
    """Older events may have been compacted: the stream says `reset`, and the page takes what is there."""
    place = {"workspace_id": things.dataset.workspace_id, "project_id": things.dataset.project_id}
    last, job_id = FIRST_KEPT + NUM_LINES - 1, f"longstory{state}".ljust(20, "0")
    told = {"state": state, "ended_at": ended_at, "first": FIRST_KEPT, "last": last}
    write_rows(running, LONG_STORY.format(job_id=job_id, **place, **told))
    window = open_window(EMAIL)
    page = window.go(f"/w/{place['workspace_id']}/p/{place['project_id']}/jobs/{job_id}")
    lines = page.locator("[data-log] [data-line]")
    expect(lines.last).to_contain_text(f"line {last}", timeout=40_000)
    assert 4000 <= lines.count() <= 5000
    numbers = [int(words.rpartition(" ")[2]) for words in lines.all_text_contents()]
    assert numbers == list(range(last - len(numbers) + 1, last + 1)), "in order, nothing twice, nothing missing"
    # It follows the end until the reader scrolls away, and then it stays where the reader is.
    box, tail = page.locator("[data-log]"), page.locator("[data-tail]")
    assert box.evaluate("box => box.scrollHeight - box.scrollTop - box.clientHeight") < 8
    expect(tail).to_be_checked()
    box.evaluate("box => box.scrollTo(0, 0)")
    expect(tail).not_to_be_checked()
    if state == "running":
        write_rows(running, ITS_END.format(job_id=job_id, next=last + 1))
        expect(lines.last).to_contain_text("the end", timeout=30_000)
        assert box.evaluate("box => box.scrollTop") == 0


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
