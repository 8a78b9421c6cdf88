"""Jobs: what they are doing, their story as it happens, and the ways to stop one."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from itertools import islice

from trainshed.client.answers import pages, parse, parse_json
from trainshed.client.names import pick
from trainshed.client.place import Place, id_of
from trainshed.client.streams import Message, messages
from trainshed.client.transport import Transport
from trainshed.errors import InvalidInput, NotFound, TrainshedError, Unavailable, from_problem
from trainshed.schemas import FINAL_STATES, Event, JobView, Page, Waiting

PAGE_EVENTS = 500
SILENCE_SECONDS = 60.0  # the server comments far more often; a longer silence is a dead connection
PATIENCE_SECONDS = 300.0  # an outage that lasts longer is the caller's to judge
_LONGEST_PAUSE_SECONDS = 5.0
_SEARCHED_JOBS = 1000


class Jobs:
    """`client.jobs`"""

    def __init__(self, transport: Transport, place: Place) -> None:
        self._transport = transport
        self._place = place

    def list(self, state: str | None = None, kind: str | None = None) -> Iterator[JobView]:
        return pages(self._transport, f"{self._place.path()}/jobs", JobView, {"state": state, "kind": kind})

    def get(self, job: JobView | str) -> JobView:
        """The job as it is now, by its view or its id."""
        return parse(JobView, self._transport.request("GET", self._path(job)))

    def find(self, wanted: str) -> JobView:
        """By id, or a beginning of a recent one's. Raises `NotFound`, or `InvalidInput` naming several."""
        try:
            return self.get(wanted)
        except (NotFound, InvalidInput):
            newest = islice(self.list(), _SEARCHED_JOBS)
            meant = [_Titled(job) for job in newest if wanted and job.id.startswith(wanted)]
            if not meant:
                raise NotFound(f"There is no job {wanted!r}.", hint="`trainshed jobs list` shows them.") from None
            return pick(meant, wanted, "job").job

    def cancel(self, job: JobView | str) -> JobView:
        return self._tell(job, "cancel")

    def pause(self, job: JobView | str) -> JobView:
        """Ask a running job to stop after a checkpoint; `resume` lets it go on from there."""
        return self._tell(job, "pause")

    def resume(self, job: JobView | str) -> JobView:
        return self._tell(job, "resume")

    def why_waiting(self, job: JobView | str) -> Waiting:
        """Its place in the queue and what it waits for."""
        return parse(Waiting, self._transport.request("GET", f"{self._path(job)}/waiting"))

    def events(self, job: JobView | str, after: int = 0) -> Iterator[Event]:
        """The job's story so far, from the revision after `after`."""
        path = f"{self._path(job)}/events"
        while True:
            answer = self._transport.request("GET", path, params={"after": after, "limit": PAGE_EVENTS})
            page = parse(Page[Event], answer)
            yield from page.items
            if not page.items:
                return
            after = page.items[-1].revision

    def watch(self, job: JobView | str, on_event: Callable[[Event], object]) -> JobView:
        """Call `on_event` with each event of the job, from its first; return the job when it has ended."""
        for told in self.follow(job):
            if isinstance(told, Event):
                on_event(told)
            else:
                latest = told
        return latest

    def wait(self, job: JobView | str, timeout_seconds: float | None = None, must_succeed: bool = False) -> JobView:
        """Return the job when it has ended. With `must_succeed` a failed or cancelled one raises its reason.

        Raises `Unavailable` when it has not ended after `timeout_seconds`.
        """
        for told in self.follow(job, timeout_seconds=timeout_seconds):
            if isinstance(told, JobView):
                latest = told
        if must_succeed and latest.state != "succeeded":
            raise failure_of(latest)
        return latest

    def follow(
        self, job: JobView | str, after: int = 0, timeout_seconds: float | None = None
    ) -> Iterator[Event | JobView]:
        """The job's story as it happens: each event after the revision `after` once and in order, the job
        itself whenever the server tells it, and last the ended job.

        Lost connections are taken up again where they broke; raises `ServerUnreachable` when the server
        stays away for five minutes, `Unavailable` when the job has not ended after `timeout_seconds`.
        """
        return _Following(self, self._transport, f"{self._path(job)}/stream", job, after, timeout_seconds).told()

    def _tell(self, job: JobView | str, order: str) -> JobView:
        return parse(JobView, self._transport.request("POST", f"{self._path(job)}/{order}"))

    def _path(self, job: JobView | str) -> str:
        return f"{self._place.path(job)}/jobs/{id_of(job)}"


class _Following:
    """One reader of one job's story, across as many connections as it takes."""

    def __init__(
        self,
        jobs: Jobs,
        transport: Transport,
        path: str,
        job: JobView | str,
        after: int,
        timeout_seconds: float | None,
    ) -> None:
        self._jobs = jobs
        self._transport = transport
        self._path = path
        self._job = job
        self._revision = after
        self._cursor = str(after) if after else ""
        self._retry_seconds = 0.5
        self._deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        self._last_answer = time.monotonic()

    def told(self) -> Iterator[Event | JobView]:
        failures = 0
        while True:
            revision = self._revision
            try:
                yield from self._connection()
                latest = self._jobs.get(self._job)
                self._last_answer = time.monotonic()
                if latest.state in FINAL_STATES:
                    yield from self._missed()
                    yield latest
                    return
            except Unavailable:
                self._give_up_when_late()
                if time.monotonic() - self._last_answer > PATIENCE_SECONDS:
                    raise
            failures = 0 if self._revision > revision else failures + 1
            self._pause(failures)

    def _connection(self) -> Iterator[Event | JobView]:
        """What one connection tells, until it ends or is of no more use."""
        headers = {"Accept": "text/event-stream"}
        if self._cursor:
            headers["Last-Event-ID"] = self._cursor
        has_ended = False
        with self._transport.stream("GET", self._path, headers=headers, timeout=self._silence_seconds()) as answer:
            for message in messages(answer.iter_bytes()):
                self._note(message)
                told = self._understood(message)
                has_ended = has_ended or (isinstance(told, JobView) and told.state in FINAL_STATES)
                if message.kind == "reset":  # our cursor leads nowhere: ask, and let revisions stop a replay
                    yield from self._missed()
                elif message.kind == "comment" and has_ended:
                    return  # the server has nothing left to say but keeps the line open
                elif isinstance(told, JobView) or (told and self._is_news(told)):
                    yield told

    def _note(self, message: Message) -> None:
        self._give_up_when_late()
        self._last_answer = time.monotonic()
        self._cursor = message.last_id or self._cursor
        self._retry_seconds = message.retry_seconds or self._retry_seconds

    def _understood(self, message: Message) -> Event | JobView | None:
        if message.kind == "event":
            return parse_json(Event, message.data, self._path)
        if message.kind == "job":
            return parse_json(JobView, message.data, self._path)
        return None

    def _is_news(self, event: Event) -> bool:
        is_news = event.revision > self._revision
        self._revision = max(self._revision, event.revision)
        return is_news

    def _missed(self) -> Iterator[Event]:
        yield from (event for event in self._jobs.events(self._job, self._revision) if self._is_news(event))

    def _silence_seconds(self) -> float:
        if self._deadline is None:
            return SILENCE_SECONDS
        return max(0.05, min(SILENCE_SECONDS, self._deadline - time.monotonic()))

    def _give_up_when_late(self) -> None:
        if self._deadline is not None and time.monotonic() >= self._deadline:
            raise Unavailable("The job has not ended in the time given.", hint="It goes on; ask again later.")

    def _pause(self, failures: int) -> None:
        longest = min(self._retry_seconds * 2.0 ** min(failures, 8), _LONGEST_PAUSE_SECONDS)
        seconds = longest * random.uniform(0.5, 1.0)
        if self._deadline is not None:
            seconds = max(0.0, min(seconds, self._deadline - time.monotonic()))
        self._transport.sleep(seconds)
        self._give_up_when_late()


class _Titled:
    """A job under the names that a person may call it by."""

    def __init__(self, job: JobView) -> None:
        self.job = job
        self.id = job.id
        self.name = job.title


def failure_of(job: JobView) -> TrainshedError:
    """A job that did not succeed, as the error that its reason names."""
    if job.reason is None:
        return TrainshedError(f"Job {job.title!r} ({job.id}) is {job.state}.")
    message = f"Job {job.title!r} ({job.id}) {job.state}: {job.reason.message}"
    return from_problem({"code": job.reason.code, "detail": message, "hint": job.reason.hint})
