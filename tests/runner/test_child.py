"""The child: what it is told, what it says, and what a handler has at hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from runner.attempt_server import AttemptServer
from runner.processes import ChildProcess
from trainshed.client.attempts import AttemptClient
from trainshed.errors import JobStopped
from trainshed.runner.child import Work
from trainshed.runner.lines import LineWriter
from trainshed.schemas import Assignment, BlobRef, Checkpoint

Begin = Callable[..., tuple[AttemptServer, ChildProcess]]


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    """Starts a server with a job that does what its name says, and a child that waits for the start."""
    with ExitStack() as closing:

        def begin(do: str, **spec: Any) -> tuple[AttemptServer, ChildProcess]:
            server = closing.enter_context(AttemptServer(do=do, **spec))
            return server, closing.enter_context(ChildProcess(server, tmp_path))

        yield begin


# As a process


def test_a_child_that_is_never_started_ends_silently(begin: Begin) -> None:
    server, child = begin("publish")
    child.hang_up()
    assert list(child.messages) == []
    assert child.process.wait(20) == 0 and not server.asked


def test_a_child_tells_its_result_and_its_files(begin: Begin) -> None:
    _, child = begin("publish")
    child.start()
    verdict = child.verdict()
    assert verdict["t"] == "done" and verdict["result"] == {"pid": child.process.pid}
    assert Path(verdict["artifacts"]["made.txt"]).read_text() == "made by the child"
    assert child.process.wait(20) == 0


def test_a_child_sees_the_cards_of_its_slots_and_no_others(begin: Begin) -> None:
    _, child = begin("tell_environment")
    child.start(gpus=[3, 1])
    seen = child.verdict()["result"]
    assert (seen["CUDA_VISIBLE_DEVICES"], seen["CUDA_DEVICE_ORDER"]) == ("3,1", "PCI_BUS_ID")


def test_a_child_without_a_card_sees_none(begin: Begin) -> None:
    _, child = begin("tell_environment")
    child.start()
    assert child.verdict()["result"]["CUDA_VISIBLE_DEVICES"] == ""


def test_a_child_that_is_asked_to_stop_says_that_it_has(begin: Begin) -> None:
    _, child = begin("wait")
    child.start()
    assert next(child.messages)["kind"] == "progress"
    child.say({"t": "stop", "why": "pause"})
    assert child.verdict() == {"t": "stopped"}


def test_a_child_of_a_superseded_attempt_has_no_verdict(begin: Begin) -> None:
    server, child = begin("publish")
    server.is_superseded = True
    child.start()
    assert list(child.messages) == []
    assert child.process.wait(20) == 0


def test_a_server_that_speaks_another_protocol_is_refused_in_words(begin: Begin) -> None:
    server, child = begin("publish")
    server.assignment = server.assignment.model_copy(update={"protocol_version": 99})
    child.start()
    verdict = child.verdict()
    assert verdict["is_final"] and verdict["reason"]["code"] == "invalid_input"
    assert "version 99" in verdict["reason"]["message"] and "same release" in verdict["reason"]["hint"]


@pytest.mark.parametrize(
    ("error", "code", "word", "is_final"),
    [
        ("OutOfMemoryError", "out_of_memory", "CUDA out of memory", False),
        ("OSError", "storage_full", "disk of this machine is full", False),
        ("ZeroDivisionError", "internal_error", "ZeroDivisionError: by nought", False),
        ("TrainingDiverged", "training_diverged", "infinite", False),
        ("DatasetUnfit", "dataset_unfit", "Too few pictures.", True),
    ],
)
def test_an_error_is_named_and_only_those_of_the_request_are_final(
    begin: Begin, error: str, code: str, word: str, is_final: bool
) -> None:
    _, child = begin("fail", error=error)
    child.start()
    verdict = child.verdict()
    assert (verdict["t"], verdict["reason"]["code"], verdict["is_final"]) == ("failed", code, is_final)
    assert word in verdict["reason"]["message"] and error in verdict["traceback"]


# What a handler has at hand


@pytest.fixture
def said(tmp_path: Path) -> Iterator[LineWriter]:
    with (tmp_path / "said").open("wb") as file:
        yield LineWriter(file.fileno())


def test_a_blob_comes_from_the_shared_folder_without_a_request(
    server: AttemptServer, client: AttemptClient, said: LineWriter, tmp_path: Path
) -> None:
    shared = Assignment(job_id="job0", attempt=1, kind="import", spec={}, blobs_folder=str(tmp_path / "blobs"))
    assert Work(client, shared, tmp_path, said).blob("abcdef") == tmp_path / "blobs" / "ab" / "cd" / "abcdef"
    assert not server.asked


def test_an_input_and_the_checkpoint_are_fetched_where_no_folder_is_shared(
    server: AttemptServer, client: AttemptClient, said: LineWriter, tmp_path: Path
) -> None:
    server.add(b"an archive", name="archive")
    sha256 = server.add(b"what was learned")
    checkpoint = Checkpoint(blob=BlobRef(sha256=sha256, size_bytes=16), step=3, attempt=1)
    work = Work(client, server.assignment.model_copy(update={"checkpoint": checkpoint}), tmp_path, said)
    assert work.checkpoint is not None and work.checkpoint.read_bytes() == b"what was learned"
    assert work.input("archive").read_bytes() == b"an archive"


def test_a_checkpoint_may_be_replaced_as_soon_as_it_is_handed_over(
    server: AttemptServer, client: AttemptClient, said: LineWriter, tmp_path: Path
) -> None:
    work = Work(client, server.assignment, tmp_path, said)
    for step in (1, 2):
        (tmp_path / "new").write_bytes(f"step {step}".encode())
        (tmp_path / "new").replace(tmp_path / "state")
        work.save_checkpoint(tmp_path / "state", step)
    kept = sorted(tmp_path.glob("checkpoint-*"))
    assert [path.read_bytes() for path in kept] == [b"step 1", b"step 2"]


def test_work_stops_only_when_it_is_asked(
    server: AttemptServer, client: AttemptClient, said: LineWriter, tmp_path: Path
) -> None:
    work = Work(client, server.assignment, tmp_path, said)
    work.stop_if_asked()
    work.ask("pause")
    assert work.stopping() == "pause"
    with pytest.raises(JobStopped):
        work.stop_if_asked()
