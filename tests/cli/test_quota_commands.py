"""Quotas by the command line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from trainshed.cli.quotas import parsed
from trainshed.errors import InvalidInput
from trainshed.testing.fake_server import FakeServer

Trainshed = Callable[..., Any]  # the fixture `trainshed`: arguments in, what it said out


def test_what_is_used_is_listed_beside_what_is_allowed(trainshed: Trainshed, signed_in: FakeServer) -> None:
    assert (
        trainshed("quota", "limit", "stored_bytes", "500GB").out == "stored_bytes: at most 500 GB; 0 B are used now.\n"
    )
    trainshed("quota", "limit", "gpu_seconds", "100h")
    said = trainshed("quota", "list")

    assert said.code == 0
    lines = {line.split()[0]: line for line in said.out.splitlines()}
    assert "500 GB" in lines["stored_bytes"] and "100.0 h" in lines["gpu_seconds"]
    assert "no limit" in lines["running_jobs"]


def test_a_limit_is_taken_away_again(trainshed: Trainshed, signed_in: FakeServer) -> None:
    trainshed("quota", "limit", "queued_jobs", "20")
    said = trainshed("quota", "limit", "queued_jobs", "none", "--json")

    assert said.json()["most"] is None
    assert [asked.json() for asked in signed_in.asked_for("PUT", "/quotas/queued_jobs")] == [
        {"most": 20},
        {"most": None},
    ]


def test_another_workspace_is_named_or_given_by_an_id_that_is_not_mine(
    trainshed: Trainshed, signed_in: FakeServer
) -> None:
    assert trainshed("quota", "list", "--workspace", "Shelf").code == 0
    assert trainshed("quota", "list", "--workspace", "elsewhere").code == 1
    paths = [asked.path for asked in signed_in.asked if asked.path.endswith("/quotas")]
    assert paths == ["/api/v1/workspaces/shelf0/quotas", "/api/v1/workspaces/elsewhere/quotas"]


@pytest.mark.parametrize(
    ("words", "most"),
    [
        ("12", 12),
        ("500GB", 500 * 10**9),
        ("1.5 TB", 1_500 * 10**9),
        ("64k", 64_000),
        ("100h", 360_000),
        ("7 B", 7),
        ("NONE", None),
    ],
)
def test_a_limit_is_written_as_people_write_it(words: str, most: int | None) -> None:
    assert parsed(words) == most


@pytest.mark.parametrize("words", ["", "many", "5 GPUs", "nan", "inf", "1e999"])
def test_what_is_no_limit_is_told(words: str) -> None:
    with pytest.raises(InvalidInput, match="is no limit"):
        parsed(words)
