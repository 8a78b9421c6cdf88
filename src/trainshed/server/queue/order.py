"""Who is next, and why the others wait: one pure function that the scheduler acts on and the pages explain with.

Between workspaces by slots held / weight; inside a workspace by priority, then age. Jobs without a GPU have
slots of their own and never wait for a card. What a workspace's quota holds back takes no turn.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from trainshed.schemas import Reason


@dataclass(frozen=True)
class QueuedJob:
    """A job that may start now."""

    id: str
    workspace_id: str
    num_gpus: int
    priority: int
    created_at: float

    @property
    def num_slots(self) -> int:
        return max(1, self.num_gpus)

    @property
    def rank(self) -> tuple[int, float, str]:
        return (-self.priority, self.created_at, self.id)


@dataclass
class Limit:
    """How much of something a workspace uses (in the month `period`), and the most that it may."""

    used: int
    most: int
    period: str = ""


@dataclass
class Share:
    """What a workspace holds of one pool, against its weight, and its quotas where they are limited."""

    workspace_id: str
    weight: float
    num_held: int
    running: Limit | None = None
    gpu_seconds: Limit | None = None


@dataclass(frozen=True)
class Slot:
    """Room for one job without a card, or one card; `position` is the card's number on its host."""

    id: int
    position: int


@dataclass
class Pool:
    """The slots of one pool: per host the free ones and how many there are in all, per workspace those it holds."""

    free: dict[str, list[Slot]] = field(default_factory=lambda: defaultdict(list))
    totals: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    held: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    @property
    def num_free(self) -> int:
        return sum(map(len, self.free.values()))

    @property
    def largest_host(self) -> int:
        return max(self.totals.values(), default=0)

    def take(self, num_slots: int) -> tuple[str, list[Slot]] | None:
        """Slots on one host: the host that they fill best, so that large holes stay for large jobs."""
        fitting = [(len(slots), host) for host, slots in self.free.items() if len(slots) >= num_slots]
        if not fitting:
            return None
        host = min(fitting)[1]
        taken, self.free[host] = self.free[host][:num_slots], self.free[host][num_slots:]
        return host, taken


@dataclass(frozen=True)
class Decision:
    """What happens to one job now: slots on a host, or its place in the line and the reason."""

    job: QueuedJob
    host_id: str | None = None
    slots: tuple[Slot, ...] = ()
    place: int | None = None
    reason: Reason | None = None


def plan(jobs: list[QueuedJob], shares: list[Share], pool: Pool) -> Iterator[Decision]:
    """Decide for each job in order. Nobody overtakes a job that only waits for slots to become free."""
    queues: dict[str, list[QueuedJob]] = defaultdict(list)
    for job in sorted(jobs, key=lambda job: job.rank, reverse=True):
        # What fits nowhere takes no turn: at the head of its workspace it would give that turn another age.
        if job.num_slots > pool.largest_host:
            yield Decision(job, reason=_fits_nowhere(job, pool))
        else:
            queues[job.workspace_id].append(job)
    held = {share.workspace_id: share for share in shares}
    place, blocked = 1, False
    while queues:
        workspace_id = min(queues, key=lambda name: _turn(held[name], queues[name][-1]))
        job = queues[workspace_id].pop()
        if not queues[workspace_id]:
            del queues[workspace_id]
        share = held[workspace_id]
        if reason := _over_quota(job, share):
            yield Decision(job, reason=reason)
            continue
        taken = None if blocked else pool.take(job.num_slots)
        share.num_held += job.num_slots
        if share.running:
            share.running.used += 1
        if taken:
            yield Decision(job, host_id=taken[0], slots=tuple(taken[1]))
        else:
            blocked = True
            yield Decision(job, place=place, reason=_slots_taken(job, pool))
            place += 1


def _turn(share: Share, head: QueuedJob) -> tuple[float, float, str]:
    return (share.num_held / share.weight, head.created_at, head.id)


def _fits_nowhere(job: QueuedJob, pool: Pool) -> Reason:
    if not pool.totals:
        return Reason(
            code="no_host",
            message="No machine has reported slots for this job yet.",
            hint="A machine's agent reports a few seconds after it starts; `trainshed gpus` shows them.",
        )
    return Reason(
        code="fits_nowhere",
        message=f"The job asks for {job.num_gpus} GPUs on one host; the largest host has {pool.largest_host}.",
        hint="Ask for fewer GPUs, or join a larger machine.",
    )


def _slots_taken(job: QueuedJob, pool: Pool) -> Reason:
    what = f"{job.num_gpus} free GPUs on one host" if job.num_gpus else "a free CPU slot"
    return Reason(
        code="slots_taken",
        message=f"Waiting for {what}; {sum(pool.totals.values()) - pool.num_free} of "
        f"{sum(pool.totals.values())} slots are in use or promised to jobs before this one.",
    )


def _over_quota(job: QueuedJob, share: Share) -> Reason | None:
    running, cards = share.running, share.gpu_seconds
    if running and running.used >= running.most:
        return Reason(
            code="quota",
            message=f"The workspace is at its limit: {running.used} of at most {running.most} jobs run or are next.",
            hint="It starts when one of them has ended; an administrator of the installation can raise the limit.",
        )
    if job.num_gpus and cards and cards.used >= cards.most:
        return Reason(
            code="quota",
            message=f"The workspace has used {cards.used / 3600:,.1f} of its {cards.most / 3600:,.1f} GPU-hours "
            f"of {cards.period}.",
            hint="They begin anew with the next month (UTC); an administrator of the installation can raise the limit.",
        )
    return None
