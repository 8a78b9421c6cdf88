"""Jobs: what runs, what waits, and the ways to stop or go on."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from trainshed.cli import output
from trainshed.cli.output import Json

if TYPE_CHECKING:
    from trainshed.schemas import JobView

app = output.command_group(
    no_args_is_help=True, help="Jobs: everything that the service does for you takes its turn here."
)
Job = Annotated[str, typer.Argument(metavar="JOB", help="A job's id, or the beginning of one.")]


@app.command("list")
def list_jobs(
    state: Annotated[
        str | None,
        typer.Option("--state", help="Only these, e.g. `running` or `queued,running`."),
    ] = None,
    kind: Annotated[str | None, typer.Option("--kind", help="Only this kind: import, snapshot, train, ...")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many, newest first.")] = 20,
    as_json: Json = False,
) -> None:
    """The project's jobs, newest first.

    \b
    Examples:
      trainshed jobs list
      trainshed jobs list --state running --json
    """
    with output.connect() as client:
        jobs = list(islice(client.jobs.list(state, kind), limit))
    if as_json:
        output.emit(jobs)
        return
    rows = [(it.id, it.kind, it.state, _progress(it), output.ago(it.created_at), it.title) for it in jobs]
    output.table(("ID", "KIND", "STATE", "PROGRESS", "MADE", "TITLE"), rows, "There are no jobs.")


@app.command()
def show(job: Job, as_json: Json = False) -> None:
    """One job: its state, its attempts, what came of it."""
    with output.connect() as client:
        found = client.jobs.get(client.jobs.find(job))
    if as_json:
        output.emit(found)
        return
    output.fields(
        [
            ("title", found.title),
            ("id", found.id),
            ("kind", found.kind),
            ("state", found.state),
            ("progress", _progress(found)),
            ("by", found.created_by),
            ("made", output.ago(found.created_at)),
            ("started", output.ago(found.started_at) if found.started_at else None),
            ("ended", output.ago(found.ended_at) if found.ended_at else None),
            ("reason", found.reason and found.reason.message),
            ("what to do", found.reason and found.reason.hint),
        ]
    )
    if found.attempts:
        output.say()
        rows = [(it.number, it.host, output.ago(it.started_at), it.end or "running") for it in found.attempts]
        output.table(("ATTEMPT", "HOST", "STARTED", "END"), rows, "")
    if found.state == "succeeded":
        _say_result(found)


def _say_result(job: JobView) -> None:
    from trainshed.cli import watching

    output.say()
    for line in watching.result_lines(job):
        output.say(line)


@app.command()
def watch(job: Job, as_json: Json = False) -> None:
    """Show a job's story from its beginning until it ends. Ctrl-C detaches and does not stop it.

    With --json each line is one document: {"event": ...} or {"job": ...}, the ended job last.

    \b
    Example:
      trainshed jobs watch 4x7k
    """
    from trainshed.cli import watching

    with output.connect() as client:
        ended = watching.watch(client, client.jobs.find(job), as_json)
    if not as_json:
        for line in watching.result_lines(ended):
            output.say(line)


@app.command()
def cancel(job: Job, as_json: Json = False) -> None:
    """End a job; a running one stops within seconds and frees what it holds."""
    _tell(job, "cancel", as_json)


@app.command()
def pause(job: Job, as_json: Json = False) -> None:
    """Ask a running job to save a checkpoint and give its place away."""
    _tell(job, "pause", as_json)


@app.command()
def resume(job: Job, as_json: Json = False) -> None:
    """Let a paused job go on from its checkpoint."""
    _tell(job, "resume", as_json)


def _tell(wanted: str, order: str, as_json: bool) -> None:
    with output.connect() as client:
        found = client.jobs.find(wanted)
        orders = {"cancel": client.jobs.cancel, "pause": client.jobs.pause, "resume": client.jobs.resume}
        told = orders[order](found)
    if as_json:
        output.emit(told)
        return
    asked = told.cancel_requested or told.pause_requested
    note = (
        f"{order} is asked for; it is still {told.state}"
        if asked and told.state == "running"
        else f"it is {told.state}"
    )
    output.say(f"{told.title!r} ({told.id}): {note}.")


@app.command()
def why(job: Job, as_json: Json = False) -> None:
    """Why is a job not running yet?

    \b
    Example:
      trainshed jobs why 4x7k
    """
    with output.connect() as client:
        found = client.jobs.find(job)
        waiting = client.jobs.why_waiting(found)
    if as_json:
        output.emit(waiting)
    elif not waiting.waiting:
        output.say(f"{found.title!r} does not wait: it is {found.state}.")
    else:
        place = f"Place {waiting.place} in the queue. " if waiting.place else ""
        words = f"{waiting.reason.message} {waiting.reason.hint}".strip() if waiting.reason else "It is next."
        output.say(f"{place}{words}")


def _progress(job: JobView) -> str:
    done, total = job.progress.get("done"), job.progress.get("total")
    if job.state != "running" or not total:
        return ""
    eta = job.progress.get("eta_seconds")
    left = f", {output.duration(eta)} left" if eta else ""
    return f"{job.progress.get('phase', '')} {100 * (done or 0) / total:.0f} %{left}".strip()
