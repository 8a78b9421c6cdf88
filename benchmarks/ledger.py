"""P3: how fast the queue is, beside the disk's own floor and beside procrastinate on the same PostgreSQL.

Run by `make bench`, or alone: `python benchmarks/ledger.py [--json]`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from figures import Figure, print_figures

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import postgresql

NUM_PAIRS = 12
JOBS_PER_ROUND = 60
NUM_CLAIMS = 200
NUM_HANDS = 8
NUM_FINISHED = 1_000_000


# Inside a process of its own, because Django knows one database per process


def _world() -> Any:
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)
    from trainshed.server.records.models import Host, Project, Slot, Workspace

    workspace = Workspace.objects.create(name="bench")
    project = Project.objects.create(workspace=workspace, name="bench")
    host = Host.objects.create(name="bench", key_sha256="0")
    Slot.objects.bulk_create([Slot(host=host, pool="cpu", position=position) for position in range(NUM_HANDS)])
    return project


def _submit(project: Any, num_jobs: int) -> None:
    from trainshed.server.queue import ledger

    for number in range(num_jobs):
        request = ledger.Request(project.workspace_id, project.id, "train", f"job {number}", {})
        ledger.submit(request, actor="bench")


def _round(project: Any, guards: ThreadPoolExecutor) -> float:
    """Jobs per second from claim to publish, the jobs being there already: one scheduler, and guards beside it."""
    from trainshed.server.queue import ledger

    _submit(project, JOBS_PER_ROUND)
    num_done, began = 0, time.perf_counter()
    while num_done < JOBS_PER_ROUND:
        claimed = [assigned.held for assigned in ledger.assign(lease_seconds=30)]
        num_done += len(list(guards.map(_guard, claimed)))
    return JOBS_PER_ROUND / (time.perf_counter() - began)


def _guard(held: Any) -> None:
    from trainshed.server.queue import ledger

    ledger.renew(held, lease_seconds=30)
    ledger.publish(held, {}, {}, lambda: None)


def _claim_p95_milliseconds(project: Any) -> float:
    """One queued job, idle slots: how long one claim takes."""
    from trainshed.server.queue import ledger

    taken = []
    for _ in range(NUM_CLAIMS):
        _submit(project, 1)
        began = time.perf_counter()
        (assigned,) = ledger.assign(lease_seconds=30)
        taken.append(time.perf_counter() - began)
        ledger.renew(assigned.held, lease_seconds=30)
        ledger.publish(assigned.held, {}, {}, lambda: None)
    return 1000 * statistics.quantiles(taken, n=20)[-1]


def _fill(project: Any) -> None:
    """A million finished jobs, as an installation of years has them."""
    from django.db import connection

    numbers = (
        f"SELECT n FROM generate_series(1, {NUM_FINISHED}) AS t(n)"
        if connection.vendor == "postgresql"
        else f"WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < {NUM_FINISHED}) SELECT n FROM t"
    )
    with connection.cursor() as cursor:
        cursor.execute(
            f"""INSERT INTO job (id, workspace_id, project_id, kind, title, spec, state, priority, pool, num_gpus,
                attempt, deaths, cancel_requested, pause_requested, revision, progress, request_sha256, created_by,
                created_at, available_at, ended_at)
            SELECT 'old' || n, %s, %s, 'train', 'old', '{{}}', 'succeeded', 0, 'cpu', 0, 1, 0, FALSE, FALSE, 4, '{{}}',
                '', 'bench', n, n, n FROM ({numbers}) AS old""",
            [project.workspace_id, project.id],
        )
        cursor.execute("ANALYZE")


def _answer_rounds() -> None:
    """For each line on standard input one answer: `round`, `claim`, or `fill`."""
    from django.db import connection

    project = _world()
    # SQLite has one writer whatever we do; PostgreSQL gets as many guards as procrastinate's worker has hands.
    guards = ThreadPoolExecutor(1 if connection.vendor == "sqlite" else NUM_HANDS)
    tasks = {"round": lambda: _round(project, guards), "claim": lambda: _claim_p95_milliseconds(project)}
    tasks["fill"] = lambda: _fill(project)
    for line in sys.stdin:
        print(json.dumps(tasks[line.strip()]()), flush=True)


class Ledger:
    """The ledger in a process of its own, on one database."""

    def __init__(self, database_url: str) -> None:
        self._home = Path(tempfile.mkdtemp(prefix="ts-"))
        environment = {
            **os.environ,
            "TRAINSHED_HOME": str(self._home),
            "TRAINSHED_DATABASE_URL": database_url,
            "DJANGO_SETTINGS_MODULE": "trainshed.server.settings",
        }
        command = [sys.executable, __file__, "--answer"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
        )

    def ask(self, task: str) -> float:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(task + "\n")
        self._process.stdin.flush()
        return float(json.loads(self._process.stdout.readline()) or 0.0)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)
        shutil.rmtree(self._home, ignore_errors=True)


@contextlib.contextmanager
def ledger_on(database_url: str) -> Iterator[Ledger]:
    opened = Ledger(database_url)
    try:
        yield opened
    finally:
        opened.close()


# Anchors


def commits_per_second() -> float:
    """The floor of this disk: appends of one page, each made durable."""
    num_commits = 200
    with tempfile.NamedTemporaryFile(dir=tempfile.gettempdir()) as file:
        began = time.perf_counter()
        for _ in range(num_commits):
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
        return num_commits / (time.perf_counter() - began)


class Procrastinate:
    """The same round on procrastinate: jobs deferred ahead, then one worker from fetch to finish."""

    def __init__(self, url: str) -> None:
        import procrastinate

        self._app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=url))
        self._task = self._app.task(name="nothing")(_nothing)
        asyncio.run(self._prepare())

    async def _prepare(self) -> None:
        async with self._app.open_async():
            await self._app.schema_manager.apply_schema_async()

    def round(self) -> float:
        return asyncio.run(self._round())

    async def _round(self) -> float:
        async with self._app.open_async():
            for _ in range(JOBS_PER_ROUND):
                await self._task.defer_async()
            began = time.perf_counter()
            await self._app.run_worker_async(wait=False, concurrency=NUM_HANDS, install_signal_handlers=False)
            return JOBS_PER_ROUND / (time.perf_counter() - began)


async def _nothing() -> None:
    """The job that does nothing."""


# Figures


def throughput(ledger: Ledger, name: str) -> Figure:
    rounds = [(ledger.ask("round"), commits_per_second()) for _ in range(NUM_PAIRS)]
    ours, floor = (statistics.median(side) for side in zip(*rounds, strict=True))
    return Figure(
        id="P3", name=f"claim+publish/s, {name}", ours=ours, anchor=floor, anchor_name="durable commits/s of this disk",
        ratio=ours / floor, target=">= 400/s", holds=ours >= 400,
    )  # fmt: skip


def against_procrastinate(ledger: Ledger, url: str) -> Figure:
    other = Procrastinate(url.rpartition("/")[0] + "/procrastinate")
    pairs = [(ledger.ask("round"), other.round()) for _ in range(NUM_PAIRS)]
    ratio = statistics.median(ours / theirs for ours, theirs in pairs)
    ours, theirs = (statistics.median(side) for side in zip(*pairs, strict=True))
    return Figure(
        id="P3", name="claim+publish/s, PostgreSQL", ours=ours, anchor=theirs, anchor_name="procrastinate",
        ratio=ratio, target=">= 1 x procrastinate", holds=ratio >= 1,
    )  # fmt: skip


def claims(ledger: Ledger, name: str) -> list[Figure]:
    empty = statistics.median(ledger.ask("claim") for _ in range(5))
    ledger.ask("fill")
    full = statistics.median(ledger.ask("claim") for _ in range(5))
    return [
        Figure(
            id="P3", name=f"claim p95 ms, {name}", ours=empty, anchor=None, anchor_name="", ratio=None,
            target="<= 25 ms", holds=empty <= 25,
        ),
        Figure(
            id="P3", name=f"claim p95 ms after a million jobs, {name}", ours=full, anchor=empty,
            anchor_name="without them", ratio=full / empty, target="within 20 %", holds=full <= 1.2 * empty,
        ),
    ]  # fmt: skip


def first_step() -> Figure:
    """Submit to the first words of the work, on an idle service with a warm runner."""
    from service import running, wait_for_quiet
    from trainshed.errors import TrainshedError

    waits = []
    with running() as client:
        wait_for_quiet(client)
        dataset = client.datasets.create("empty")
        for _ in range(NUM_PAIRS + 2):
            time.sleep(4)  # the runner of the next job warms up again
            began = time.time()
            job = client.versions.create(dataset)
            with contextlib.suppress(TrainshedError):  # an empty dataset: the work refuses it right after its start
                client.jobs.wait(job)
            events = list(client.jobs.events(job))
            first = next(event for event in events if event.kind == "progress")
            waits.append(1000 * (first.at - began))
    p95 = statistics.quantiles(waits[2:], n=20)[-1]
    return Figure(
        id="P3", name="submit -> first step of work, ms p95, warm runner", ours=p95, anchor=None, anchor_name="",
        ratio=None, target="<= 300 ms", holds=p95 <= 300,
    )  # fmt: skip


def measure() -> list[Figure]:
    figures = []
    with ledger_on("") as ledger:
        figures += [throughput(ledger, "SQLite"), *claims(ledger, "SQLite")]
    figures.append(first_step())
    if postgresql.binaries() is None:
        print("skipped: PostgreSQL is not installed", file=sys.stderr)
        return figures
    with postgresql.server() as server, ledger_on(server.url) as ledger:
        if importlib.util.find_spec("procrastinate"):
            create = [str(server.programs / "createdb"), "-h", "127.0.0.1", "-p", str(server.port), "-U", "trainshed"]
            subprocess.run([*create, "procrastinate"], check=True)
            figures.append(against_procrastinate(ledger, server.url))
        else:
            print("skipped: procrastinate is not installed", file=sys.stderr)
        figures += claims(ledger, "PostgreSQL")
    return figures


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--answer", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.answer:
        _answer_rounds()
    else:
        print_figures(measure(), options.json)
