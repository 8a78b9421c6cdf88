"""A job's story on the screen: a live bar in a terminal, plain lines in a file, JSON lines for programs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import typer

from trainshed.cli import output
from trainshed.errors import TrainshedError
from trainshed.schemas import Event, JobView

if TYPE_CHECKING:
    from trainshed.client import Client

LINE_SECONDS = 1.0
_BAR_WIDTH = 12
_NARROW = 60  # letters for figures in a terminal of 80, where units have no room
# Metrics in the order in which they matter to somebody who watches, with short names.
_METRICS = (
    ("loss", "loss"),
    ("accuracy", "accuracy"),
    ("validation_loss", "val loss"),
    ("validation_accuracy", "val accuracy"),
)


def watch(client: Client, job: JobView, as_json: bool, *, stderr: bool = False) -> JobView:
    """Show the job until it has ended and return it; raises its reason when it did not succeed.

    Ctrl-C detaches: the job goes on. With `stderr` the display leaves stdout to the command's result.
    """
    from trainshed.client.jobs import failure_of

    try:
        ended = _shown(client, job, as_json, stderr)
    except KeyboardInterrupt:
        output.note(f"\nDetached; the job goes on. Come back with: trainshed jobs watch {job.id}")
        output.note(f"Or end it with: trainshed jobs cancel {job.id}")
        raise typer.Exit(130) from None
    if ended.state != "succeeded":
        raise failure_of(ended)
    return ended


def _shown(client: Client, job: JobView, as_json: bool, stderr: bool) -> JobView:
    if as_json and stderr:
        return client.jobs.wait(job)
    if as_json:
        return _as_lines_of_json(client, job)
    console = output.console(stderr=stderr)
    if console.is_terminal:
        return _live(client, job, console)
    return _as_lines(client, job, console.print)


def _as_lines_of_json(client: Client, job: JobView) -> JobView:
    for told in client.jobs.follow(job):
        output.emit_line({"event" if isinstance(told, Event) else "job": told})
        if isinstance(told, JobView):
            job = told
    return job


def _as_lines(client: Client, job: JobView, write: Callable[[str], object]) -> JobView:
    """News at once, progress at most once a second."""
    story, said_at = Story(), float("-inf")
    for told in client.jobs.follow(job):
        if isinstance(told, JobView):
            job = told
            continue
        for line in story.take(told):
            write(output.shown(line))
        if told.kind == "progress" and time.monotonic() - said_at >= LINE_SECONDS:
            said_at = time.monotonic()
            write(output.shown(story.line()))
    return job


def _live(client: Client, job: JobView, console: Any) -> JobView:
    """One bar that moves, with the news above it."""
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

    story = Story()
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=_BAR_WIDTH),
    )
    figures = TextColumn("{task.fields[figures]}", markup=False)
    with Progress(*columns, figures, console=console, transient=True) as progress:
        bar = progress.add_task(_waiting_words(client, job), total=None, figures="")
        for told in client.jobs.follow(job):
            if isinstance(told, JobView):
                job = told
                continue
            for line in story.take(told):
                console.print(output.shown(line))
            progress.update(
                bar,
                description=output.shown(story.phase),
                completed=story.done,
                total=story.total or None,
                figures=output.shown(story.figures(console.width - len(story.phase) - _BAR_WIDTH - 4)),
            )
    return job


def _waiting_words(client: Client, job: JobView) -> str:
    """What a job that is not running yet waits for."""
    if job.state in ("queued", "blocked", "paused"):
        with suppress(TrainshedError):
            waiting = client.jobs.why_waiting(job)
            if waiting.waiting and waiting.reason:
                return output.shown(waiting.reason.message)
    return job.state


@dataclass
class Story:
    """What is known of a job from its events so far."""

    phase: str = "waiting"
    done: float = 0
    total: float = 0
    unit: str = ""
    eta_seconds: float | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    began: tuple[float, float] = (0.0, 0.0)  # when this phase was first heard of, and how far it was
    rate: float | None = None

    def take(self, event: Event) -> list[str]:
        """Take an event in; returns the lines that are news by themselves."""
        body = event.body
        if event.kind == "progress":
            self._take_progress(event.at, body)
        elif event.kind == "metric":
            values = {name: value for name, value in body.get("values", {}).items() if isinstance(value, (int, float))}
            self.metrics |= values
            if "validation_accuracy" in values:
                return [f"epoch {body.get('epoch', 0):g}: {_measured(values)}"]
        elif event.kind == "log":
            level = body.get("level", "info")
            return [("" if level == "info" else f"{level}: ") + str(body.get("text", ""))]
        elif event.kind == "state":
            return self._take_state(body)
        return []

    def figures(self, width: int = 10_000) -> str:
        """How far, how long, how well, how fast; in so many letters, the first of these first."""
        parts = []
        if self.total:
            unit = self.unit if width > _NARROW else ""
            parts.append(f"{self.done:,.0f}/{self.total:,.0f} {unit}".rstrip())
        if self.eta_seconds is not None and self.done < self.total:
            parts.append(f"{output.duration(self.eta_seconds)} left")
        parts += _measures(self.metrics)
        speed = self.metrics.get("images_per_second")
        if speed is not None:
            parts.append(f"{speed:,.0f} images/s")
        elif self.rate is not None:
            parts.append(f"{self.rate:,.1f} {self.unit}/s")
        while len("  ".join(parts)) > width:
            parts.pop()
        return "  ".join(parts)

    def line(self) -> str:
        percent = f"{100 * self.done / self.total:3.0f} %  " if self.total else ""
        return f"{self.phase}  {percent}{self.figures()}"

    def _take_progress(self, at: float, body: dict[str, Any]) -> None:
        phase, done = str(body.get("phase", "working")), float(body.get("done") or 0)
        if phase != self.phase or done < self.done:
            self.phase, self.began, self.rate = phase, (at, done), None
        self.done, self.total = done, float(body.get("total") or 0)
        self.unit, self.eta_seconds = str(body.get("unit", "")), body.get("eta_seconds")
        seconds = at - self.began[0]
        if seconds > 0.5:
            self.rate = (done - self.began[1]) / seconds

    def _take_state(self, body: dict[str, Any]) -> list[str]:
        for order in ("cancel", "pause"):
            if f"{order}_requested_by" in body:
                return [f"{order} asked by {body[f'{order}_requested_by']}"]
        state, reason = body.get("to"), body.get("reason")
        if state is None:
            return []
        self.phase = str(state)
        return [f"{state}: {reason['message']}" if reason else str(state)]


def _measured(values: dict[str, float]) -> str:
    return "  ".join(_measures(values))


def _measures(values: dict[str, float]) -> list[str]:
    return [f"{short} {values[name]:.4f}" for name, short in _METRICS if name in values]


def result_lines(job: JobView) -> Iterator[str]:
    """What came of a job that succeeded, in sentences."""
    result = job.result or {}
    took = output.duration((job.ended_at or 0) - (job.started_at or job.created_at))
    yield f"{job.title}: {job.state} in {took}."
    if job.kind == "import":
        yield from _import_lines(result)
    elif job.kind in ("train", "pretrained"):
        name = result.get("name") or result.get("model_id", "")
        accuracy = (result.get("metrics") or {}).get("accuracy")
        measured = f", accuracy {accuracy:.4f} on the test split" if isinstance(accuracy, (int, float)) else ""
        yield f"Model {name!r} ({result.get('model_id', '?')}){measured}."


def _import_lines(result: dict[str, Any]) -> Iterator[str]:
    yield (
        f"{result.get('num_taken', 0):,} pictures in {len(result.get('classes', {}))} classes; "
        f"{result.get('num_duplicates', 0):,} were there already, {result.get('num_skipped', 0):,} left out."
    )
    yield from skipped_lines(result.get("skipped", []), int(result.get("num_skipped", 0)))
    yield from (f"Note: {warning}" for warning in result.get("warnings", []))


def skipped_lines(skipped: list[dict[str, Any]], num_skipped: int, most: int = 10) -> Iterator[str]:
    """Files that are not in, each with its reason; the first few."""
    for file in skipped[:most]:
        yield f"  {file['name']}: {file['reason']}"
    if num_skipped > most:
        yield f"  ... and {num_skipped - most:,} more (--json lists them)."


@contextmanager
def bytes_bar(as_json: bool) -> Iterator[Callable[[str, int, int], None] | None]:
    """A progress callback that draws bars on stderr where a person watches, else `None`."""
    console = None if as_json else output.console(stderr=True)
    if console is None or not console.is_terminal:
        yield None
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        bars: dict[str, Any] = {}

        def reached(phase: str, done_bytes: int, total_bytes: int) -> None:
            if phase not in bars:
                bars[phase] = progress.add_task(phase, total=total_bytes or None)
            progress.update(bars[phase], completed=done_bytes)

        yield reached
