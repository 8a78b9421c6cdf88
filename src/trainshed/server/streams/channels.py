"""What many watchers of one job or workspace share: the newest events, read once and kept as ready frames.

A watcher remembers only how far it has come. One that is slow reads the story again from the database; nothing is
buffered for it.
"""

from __future__ import annotations

import asyncio
import collections
import itertools
import logging
import threading
import time
import weakref
from collections.abc import Callable

from django.db.models import F

from trainshed.schemas import FINAL_STATES, Event, JobView
from trainshed.server.queue import wake
from trainshed.server.records.models import Job
from trainshed.server.services import jobs
from trainshed.server.streams.door import database

log = logging.getLogger(__name__)
POLL_SECONDS = 5.0
_KEPT_EVENTS = 1000
_LISTED_JOBS = 100
# What one watcher holds at most while it is slow to read.
_MOST_FRAMES = 100


def frame(kind: str, data: str, cursor: str = "") -> bytes:
    """One server-sent event (WHATWG HTML, section 9.2)."""
    head = f"id: {cursor}\n" if cursor else ""
    return f"{head}event: {kind}\ndata: {data}\n\n".encode()


class Channel:
    """Wakes its watchers; `refresh` of a subclass brings what is new, one reader at a time."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()
        self._refreshing = asyncio.Lock()
        self._last_refresh = 0.0
        self._is_hinted = False

    async def wait(self) -> bool:
        """Until something was refreshed; false if nothing came within the poll period."""
        changed = self._changed
        try:
            await asyncio.wait_for(changed.wait(), POLL_SECONDS)
        except TimeoutError:
            return False
        return True

    async def refresh(self, *, younger_than_seconds: float = 0.0) -> None:
        """Bring what is new and wake everybody, unless another watcher has just done so."""
        async with self._refreshing:
            if time.monotonic() - self._last_refresh < younger_than_seconds:
                return
            self._is_hinted = False
            if await self._bring():
                changed, self._changed = self._changed, asyncio.Event()
                changed.set()
            self._last_refresh = time.monotonic()

    def take_hint(self) -> bool:
        """Whether a refresh is to be begun: not while one waits for its turn, which will see this hint's change too."""
        is_first = not self._is_hinted
        self._is_hinted = True
        return is_first

    async def _bring(self) -> bool:
        raise NotImplementedError


class JobChannel(Channel):
    """The newest events of one job."""

    def __init__(self, job_id: str, revision: int) -> None:
        super().__init__()
        self.job_id = job_id
        self.revision = revision
        self._oldest = revision
        self._frames: collections.deque[tuple[int, bytes, bool]] = collections.deque(maxlen=_KEPT_EVENTS)

    async def _bring(self) -> bool:
        events = await database(jobs.story, self.job_id, after=self.revision)
        for event in events:
            if len(self._frames) == _KEPT_EVENTS:
                self._oldest = self._frames[0][0]
            self._frames.append(_as_frame(event))
            self.revision = event.revision
        return bool(events)

    async def after(self, revision: int, *, without: str = "") -> tuple[int, list[tuple[int, bytes, bool]]]:
        """What comes next after a revision: how far it reaches, and (revision, frame, whether the job ended with it).

        Events of the kind `without` are left out of what is older than the frames that are kept here.
        """
        if revision >= self._oldest:
            newer = itertools.islice((entry for entry in self._frames if entry[0] > revision), _MOST_FRAMES)
            frames = list(newer)
        else:
            until = self._oldest
            events = await database(jobs.story, self.job_id, after=revision, limit=_MOST_FRAMES, without=without)
            frames = [_as_frame(event) for event in events if event.revision <= until]
            if len(frames) < _MOST_FRAMES:
                return until, frames
        return frames[-1][0] if frames else revision, frames


def _as_frame(event: Event) -> tuple[int, bytes, bool]:
    is_end = event.kind == "state" and event.body.get("to") in FINAL_STATES
    return event.revision, frame("event", event.model_dump_json(), str(event.revision)), is_end


class WorkspaceChannel(Channel):
    """The latest state of each job of one workspace that is unfinished or has moved."""

    def __init__(self, workspace_id: str) -> None:
        super().__init__()
        self.workspace_id = workspace_id
        self.serial = 0
        self._latest: dict[str, tuple[int, int, bytes]] = {}

    async def _bring(self) -> bool:
        views, listed = await database(_workspace_jobs, self.workspace_id, set(self._latest))
        before = self.serial
        for view in views:
            if self._latest.get(view.id, (0, -1))[1] != view.revision:
                self.serial += 1
                self._latest[view.id] = (self.serial, view.revision, frame("job", view.model_dump_json()))
        # What left the list has just been told for the last time; it stays a while for slow watchers.
        left = sorted(self._latest.keys() - listed, key=lambda name: self._latest[name][0])
        for job_id in left[:-_LISTED_JOBS]:
            del self._latest[job_id]
        return self.serial > before

    def after(self, serial: int) -> list[bytes]:
        """Frames of the jobs that have moved since a serial number, the oldest first."""
        return [entry[2] for entry in sorted(self._latest.values()) if entry[0] > serial]


def _workspace_jobs(workspace_id: str, known: set[str]) -> tuple[list[JobView], set[str]]:
    """(the listed jobs and those known from before, the ids of the listed): the newest, and the first to be done."""
    newest = Job.objects.filter(workspace_id=workspace_id).order_by("-created_at")[:_LISTED_JOBS]
    unfinished = Job.objects.filter(workspace_id=workspace_id).exclude(state__in=FINAL_STATES)
    first = unfinished.order_by(F("started_at").desc(nulls_last=True), "created_at")[:_LISTED_JOBS]
    found = {row.id: row for row in (*newest, *first)}
    listed = set(found)
    found |= Job.objects.in_bulk([job_id for job_id in known if job_id not in found])
    return [jobs.view(row) for row in sorted(found.values(), key=lambda row: row.created_at)], listed


class Hub:
    """Turns wake-ups into refreshes of the channels that somebody watches."""

    def __init__(self) -> None:
        self._jobs: weakref.WeakValueDictionary[str, JobChannel] = weakref.WeakValueDictionary()
        self._workspaces: weakref.WeakValueDictionary[str, WorkspaceChannel] = weakref.WeakValueDictionary()
        self._tasks: set[asyncio.Task[None]] = set()

    async def job(self, job_id: str) -> JobChannel:
        """The channel of a job, shared by all its watchers and gone with the last one."""
        channel = self._jobs.get(job_id)
        if channel is None:
            revision = await database(lambda: Job.objects.values_list("revision", flat=True).get(id=job_id))
            channel = self._jobs.setdefault(job_id, JobChannel(job_id, revision))
        return channel

    async def workspace(self, workspace_id: str) -> WorkspaceChannel:
        channel = self._workspaces.get(workspace_id)
        if channel is None:
            channel = self._workspaces.setdefault(workspace_id, WorkspaceChannel(workspace_id))
        await channel.refresh(younger_than_seconds=0.2)
        return channel

    def start(self) -> Callable[[], None]:
        """Listen for wake-ups in a thread; returns what ends it, within half a second."""
        loop, stop = asyncio.get_running_loop(), threading.Event()
        thread = threading.Thread(target=self._listen, args=(loop, stop), name="hub", daemon=True)
        thread.start()

        def end() -> None:
            stop.set()
            thread.join()

        return end

    def _listen(self, loop: asyncio.AbstractEventLoop, stop: threading.Event) -> None:
        listener = wake.listen()
        try:
            while not stop.is_set():
                hints = listener.wait(0.5)
                if hints and not loop.is_closed():
                    loop.call_soon_threadsafe(self._heard, hints)
        finally:
            listener.close()

    def _heard(self, hints: set[tuple[str, str]]) -> None:
        channels: list[Channel] = [self._jobs[job_id] for job_id, _ in hints if job_id in self._jobs]
        channels += [self._workspaces[name] for name in {name for _, name in hints} if name in self._workspaces]
        for channel in channels:
            if not channel.take_hint():
                continue
            task = asyncio.ensure_future(channel.refresh())
            self._tasks.add(task)
            task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception():
            log.warning("a refresh failed; the poll makes up for it: %s", task.exception())


hub = Hub()
