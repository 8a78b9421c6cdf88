"""What a child tells, on its way: batched, numbered without gaps, through outages, the newest checkpoint first."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.attempt_server import AttemptServer
from trainshed.client.attempts import AttemptClient
from trainshed.errors import AttemptSuperseded, InvalidInput, Unavailable
from trainshed.runner import story
from trainshed.runner.story import StorySender


@pytest.fixture
def sender(client: AttemptClient) -> Iterator[StorySender]:
    """A sender that has not begun to send."""
    sender = StorySender(client)
    yield sender
    client.abandon.set()
    sender.close()


def begin(sender: StorySender) -> threading.Event:
    """Begin to send; the event is set when the sender says that it is superseded."""
    superseded = threading.Event()
    sender.start(superseded.set)
    return superseded


def tell(sender: StorySender, *numbers: int, kind: str = "metric") -> None:
    for number in numbers:
        sender.tell(kind, {"number": number})


def numbers(server: AttemptServer) -> list[int]:
    return [event["body"]["number"] for event in server.events]


def checkpoint(folder: Path, step: int) -> Path:
    path = folder / f"checkpoint-{step}.upload"
    path.write_bytes(f"step {step}".encode())
    return path


def test_a_burst_is_batched_in_order(server: AttemptServer, sender: StorySender) -> None:
    tell(sender, *range(450))
    begin(sender)
    sender.drain()
    assert numbers(server) == list(range(450))
    assert server.batches == [(0, 200), (200, 200), (400, 50)]


def test_what_is_told_while_a_batch_is_on_its_way_leaves_together(server: AttemptServer, sender: StorySender) -> None:
    server.gates["/events"] = threading.Event()
    begin(sender)
    tell(sender, 0)
    server.wait_until_asked("/events")
    tell(sender, *range(1, 20))
    server.gates["/events"].set()
    sender.drain()
    assert server.batches == [(0, 1), (1, 19)]


def test_a_batch_whose_answer_was_lost_is_repeated_under_its_numbers(
    server: AttemptServer, sender: StorySender
) -> None:
    server.losses = ["/events"]
    tell(sender, 0, 1, 2)
    begin(sender)
    sender.drain()
    tell(sender, 3, 4)
    sender.drain()
    assert server.batches == [(0, 3), (0, 3), (3, 2)]
    assert numbers(server) == [0, 1, 2, 3, 4]


def test_nothing_is_lost_while_the_server_is_away(server: AttemptServer, sender: StorySender) -> None:
    begin(sender)
    with server.away(num_requests=2):
        tell(sender, 0, 1)
    tell(sender, 2)
    sender.drain()
    assert numbers(server) == [0, 1, 2]


def test_a_refused_batch_leaves_no_gap_in_the_numbers(server: AttemptServer, sender: StorySender) -> None:
    server.refusals["/events"] = InvalidInput
    begin(sender)
    tell(sender, 0)
    sender.drain()
    server.refusals.clear()
    tell(sender, 1, 2)
    sender.drain()
    assert numbers(server) == [1, 2] and server.batches[0][0] == 0


def test_a_refused_batch_does_not_take_the_checkpoint_with_it(
    server: AttemptServer, sender: StorySender, tmp_path: Path
) -> None:
    server.refusals["/events"] = InvalidInput
    tell(sender, 0)
    sender.save_checkpoint(checkpoint(tmp_path, 4), 4)
    begin(sender)
    sender.drain()
    assert [saved.step for saved in server.saved] == [4]


def test_a_superseded_story_says_so_and_ends(server: AttemptServer, sender: StorySender) -> None:
    server.is_superseded = True
    superseded = begin(sender)
    tell(sender, 0)
    with pytest.raises(AttemptSuperseded):
        sender.drain()
    assert superseded.wait(20)


def test_in_a_very_long_outage_log_lines_go_before_metrics(
    server: AttemptServer, sender: StorySender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(story, "_MOST_WAITING", 4)
    tell(sender, 0)
    tell(sender, 1, 2, kind="log")
    tell(sender, 3, 4, 5)
    begin(sender)
    sender.drain()
    assert numbers(server) == [0, 3, 4, 5]


def test_only_the_newest_checkpoint_is_sent(server: AttemptServer, sender: StorySender, tmp_path: Path) -> None:
    server.gates["/blobs"] = threading.Event()
    begin(sender)
    paths = {step: checkpoint(tmp_path, step) for step in (1, 2, 3)}
    sender.save_checkpoint(paths[1], 1)
    server.wait_until_asked("/blobs")
    sender.save_checkpoint(paths[2], 2)
    sender.save_checkpoint(paths[3], 3)
    assert not paths[2].exists(), "a checkpoint that is overtaken is thrown away"
    server.gates["/blobs"].set()
    sender.drain()
    assert [(saved.step, server.blobs[saved.sha256]) for saved in server.saved] == [(1, b"step 1"), (3, b"step 3")]
    assert not any(path.exists() for path in paths.values())


def test_a_checkpoint_is_stored_before_the_job_points_at_it(
    server: AttemptServer, sender: StorySender, tmp_path: Path
) -> None:
    server.losses = ["/blobs", "/checkpoint"]
    begin(sender)
    sender.save_checkpoint(checkpoint(tmp_path, 5), 5)
    sender.drain()
    routes = [asked.path.rpartition("/")[2] for asked in server.asked]
    assert routes == ["blobs", "blobs", "checkpoint", "checkpoint"]


def test_a_checkpoint_whose_file_is_gone_does_not_end_the_story(
    server: AttemptServer, sender: StorySender, tmp_path: Path
) -> None:
    begin(sender)
    sender.save_checkpoint(tmp_path / "gone", 1)
    tell(sender, 0)
    sender.drain()
    tell(sender, 1)
    sender.drain()
    assert numbers(server)[-1] == 1 and not server.saved


def test_an_abandoned_story_does_not_keep_anybody_waiting(
    server: AttemptServer, client: AttemptClient, sender: StorySender
) -> None:
    server.refusals["/events"] = Unavailable
    begin(sender)
    tell(sender, *range(500))
    server.wait_until(lambda: server.count("/events") >= 1)
    client.abandon.set()
    sender.drain()
    assert not server.events
