"""What a guard and a server of different releases may say to each other."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from trainshed.schemas import Assignment, EndReport, EventBatch, NewCheckpoint, NewEvent, Reason, StagedImage


def test_a_field_of_a_newer_release_is_ignored() -> None:
    assignment = {"job_id": "job0", "attempt": 1, "kind": "train", "spec": {}, "colour": "blue"}
    assert Assignment.model_validate(assignment).job_id == "job0"
    assert Reason.model_validate({"code": "killed", "message": "It was killed.", "colour": "blue"}).hint == ""


def test_a_batch_holds_a_thousand_events_at_most_and_counts_from_nought() -> None:
    event = NewEvent(kind="log", body={"text": "a line"})
    assert len(EventBatch(first=0, events=[event] * 1000).events) == 1000
    with pytest.raises(ValidationError, match="at most 1000"):
        EventBatch(first=0, events=[event] * 1001)
    with pytest.raises(ValidationError, match="first"):
        EventBatch(first=-1, events=[event])


@pytest.mark.parametrize("sha256", ["", "0" * 63, "G" * 64, "A" * 64, "../" + "0" * 61, "0" * 64 + "\n"])
def test_only_a_hash_names_a_blob(sha256: str) -> None:
    with pytest.raises(ValidationError, match="sha256"):
        NewCheckpoint(sha256=sha256, step=0)
    with pytest.raises(ValidationError, match="thumbnail_sha256"):
        StagedImage(
            name="a/b.png",
            class_name="a",
            sha256="0" * 64,
            thumbnail_sha256=sha256,
            size_bytes=1,
            width=1,
            height=1,
            format="PNG",
        )


def test_a_guard_can_only_report_ends_that_exist() -> None:
    with pytest.raises(ValidationError, match="succeeded"):
        EndReport.model_validate({"end": "succeeded"})
    assert EndReport(end="stopped").reason is None


def test_an_event_is_of_a_known_kind() -> None:
    with pytest.raises(ValidationError, match="kind"):
        NewEvent.model_validate({"kind": "rumour", "body": {}})
