"""The ledger's transactions. Each function is one transaction; the job row is the truth.

Everything else (processes, Ray, notifications) is hands and hints. Statements and fences stand in `sql.py`.
"""

from __future__ import annotations

import collections
import hashlib
import json
import random
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from django.db import connection, transaction

from trainshed.errors import (
    AttemptSuperseded,
    IdempotencyMismatch,
    NotFound,
    QuotaExceeded,
    StateConflict,
)
from trainshed.schemas import FINAL_STATES, EndReport, NewEvent, Reason, Renewal, Waiting
from trainshed.server.queue import counters, dialect, sql, wake
from trainshed.server.queue.order import Decision, Limit, Pool, QueuedJob, Share, Slot, plan
from trainshed.server.records.ids import new_id

MOST_DEATHS = 3
POOLS = ("cpu", "gpu")
_ANY_NUMBER = 1_000_000


@dataclass(frozen=True)
class Request:
    """What somebody wants done."""

    workspace_id: str
    project_id: str
    kind: str
    title: str
    spec: dict[str, Any]
    num_gpus: int = 0
    priority: int = 0
    parents: tuple[str, ...] = ()
    idempotency_key: str | None = None
    asked: dict[str, Any] | None = None
    """What was asked for, where title, spec, cards or parents were worked out from more: a key stands for it."""


@dataclass(frozen=True)
class Held:
    """An attempt and the job that it believes to hold."""

    attempt_id: str
    number: int
    job_id: str
    workspace_id: str

    @property
    def job(self) -> tuple[str, str]:
        return (self.job_id, self.workspace_id)

    @property
    def keys(self) -> dict[str, Any]:
        return {"attempt_id": self.attempt_id, "attempt": self.number, "job": self.job_id}


@dataclass(frozen=True)
class Assigned:
    """A new attempt, on its way to an executor. The token is in memory only."""

    held: Held
    kind: str
    host_id: str
    token: str
    gpus: tuple[int, ...]


def _ask(statement: str, **values: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(_in_dialect(statement), values)
        return cursor.fetchall()


def _write(statement: str, **values: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_in_dialect(statement), values)


def _in_dialect(statement: str) -> str:
    fragments = dialect.current()
    return statement.format(now=fragments.now, lock=fragments.lock, skip_locked=fragments.skip_locked)


def now() -> float:
    """The ledger's clock: seconds since 1970."""
    return float(_ask("SELECT {now}")[0][0])


def hash_token(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _story(
    job: tuple[str, str],
    revision: int,
    attempt: int,
    states: tuple[str, str],
    actor: str,
    reason: Reason | None = None,
) -> None:
    """The audit row and the state event of one change of state, and its count; `job` is its id and its workspace's."""
    job_id, workspace_id = job
    counters.move(workspace_id, *states)
    body: dict[str, Any] = {"from": states[0], "to": states[1]}
    if reason:
        body["reason"] = reason.model_dump()
    _write(sql.EVENT, job=job_id, revision=revision, attempt=attempt, kind="state", body=json.dumps(body))
    _write(sql.TRANSITION, job=job_id, attempt=attempt, actor=actor, **{"from": states[0], "to": states[1]})


# Submitting


@counters.counted()
def submit(request: Request, *, actor: str) -> tuple[str, bool]:
    """Write the job down; returns (job id, whether it is new). The commit is the acknowledgement.

    The same idempotency key and request give the same job; another request raises `IdempotencyMismatch`. Raises
    `QuotaExceeded` when as many jobs of the workspace wait as may.
    """
    job_id = new_id()
    blocked = _any_unfinished(request.parents)
    state = "blocked" if blocked else "queued"
    fingerprint = _fingerprint(request)
    made = _ask(
        sql.SUBMIT,
        job=job_id,
        workspace=request.workspace_id,
        project=request.project_id,
        kind=request.kind,
        title=request.title,
        spec=json.dumps(request.spec),
        state=state,
        priority=request.priority,
        pool="gpu" if request.num_gpus else "cpu",
        num_gpus=request.num_gpus,
        key=request.idempotency_key,
        sha256=fingerprint,
        actor=actor,
    )
    if not made:
        return _made_before(request, fingerprint), False
    for parent in request.parents:
        _write(sql.PARENT, job=job_id, parent=parent)
    _story((job_id, request.workspace_id), 1, 0, ("", state), actor)
    wake.after_commit(job_id, request.workspace_id)
    return job_id, True


def _fingerprint(request: Request) -> str:
    worked_out = [request.title, request.spec, request.num_gpus, list(request.parents)]
    asked = worked_out if request.asked is None else request.asked
    said = [request.project_id, request.kind, asked, request.priority]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _made_before(request: Request, fingerprint: str) -> str:
    found = _ask(sql.FIND_BY_KEY, workspace=request.workspace_id, key=request.idempotency_key)
    if not found or found[0][1] != fingerprint:
        raise IdempotencyMismatch()
    return str(found[0][0])


def _any_unfinished(parents: Iterable[str]) -> bool:
    states = []
    for parent in sorted(parents):
        rows = _ask(sql.LOCK, job=parent)
        if not rows:
            raise NotFound("The job that this one waits for does not exist.")
        if rows[0][0] in ("failed", "cancelled"):
            raise StateConflict(f"The job '{rows[0][1]}' that this one waits for has {rows[0][0]}.")
        states.append(rows[0][0])
    return any(state != "succeeded" for state in states)


# Deciding


def _pools() -> dict[str, Pool]:
    pools = {name: Pool() for name in POOLS}
    for slot_id, host_id, name, position, holder, workspace_id in _ask(sql.SLOTS):
        pools[name].totals[host_id] += 1
        if holder is None:
            pools[name].free[host_id].append(Slot(slot_id, position))
        else:
            pools[name].held[workspace_id] += 1
    return pools


def _queue(name: str, pool: Pool, *, limit: int, most_gpus: int) -> tuple[list[QueuedJob], list[Share]]:
    limits = _limits()
    shares = [
        Share(workspace_id, weight, pool.held[workspace_id], **limits[workspace_id])
        for workspace_id, weight in _ask(sql.SHARES, pool=name)
    ]
    jobs = [
        QueuedJob(job_id, share.workspace_id, num_gpus, priority, created_at)
        for share in shares
        for job_id, num_gpus, priority, created_at in _ask(
            sql.QUEUED, pool=name, workspace=share.workspace_id, limit=limit, most_gpus=most_gpus
        )
    ]
    return jobs, shares


def _limits() -> dict[str, dict[str, Limit]]:
    """By workspace what its quotas leave it, with what this very transaction has started already."""
    limits: dict[str, dict[str, Limit]] = collections.defaultdict(dict)
    for workspace_id, resource, used, most, period, seconds in _ask(sql.LIMITS):
        if resource == counters.RUNNING:
            limits[workspace_id]["running"] = Limit(used + counters.pending(workspace_id, resource), most)
        else:
            month = counters.month(seconds)
            limits[workspace_id]["gpu_seconds"] = Limit(used if period == month else 0, most, month)
    return limits


def assign(*, lease_seconds: float) -> list[Assigned]:
    """Give free slots to the jobs whose turn it is: slot rows taken, attempt number raised, token made."""
    try:
        return _assign(lease_seconds)
    except QuotaExceeded:
        return []  # a limit was lowered meanwhile, or another scheduler started a job: the next turn decides anew


@counters.counted()
def _assign(lease_seconds: float) -> list[Assigned]:
    pools = _pools()
    return [assigned for name in POOLS for assigned in _assign_pool(name, pools[name], lease_seconds)]


def _assign_pool(name: str, pool: Pool, lease_seconds: float) -> list[Assigned]:
    if not pool.num_free:
        return []
    # Jobs that fit nowhere are left out here: enough of them would fill the limit and hold up all behind them.
    jobs, shares = _queue(name, pool, limit=pool.num_free + 16, most_gpus=pool.largest_host)
    placed = [decision for decision in plan(jobs, shares, pool) if decision.host_id]
    tried = [_assign_one(decision, has_cards=name == "gpu", lease_seconds=lease_seconds) for decision in placed]
    return [assigned for assigned in tried if assigned]


def _assign_one(decision: Decision, *, has_cards: bool, lease_seconds: float) -> Assigned | None:
    rows = _ask(sql.ASSIGN, job=decision.job.id)
    if not rows:
        return None  # somebody is changing this job right now, or has: the next turn decides anew
    number, revision, kind, workspace_id = rows[0]
    held = Held(new_id(), number, decision.job.id, workspace_id)
    token = "tsa_" + secrets.token_urlsafe(32)
    _write(sql.NEW_ATTEMPT, token=hash_token(token), host=decision.host_id, lease=lease_seconds, **held.keys)
    _story(held.job, revision, number, ("queued", "assigned"), "scheduler")
    for slot in decision.slots:
        if not _ask(sql.TAKE_SLOT, attempt_id=held.attempt_id, slot=slot.id):
            raise StateConflict("Another attempt took this slot.")
    wake.after_commit(held.job_id, workspace_id)
    gpus = tuple(slot.position for slot in decision.slots) if has_cards else ()
    return Assigned(held, kind, str(decision.host_id), token, gpus)


def why_waiting(job_id: str) -> Waiting:
    """Why the job is not running, by the same function that decides."""
    rows = _ask("SELECT state, pool, available_at - {now} FROM job WHERE id = %(job)s", job=job_id)
    if not rows or rows[0][0] not in ("queued", "blocked", "paused", "assigned"):
        return Waiting(waiting=False)
    state, pool_name, delay = rows[0]
    if state == "queued" and delay <= 0:
        return _place(job_id, pool_name)
    return Waiting(waiting=state != "assigned", reason=_waiting_words(state, delay))


def _waiting_words(state: str, delay_seconds: float) -> Reason:
    words = {
        "blocked": "Waiting for the jobs that it depends on.",
        "paused": "Paused by a person; resume it to go on.",
        "assigned": "A machine is starting it.",
        "queued": f"The last attempt died; the next one starts in {max(delay_seconds, 0):.0f} s.",
    }
    return Reason(code=state if state != "queued" else "backing_off", message=words[state])


def _place(job_id: str, pool_name: str) -> Waiting:
    pool = _pools()[pool_name]
    jobs, shares = _queue(pool_name, pool, limit=100_000, most_gpus=_ANY_NUMBER)
    for decision in plan(jobs, shares, pool):
        if decision.job.id == job_id:
            starting = Reason(code="starting", message="It is next and starts now.")
            return Waiting(waiting=True, place=decision.place, reason=decision.reason or starting)
    return Waiting(waiting=False)


# An attempt's writes, each behind a fence


def _hold(held: Held) -> tuple[int, bool, bool]:
    """Lock the job row for a running attempt: (revision, cancel requested, pause requested)."""
    rows = _ask(sql.HOLD, **held.keys)
    if not rows:
        raise AttemptSuperseded()
    return int(rows[0][0]), bool(rows[0][1]), bool(rows[0][2])


@transaction.atomic
def fence(held: Held) -> None:
    """Hold the job row; call it inside the transaction whose rows only the newest attempt may write."""
    _hold(held)


@transaction.atomic
def renew(held: Held, *, lease_seconds: float) -> Renewal:
    """Prolong the lease; the first renewal turns `assigned` into `running`."""
    started = _ask(sql.START, **held.keys)
    revision, cancel, pause = started[0] if started else _hold(held)
    _write(sql.RENEW, attempt_id=held.attempt_id, lease=lease_seconds)
    if started:
        _story(held.job, revision, held.number, ("assigned", "running"), "attempt")
        wake.after_commit(held.job_id, held.workspace_id)
    return Renewal(lease_seconds=lease_seconds, cancel_requested=cancel, pause_requested=pause)


@transaction.atomic
def tell(held: Held, first: int, events: list[NewEvent]) -> int:
    """Append events. `first` is the attempt's running number, so a repeated batch changes nothing."""
    revision, _, _ = _hold(held)
    seen = int(_ask(sql.SEEN_EVENTS, attempt_id=held.attempt_id)[0][0])
    fresh = events[max(0, seen - first) :]
    if not fresh:
        return 0
    progress = [json.dumps(event.body) for event in fresh if event.kind == "progress"]
    for offset, event in enumerate(fresh, start=1):
        _write(
            sql.EVENT,
            job=held.job_id,
            revision=revision + offset,
            attempt=held.number,
            kind=event.kind,
            body=json.dumps(event.body),
        )
    _write(sql.COUNT_EVENTS, attempt_id=held.attempt_id, num=first + len(events))
    _write(sql.TELL, job=held.job_id, num=len(fresh), progress=progress[-1] if progress else None)
    wake.after_commit(held.job_id, held.workspace_id)
    return len(fresh)


@transaction.atomic
def save_checkpoint(held: Held, sha256: str, step: int) -> None:
    """Point the job at a checkpoint whose blob is already stored."""
    _hold(held)
    _write(sql.CHECKPOINT, workspace=held.workspace_id, sha256=sha256, step=step, **held.keys)


@counters.counted()
def publish(
    held: Held, result: dict[str, Any], artifacts: dict[str, str], effect: Callable[[], dict[str, Any] | None]
) -> None:
    """The one end that counts: state, result, artifacts, the kind's own rows and the slots, all or nothing.

    `effect` writes the rows of the job's kind and may return keys to add to the result. Raises
    `AttemptSuperseded`, or `StateConflict` when a cancel was acknowledged before.
    """
    _, cancel, _ = _hold(held)
    if cancel:
        raise StateConflict("The job was cancelled before it published.")
    for name, sha256 in artifacts.items():
        _write(sql.ARTIFACT, workspace=held.workspace_id, name=name, sha256=sha256, **held.keys)
    added = effect()
    done = _ask(sql.PUBLISH, result=json.dumps({**result, **(added or {})}), **held.keys)
    if not done:
        raise AttemptSuperseded()
    revision, has_children = done[0]
    _story(held.job, revision, held.number, ("running", "succeeded"), "attempt")
    _close(held, "succeeded", {})
    if has_children:
        _release_children(held.job_id)
    wake.after_commit(held.job_id, held.workspace_id)


def _close(held: Held, end: str, exit_: dict[str, Any]) -> None:
    for started_at, ended_at, num_gpus in _ask(
        sql.END_ATTEMPT, attempt_id=held.attempt_id, end=end, exit=json.dumps(exit_)
    ):
        if num_gpus and started_at is not None:
            seconds = num_gpus * max(0, round(ended_at - started_at))
            counters.add(held.workspace_id, counters.GPU_SECONDS, seconds, period=counters.month(ended_at))
    _write(sql.FREE_SLOTS, attempt_id=held.attempt_id)


@counters.counted()
def end(held: Held, report: EndReport) -> str:
    """Any other end, named by the guard; returns the job's new state. Raises `AttemptSuperseded`."""
    _, cancel, _ = _hold(held)
    return _finish(held, "running", report, cancel, actor="attempt")


@counters.counted()
def lose(attempt_id: str, exit_: dict[str, Any]) -> str | None:
    """An executor saw that this attempt's guard is gone; returns the job's new state, `None` if it held nothing."""
    _ask(sql.LOCK_BY_ATTEMPT, attempt_id=attempt_id)
    rows = _ask(sql.ATTEMPT, attempt_id=attempt_id)
    if not rows or rows[0][3] not in ("assigned", "running"):
        return None
    return _lost(rows[0], exit_)


def _lost(row: tuple[Any, ...], exit_: dict[str, Any]) -> str:
    attempt_id, number, job_id, state, workspace_id = row
    held = Held(attempt_id, number, job_id, workspace_id)
    cancel = bool(_ask(sql.LOOK, job=job_id)[0][3])
    if state == "assigned":
        return _finish(held, "assigned", EndReport(end="stopped", exit=exit_), cancel, actor="scheduler")
    reason = Reason(code="attempt_lost", message="The machine or its guard went silent.")
    return _finish(held, "running", EndReport(end="crashed", reason=reason, exit=exit_), cancel, actor="scheduler")


def _finish(held: Held, state: str, report: EndReport, cancel: bool, *, actor: str) -> str:
    deaths = int(_ask(sql.LOOK, job=held.job_id)[0][2])
    to, reason, died = _verdict(report, deaths, cancel)
    delay = 2.0**deaths * random.uniform(0.5, 1.5) if to == "queued" and died else 0.0
    done = _ask(
        sql.END,
        to="queued" if to == "cancelled" and state == "assigned" else to,
        reason=reason and reason.model_dump_json(),
        deaths=int(died),
        delay=delay,
        final=to in FINAL_STATES,
        **held.keys,
        **{"from": state},
    )
    if not done:
        raise AttemptSuperseded()
    reached = "queued" if to == "cancelled" and state == "assigned" else to
    _story(held.job, done[0][0], held.number, (state, reached), actor, reason)
    _close(held, report.end, report.exit)
    if reached != to:
        _move(held.job_id, "queued", "cancelled", actor="scheduler", reason=reason)
    elif to in ("failed", "cancelled"):
        _fail_children(held.job_id, to)
    wake.after_commit(held.job_id, held.workspace_id)
    return to


def _verdict(report: EndReport, deaths: int, cancel: bool) -> tuple[str, Reason | None, bool]:
    """(next state, reason, whether it was the attempt's own death)."""
    if cancel or report.end == "cancelled":
        return "cancelled", None, False
    if report.end == "paused":
        return "paused", None, False
    if report.end == "stopped":
        return "queued", None, False
    if report.end == "failed":
        return "failed", report.reason, False
    cause = report.reason or Reason(code="crashed", message="The attempt crashed.")
    if deaths + 1 < MOST_DEATHS:
        return "queued", cause, True
    message = f"{cause.message} It was the job's death number {deaths + 1}, so it is not tried again."
    return "failed", Reason(code=cause.code, message=message, hint=cause.hint), True


# People's and parents' doings


def _move(job_id: str, from_state: str, to: str, *, actor: str, reason: Reason | None = None) -> bool:
    rows = _ask(
        sql.MOVE,
        job=job_id,
        to=to,
        reason=reason and reason.model_dump_json(),
        cancel=to == "cancelled",
        final=to in FINAL_STATES,
        **{"from": from_state},
    )
    if not rows:
        return False
    revision, attempt, workspace_id = rows[0]
    _story((job_id, workspace_id), revision, attempt, (from_state, to), actor, reason)
    if to in ("failed", "cancelled"):
        _fail_children(job_id, to)
    return True


def _release_children(job_id: str) -> None:
    for child_id, _ in _ask(sql.CHILDREN, job=job_id):
        # Another parent may be publishing too: the second of us to hold the child sees the first one's end.
        _ask(sql.LOCK, job=child_id)
        if _ask(sql.UNFINISHED_PARENTS, job=child_id)[0][0] == 0:
            _move(child_id, "blocked", "queued", actor="scheduler")


def _fail_children(job_id: str, how: str) -> None:
    title = _ask("SELECT title FROM job WHERE id = %(job)s", job=job_id)[0][0]
    for child_id, _ in _ask(sql.CHILDREN, job=job_id):
        reason = Reason(code=f"parent_{how}", message=f"The job '{title}' that this one waits for has {how}.")
        _move(child_id, "blocked", how, actor="scheduler", reason=reason)


@counters.counted()
def cancel(job_id: str, *, actor: str) -> str:
    """Cancel; returns the state. A running job stops within seconds; a final one raises `StateConflict`."""
    _ask(sql.LOCK, job=job_id)
    requested = _ask(sql.REQUEST_CANCEL, job=job_id)
    state, attempt, _, _, workspace_id = _ask(sql.LOOK, job=job_id)[0]
    if requested:
        body = json.dumps({"cancel_requested_by": actor})
        _write(sql.EVENT, job=job_id, revision=requested[0][0], attempt=attempt, kind="state", body=body)
    elif state == "cancelled":
        return "cancelled"
    elif state in FINAL_STATES or not _move(job_id, state, "cancelled", actor=actor):
        raise StateConflict(f"The job has already {state}; it cannot be cancelled.")
    wake.after_commit(job_id, workspace_id)
    return state if requested else "cancelled"


@transaction.atomic
def pause(job_id: str, *, actor: str) -> str:
    """Ask a running job to save a checkpoint and give its slots back."""
    _ask(sql.LOCK, job=job_id)
    requested = _ask(sql.REQUEST_PAUSE, job=job_id)
    state, attempt, _, _, workspace_id = _ask(sql.LOOK, job=job_id)[0]
    if not requested:
        raise StateConflict(f"The job is {state}; only a running job can be paused.")
    body = json.dumps({"pause_requested_by": actor})
    _write(sql.EVENT, job=job_id, revision=requested[0][0], attempt=attempt, kind="state", body=body)
    wake.after_commit(job_id, workspace_id)
    return str(state)


@counters.counted()
def resume(job_id: str, *, actor: str) -> str:
    """Put a paused job back in the queue; it goes on from its checkpoint."""
    _ask(sql.LOCK, job=job_id)
    state, _, _, _, workspace_id = _ask(sql.LOOK, job=job_id)[0]
    if not _move(job_id, "paused", "queued", actor=actor):
        raise StateConflict(f"The job is {state}; only a paused job can be resumed.")
    wake.after_commit(job_id, workspace_id)
    return "queued"


# Sweeping


@transaction.atomic
def beat(name: str, *, gap_seconds: float) -> None:
    """Say that a kind of process is up; a longer gap than this starts its time anew."""
    _write(sql.BEAT, name=name, gap=gap_seconds)


@counters.counted()
def sweep(*, lease_seconds: float) -> int:
    """Take jobs back from attempts whose lease has ended; returns how many.

    Only when the web has been up for one whole lease: an outage of ours is no attempt's death.
    """
    overdue = _ask(sql.OVERDUE, lease=lease_seconds, gap=pulse_gap(lease_seconds))
    for row in overdue:
        _lost(row, {"words": "its lease ended"})
    return len(overdue)


def pulse_gap(lease_seconds: float) -> float:
    """The longest silence of the web that still counts as up."""
    return lease_seconds / 3


def held_by_host(host_id: str) -> list[tuple[Held, bool]]:
    """The attempts that hold slots of this host, with whether a cancel or nothing is asked of them."""
    rows = _ask(sql.HELD, host=host_id)
    return [
        (Held(attempt_id, number, job, workspace), bool(cancel))
        for attempt_id, number, job, _, workspace, cancel in rows
    ]


@transaction.atomic
def lead(holder: str, *, seconds: float) -> bool:
    """Take or prolong the scheduler's lease; false while another scheduler holds it."""
    return bool(_ask(sql.LEAD, name="scheduler", holder=holder, seconds=seconds))


@transaction.atomic
def stand_down(holder: str) -> None:
    _write(sql.STAND_DOWN, name="scheduler", holder=holder)
