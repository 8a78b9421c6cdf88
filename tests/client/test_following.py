"""A job's story, followed through lost connections, restarts and resets."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from trainshed import Client
from trainshed.errors import DatasetUnfit, NotFound, StateConflict, TrainshedError, Unavailable
from trainshed.schemas import Event, JobView, Reason
from trainshed.testing.fake_server import FakeServer, Fault


@pytest.fixture
def running(server: FakeServer, client: Client, pictures: Path) -> JobView:
    """A training that runs and goes on only when the test tells it to."""
    server.holds_trainings = True
    job = client.train(client.datasets.import_folder(pictures).dataset)
    server.move(job.id, "running")
    return job


class Reader:
    """Follows a job in a thread, as a program would, and remembers what it was told."""

    def __init__(self, client: Client, job: JobView, after: int = 0) -> None:
        self.events: list[Event] = []
        self.jobs: list[JobView] = []
        self.failure: TrainshedError | None = None
        self._told = threading.Condition()
        self._thread = threading.Thread(target=self._read, args=(client.jobs.follow(job, after),))
        self._thread.start()

    def _read(self, story: Iterator[Event | JobView]) -> None:
        try:
            for told in story:
                with self._told:
                    (self.events if isinstance(told, Event) else self.jobs).append(told)  # type: ignore[arg-type]
                    self._told.notify_all()
        except TrainshedError as error:
            self.failure = error

    def wait_for(self, num_events: int) -> None:
        with self._told:
            assert self._told.wait_for(lambda: len(self.events) >= num_events, 20)

    def join(self) -> None:
        self._thread.join(20)
        assert not self._thread.is_alive()


def test_each_event_is_told_once_in_order_and_the_ended_job_last(
    server: FakeServer, client: Client, running: JobView
) -> None:
    reader = Reader(client, running)
    for step in range(1, 6):
        server.tell(running.id, "progress", {"done": step, "total": 5})
    server.end(running.id)
    reader.join()

    assert [event.revision for event in reader.events] == list(range(1, 8))
    assert reader.jobs[-1].state == "succeeded"


def test_a_cut_connection_is_taken_up_where_it_broke(server: FakeServer, client: Client, running: JobView) -> None:
    reader = Reader(client, running)
    reader.wait_for(1)
    for step in range(2, 5):
        server.cut_streams()
        server.tell(running.id, "log", {"text": f"step {step}"})
        reader.wait_for(step)
    server.end(running.id)
    reader.join()

    assert [event.revision for event in reader.events] == [1, 2, 3, 4, 5]
    last_ids = [asked.headers.get("last-event-id") for asked in server.asked_for("GET", "/stream")]
    assert last_ids[0] is None
    assert "1" in last_ids


def test_a_reset_tells_nothing_twice(server: FakeServer, client: Client, running: JobView) -> None:
    server.tell(running.id, "log", {"text": "two"})
    reader = Reader(client, running)
    reader.wait_for(2)
    server.forgets_cursors = True
    server.cut_streams()
    server.tell(running.id, "log", {"text": "three"})
    reader.wait_for(3)
    server.end(running.id)
    reader.join()

    assert [event.revision for event in reader.events] == [1, 2, 3, 4]
    assert server.asked_for("GET", "/events")  # a reset is answered by asking again


def test_an_outage_of_many_answers_is_survived(server: FakeServer, client: Client, running: JobView) -> None:
    reader = Reader(client, running)
    reader.wait_for(1)
    server.faults = [Fault(503, {"Retry-After": "0"}), Fault(), Fault(502)]
    server.cut_streams()
    server.end(running.id)
    reader.join()

    assert reader.failure is None
    assert reader.jobs[-1].state == "succeeded"
    assert [event.revision for event in reader.events] == [1, 2]


def test_following_can_begin_in_the_middle(server: FakeServer, client: Client, running: JobView) -> None:
    for number in range(3):
        server.tell(running.id, "log", {"text": str(number)})
    server.end(running.id)

    told = list(client.jobs.follow(running, after=3))

    assert [event.revision for event in told if isinstance(event, Event)] == [4, 5]


def test_a_job_that_ended_long_ago_tells_its_whole_story(server: FakeServer, client: Client, running: JobView) -> None:
    server.end(running.id)
    events: list[Event] = []

    ended = client.jobs.watch(running.id, events.append)

    assert ended.state == "succeeded"
    assert [event.body["to"] for event in events] == ["running", "succeeded"]


def test_an_error_of_the_watcher_is_the_watchers(server: FakeServer, client: Client, running: JobView) -> None:
    def stumble(event: Event) -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        client.jobs.watch(running, stumble)


def test_an_unknown_job_is_not_waited_for(client: Client) -> None:
    with pytest.raises(NotFound):
        client.jobs.wait("nothing")


def test_waiting_ends_in_time_with_a_job_that_goes_on(client: Client, running: JobView) -> None:
    with pytest.raises(Unavailable, match="not ended in the time given"):
        client.jobs.wait(running, timeout_seconds=0.3)


def test_waiting_in_time_returns_the_ended_job(server: FakeServer, client: Client, running: JobView) -> None:
    server.end(running.id)

    assert client.jobs.wait(running, timeout_seconds=20).state == "succeeded"


def test_a_failed_job_raises_the_error_that_its_reason_names(
    server: FakeServer, client: Client, running: JobView
) -> None:
    server.end(running.id, "failed", Reason(code="dataset_unfit", message="One class only.", hint="Add one."))

    assert client.jobs.wait(running).state == "failed"
    with pytest.raises(DatasetUnfit, match=r"failed: One class only\.") as caught:
        client.jobs.wait(running, must_succeed=True)
    assert caught.value.hint == "Add one."


def test_a_cancelled_job_without_a_reason_is_an_error_too(server: FakeServer, client: Client, running: JobView) -> None:
    client.jobs.cancel(running)

    with pytest.raises(TrainshedError, match="is cancelled"):
        client.jobs.wait(running, must_succeed=True)


def test_events_are_fetched_page_after_page(
    server: FakeServer, client: Client, running: JobView, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainshed.client.jobs.PAGE_EVENTS", 2)
    for number in range(4):
        server.tell(running.id, "log", {"text": str(number)})

    assert [event.revision for event in client.jobs.events(running, after=1)] == [2, 3, 4, 5]


def test_a_job_can_be_paused_resumed_and_asked_why_it_waits(client: Client, running: JobView) -> None:
    assert client.jobs.pause(running).state == "paused"
    assert client.jobs.resume(running.id).state == "queued"
    waiting = client.jobs.why_waiting(running)
    assert (waiting.waiting, waiting.place) == (True, 1)
    assert client.jobs.cancel(running).state == "cancelled"
    with pytest.raises(TrainshedError, match="The job is cancelled"):
        client.jobs.resume(running)


def test_jobs_are_found_by_the_beginning_of_their_id(client: Client, running: JobView) -> None:
    assert client.jobs.find(running.id).id == running.id
    assert client.jobs.find(running.id[:-1] + running.id[-1]).id == running.id
    others = [job.id for job in client.jobs.list()]
    assert len(others) == 3
    with pytest.raises(TrainshedError, match="could be") as caught:
        client.jobs.find("job")
    assert all(job_id in caught.value.message for job_id in others)
    with pytest.raises(NotFound, match="no job 'x'"):
        client.jobs.find("x")


def test_jobs_are_listed_by_state_and_kind(client: Client, running: JobView) -> None:
    assert [job.id for job in client.jobs.list(state="running")] == [running.id]
    assert {job.kind for job in client.jobs.list(kind="snapshot")} == {"snapshot"}


def test_a_second_pause_is_the_servers_conflict(server: FakeServer, client: Client, running: JobView) -> None:
    client.jobs.pause(running)

    with pytest.raises(TrainshedError) as caught:
        client.jobs.pause(running)
    assert caught.value.status == StateConflict.status
