"""A job's story on the screen: in a terminal, in a file, and after Ctrl-C."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from trainshed import Client
from trainshed.cli.output import duration, size
from trainshed.cli.watching import Story
from trainshed.schemas import Event, JobView
from trainshed.testing.fake_server import FakeServer

PYTHON = [sys.executable, "-m", "trainshed"]


class Terminal:
    """What a command shows on a terminal of its own."""

    def __init__(self, *arguments: str) -> None:
        self._ours, theirs = pty.openpty()
        environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "160", "LINES": "40"}
        self.process = subprocess.Popen(
            [*PYTHON, *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment,
            start_new_session=True,
        )
        os.close(theirs)
        self.shown = ""
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        data = b""
        while True:
            try:
                chunk = os.read(self._ours, 65536)
            except OSError:  # Linux says so when the other side has closed
                chunk = b""
            with self._news:
                data += chunk
                self.shown = data.decode("utf-8", "replace")
                self._news.notify_all()
            if not chunk:
                return

    def wait_for(self, words: str) -> None:
        with self._news:
            assert self._news.wait_for(lambda: words in self.shown, 60), self.shown

    def answer(self, line: str) -> None:
        os.write(self._ours, line.encode() + b"\n")

    def end(self) -> int:
        code = self.process.wait(60)
        self._thread.join(60)
        os.close(self._ours)
        return code


@contextmanager
def terminal(*arguments: str) -> Iterator[Terminal]:
    opened = Terminal(*arguments)
    try:
        yield opened
    finally:
        opened.process.kill()
        opened.process.wait()


@pytest.fixture
def running(signed_in: FakeServer, pictures: Path) -> JobView:
    signed_in.holds_trainings = True
    with Client() as client:
        job = client.train(client.datasets.import_folder(pictures).dataset)
    signed_in.move(job.id, "running")
    return job


def test_a_terminal_shows_a_bar_that_moves_and_the_end(signed_in: FakeServer, running: JobView) -> None:
    with terminal("jobs", "watch", running.id) as screen:
        signed_in.tell(running.id, "metric", {"step": 1, "epoch": 0.5, "values": {"loss": 0.7512, "accuracy": 0.5}})
        signed_in.tell(
            running.id, "progress",
            {"phase": "fine-tuning", "done": 30, "total": 120, "unit": "steps", "eta_seconds": 63.0},
        )  # fmt: skip
        signed_in.tell(running.id, "log", {"level": "warning", "text": "a \x1b[31mred\x1b[0m word"})
        screen.wait_for("30/120 steps  1:03 min left  loss 0.7512  accuracy 0.5000")
        signed_in.end(running.id)
        code = screen.end()

    assert code == 0
    assert "fine-tuning" in screen.shown
    assert "━" in screen.shown
    assert "warning: a �[31mred�[0m word" in screen.shown
    assert "Model 'mod" in screen.shown
    assert screen.shown.count("\x1b[?25l") == screen.shown.count("\x1b[?25h")  # the cursor comes back


def test_ctrl_c_detaches_and_says_how_to_come_back(signed_in: FakeServer, running: JobView) -> None:
    with terminal("jobs", "watch", running.id) as screen:
        screen.wait_for("running")
        screen.process.send_signal(signal.SIGINT)
        code = screen.end()

    assert code == 130
    assert f"trainshed jobs watch {running.id}" in screen.shown
    assert f"trainshed jobs cancel {running.id}" in screen.shown
    assert "Traceback" not in screen.shown
    assert signed_in.jobs[running.id].state == "running"


def test_a_waiting_job_shows_what_it_waits_for(signed_in: FakeServer, running: JobView) -> None:
    signed_in.move(running.id, "queued")
    signed_in.stories[running.id].clear()
    with terminal("jobs", "watch", running.id) as screen:
        screen.wait_for("All 2 CPU slots are busy.")
        signed_in.move(running.id, "running")
        signed_in.end(running.id)
        assert screen.end() == 0


def test_a_password_is_asked_twice_without_being_shown(server: FakeServer) -> None:
    server.is_set_up = False
    with terminal("setup", "setup-code", "--url", server.url) as screen:
        for question, answer in (
            ("Your name: ", "Ada"),
            ("Your e-mail address: ", "ada@example.org"),
            ("A password of at least 10 characters: ", "analytical engine"),
            ("Repeat for confirmation: ", "analytical engine"),
        ):
            screen.wait_for(question)  # with its last space, which comes when the echo is off
            screen.answer(answer)
        code = screen.end()

    assert code == 0
    assert "analytical engine" not in screen.shown
    assert "Signed in" in screen.shown


def test_an_upload_shows_a_bar_in_a_terminal(signed_in: FakeServer, pictures: Path) -> None:
    with terminal("dataset", "import", str(pictures)) as screen:
        code = screen.end()

    assert code == 0
    assert "upload" in screen.shown
    assert "6 pictures in 2 classes" in screen.shown


def test_a_file_gets_plain_lines_and_at_most_one_of_progress_a_second(signed_in: FakeServer, running: JobView) -> None:
    for done in range(1, 101):
        signed_in.tell(running.id, "progress", {"phase": "fine-tuning", "done": done, "total": 100, "unit": "steps"})
    signed_in.tell(running.id, "log", {"level": "info", "text": "Stopped early."})
    signed_in.end(running.id)

    told = subprocess.run([*PYTHON, "jobs", "watch", running.id], capture_output=True, text=True, timeout=60)

    lines = told.stdout.splitlines()
    assert "\x1b" not in told.stdout
    assert told.stderr == ""
    assert 1 <= sum("steps" in line for line in lines) <= 5
    assert "Stopped early." in lines
    assert lines[0] == "running"


def event(kind: str, at: float, **body: object) -> Event:
    return Event.model_validate({"job_id": "j", "revision": 1, "attempt": 1, "kind": kind, "body": body, "at": at})


def test_the_rate_is_measured_from_the_beginning_of_the_phase() -> None:
    story = Story()
    story.take(event("progress", 100.0, phase="features", done=10, total=100, unit="pictures", eta_seconds=None))
    assert story.rate is None
    story.take(event("progress", 102.0, phase="features", done=50, total=100, unit="pictures", eta_seconds=2.5))

    assert story.line() == "features   50 %  50/100 pictures  2 s left  20.0 pictures/s"
    story.take(event("progress", 103.0, phase="fine-tuning", done=1, total=9, unit="steps"))
    assert story.rate is None


def test_an_attempt_that_starts_again_measures_afresh() -> None:
    story = Story()
    story.take(event("progress", 100.0, phase="fine-tuning", done=50, total=100, unit="steps"))
    story.take(event("progress", 200.0, phase="fine-tuning", done=40, total=100, unit="steps"))

    assert story.rate is None
    story.take(event("progress", 202.0, phase="fine-tuning", done=60, total=100, unit="steps"))
    assert story.rate == 10.0


def test_the_speed_that_a_training_tells_goes_before_the_measured_one() -> None:
    story = Story()
    story.take(event("metric", 1.0, step=1, epoch=1, values={"loss": 0.5, "images_per_second": 812.3, "odd": "text"}))

    assert story.figures() == "loss 0.5000  812 images/s"


def test_an_epochs_validation_and_each_change_of_state_are_news() -> None:
    story = Story()

    assert story.take(event("metric", 1.0, epoch=2.0, values={"validation_accuracy": 0.98})) == [
        "epoch 2: val accuracy 0.9800"
    ]
    assert story.take(event("state", 1.0, **{"from": "queued", "to": "running"})) == ["running"]
    assert story.take(event("state", 1.0, cancel_requested_by="ada")) == ["cancel asked by ada"]
    assert story.take(event("state", 1.0, to="queued", reason={"message": "The worker died."})) == [
        "queued: The worker died."
    ]
    assert story.take(event("sample", 1.0, pictures=[])) == []


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "0 s"),
        (59.4, "59 s"),
        (59.6, "1:00 min"),
        (3725, "1:02 h"),
        (200_000, "2 days"),
        (-3, "0 s"),
        (None, "-"),
    ],
)
def test_durations_are_told_as_people_read_them(seconds: float | None, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("num_bytes", "words"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_960, "1.0 MB"),
        (85_899_345_920, "85.9 GB"),
        (None, "-"),
    ],
)
def test_sizes_are_told_as_people_read_them(num_bytes: int | None, words: str) -> None:
    assert size(num_bytes) == words
