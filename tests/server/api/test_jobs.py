"""Jobs: lists, stories, why they wait, and what may be asked of them."""

from __future__ import annotations

from typing import Any

import pytest

from server.api_client import Lab, make_host, ok, problem
from trainshed.schemas import Event, JobView, NewEvent


def _ledger() -> Any:
    from trainshed.server.queue import ledger

    return ledger


def test_jobs_are_listed_by_state_and_kind(viewer, lab):
    made = {(kind, state): lab.job(kind, state).id for kind in ("train", "import") for state in ("queued", "failed")}
    address = f"{lab.path}/jobs"

    def listed(**params: str) -> set[str]:
        return {row["id"] for row in ok(viewer.get(address, params=params))["items"]}

    assert listed() == set(made.values())
    assert listed(state="queued") == {made["train", "queued"], made["import", "queued"]}
    assert listed(kind="import", state="failed") == {made["import", "failed"]}
    assert listed(state="queued,failed", kind="train") == {made["train", "queued"], made["train", "failed"]}
    assert listed(state="nonsense") == set()


def test_a_jobs_view_fits_its_schema_and_tells_its_attempts(viewer, lab):
    held, _ = lab.attempt("train")
    shown = JobView.model_validate(ok(viewer.get(f"{lab.path}/jobs/{held.job_id}")))
    assert (shown.state, shown.attempt, len(shown.attempts)) == ("running", 1, 1)
    assert shown.attempts[0].host.startswith("host ") and shown.attempts[0].started_at
    assert "token" not in str(ok(viewer.get(f"{lab.path}/jobs/{held.job_id}"))).lower()


def test_a_story_is_paged_without_gaps(viewer, lab):
    held, _ = lab.attempt("train")
    _ledger().tell(held, 0, [NewEvent(kind="metric", body={"step": step}) for step in range(25)])
    address = f"{lab.path}/jobs/{held.job_id}/events"
    story, after = [], 0
    while True:
        page = ok(viewer.get(address, params={"after": after, "limit": 10}))
        story += [Event.model_validate(row) for row in page["items"]]
        if page["next_cursor"] is None:
            break
        after = int(page["next_cursor"])
    assert [event.revision for event in story] == list(range(1, 29))
    assert [event.body["step"] for event in story if event.kind == "metric"] == list(range(25))
    assert [event.body["to"] for event in story if event.kind == "state"] == ["queued", "assigned", "running"]


@pytest.mark.parametrize(("after", "num"), [(-5, 1), (0, 1), (1, 0), (2, 0), (10**9, 0), (10**30, 0)])
def test_a_story_after_any_revision_is_what_is_left(viewer, lab, after, num):
    job = lab.job()
    page = ok(viewer.get(f"{lab.path}/jobs/{job.id}/events", params={"after": after}))
    assert (len(page["items"]), page["next_cursor"]) == (num, None)


@pytest.mark.parametrize("after", ["x", "1.5", ""])
def test_a_revision_that_is_none_is_refused(viewer, lab, after):
    answer = viewer.get(f"{lab.path}/jobs/{lab.job().id}/events", params={"after": after})
    problem(answer, 422, "invalid_input")


def test_the_reason_of_waiting_is_told(viewer, lab):
    from trainshed.server.records.models import Host, Slot

    first, second, third = lab.job(), lab.job(), lab.job(pool="gpu", num_gpus=2)

    def reason(job: Any) -> tuple[str | None, int | None]:
        waiting = ok(viewer.get(f"{lab.path}/jobs/{job.id}/waiting"))
        assert waiting["waiting"] is True
        return waiting["reason"]["code"], waiting["place"]

    assert reason(first) == ("no_host", None)
    host, _ = make_host()
    Slot.objects.create(host=host, pool="cpu", position=0)
    Slot.objects.create(host=host, pool="gpu", position=0)
    assert [reason(job) for job in (first, second, third)] == [
        ("starting", None),
        ("slots_taken", 1),
        ("fits_nowhere", None),
    ]
    assert Host.objects.count() == 1


@pytest.mark.parametrize(
    ("state", "code"), [("blocked", "blocked"), ("paused", "paused"), ("running", None), ("succeeded", None)]
)
def test_a_job_that_is_not_in_the_line_says_why(viewer, lab, state, code):
    waiting = ok(viewer.get(f"{lab.path}/jobs/{lab.job(state=state).id}/waiting"))
    assert waiting["waiting"] is (code is not None) and waiting["place"] is None
    assert (waiting["reason"] or {}).get("code") == code


def test_a_crashed_job_says_that_it_is_backing_off(viewer, lab):
    from trainshed.schemas import EndReport

    held, _ = lab.attempt("train")
    _ledger().end(held, EndReport(end="crashed"))
    waiting = ok(viewer.get(f"{lab.path}/jobs/{held.job_id}/waiting"))
    assert waiting["waiting"] and waiting["reason"]["code"] == "backing_off"


def test_another_workspaces_titles_are_not_in_the_reason(viewer, lab):
    from trainshed.server.records.models import Slot

    Slot.objects.create(host=make_host()[0], pool="cpu", position=0)
    Lab("elsewhere").job(title="top secret")
    lab.job(created_at=0.0)
    mine = lab.job()
    assert "secret" not in str(ok(viewer.get(f"{lab.path}/jobs/{mine.id}/waiting")))


# state -> act -> (status, what the message says); a state that is missing accepts it
REFUSALS: dict[str, dict[str, str]] = {
    "cancel": {"succeeded": "already succeeded", "failed": "already failed"},
    "pause": {state: f"is {state}" for state in ("queued", "blocked", "paused", "succeeded", "failed", "cancelled")},
    "resume": {state: f"is {state}" for state in ("queued", "blocked", "running", "succeeded", "failed", "cancelled")},
}
STATES = ("blocked", "queued", "assigned", "running", "paused", "succeeded", "failed", "cancelled")


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("act", REFUSALS)
def test_each_act_is_done_or_refused_with_the_state(editor, lab, act, state):
    job = lab.job(state=state)
    answer = editor.post(f"{lab.path}/jobs/{job.id}/{act}")
    words = REFUSALS[act].get(state, "is assigned" if (act, state) == ("resume", "assigned") else None)
    if words:
        problem(answer, 409, "state_conflict", words)
        assert ok(editor.get(f"{lab.path}/jobs/{job.id}"))["revision"] == 1
        return
    shown = ok(answer)
    if act == "cancel" and state in ("assigned", "running"):
        assert (shown["state"], shown["cancel_requested"]) == (state, True)
    elif act == "cancel":
        assert shown["state"] == "cancelled"
    elif act == "pause":
        assert (shown["state"], shown["pause_requested"]) == (state, True)
    else:
        assert shown["state"] == "queued"


def test_who_asked_stands_in_the_story(editor, lab):
    held, _ = lab.attempt("train")
    ok(editor.post(f"{lab.path}/jobs/{held.job_id}/pause"))
    ok(editor.post(f"{lab.path}/jobs/{held.job_id}/cancel"))
    story = ok(editor.get(f"{lab.path}/jobs/{held.job_id}/events"))["items"]
    label = f"person:{lab.person('editor').id}"
    assert [event["body"] for event in story[-2:]] == [{"pause_requested_by": label}, {"cancel_requested_by": label}]


def test_a_cancel_repeated_is_still_a_cancel(editor, lab):
    running = lab.attempt("train")[0]
    queued = lab.job()
    for _ in range(2):
        assert ok(editor.post(f"{lab.path}/jobs/{queued.id}/cancel"))["state"] == "cancelled"
        assert ok(editor.post(f"{lab.path}/jobs/{running.job_id}/cancel"))["cancel_requested"] is True
