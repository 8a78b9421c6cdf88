"""Blobs in this machine's cache: whole or not at all, and within a budget."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest

from runner.attempt_server import AttemptServer
from trainshed.client.attempts import AttemptClient
from trainshed.errors import NotFound, TrainshedError, Unavailable
from trainshed.runner import fetching
from trainshed.runner.fetching import fetched
from trainshed.testing.fake_server import Fault


def cached(home: Path) -> list[str]:
    """The names of all files in the cache."""
    return sorted(path.name for path in (home / "cache").rglob("*") if path.is_file())


def age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_a_blob_is_fetched_once(server: AttemptServer, client: AttemptClient, home: Path) -> None:
    sha256 = server.add(b"a picture")
    assert fetched(client, sha256).read_bytes() == b"a picture"
    assert fetched(client, sha256) == fetched(client, sha256)
    assert len(server.asked) == 1 and cached(home) == [sha256]


def test_a_truncated_blob_is_fetched_again(server: AttemptServer, client: AttemptClient, home: Path) -> None:
    sha256 = server.add(b"a picture")
    server.faults = [Fault(200, {"Content-Length": "9"}, b"a pic")]
    assert fetched(client, sha256).read_bytes() == b"a picture"
    assert len(server.asked) == 2 and cached(home) == [sha256]


@pytest.mark.parametrize("body", [b"a pic", b"a picturesque thing", b""])
def test_a_blob_with_another_content_is_refused_and_not_kept(
    server: AttemptServer, client: AttemptClient, home: Path, body: bytes
) -> None:
    sha256 = server.add(b"a picture")
    server.faults = [Fault(200, body=body)]
    with pytest.raises(TrainshedError, match="another content"):
        fetched(client, sha256)
    assert cached(home) == []
    assert fetched(client, sha256).read_bytes() == b"a picture", "the next fetch is not hurt by it"


def test_a_blob_that_is_refused_leaves_nothing(server: AttemptServer, client: AttemptClient, home: Path) -> None:
    with pytest.raises(NotFound):
        fetched(client, hashlib.sha256(b"foreign").hexdigest())
    assert cached(home) == []


def test_an_abandoned_fetch_leaves_nothing(server: AttemptServer, client: AttemptClient, home: Path) -> None:
    sha256 = server.add(b"a picture")
    server.faults = [Fault(200, {"Content-Length": "9"}, b"a pic")]
    client.abandon.set()
    with pytest.raises(Unavailable):
        fetched(client, sha256)
    assert cached(home) == []


def test_the_least_recently_used_go_when_the_budget_is_full(
    server: AttemptServer, client: AttemptClient, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRAINSHED_CACHE_BYTES", "250")
    names = [server.add(bytes([number]) * 100) for number in range(4)]
    for seconds, name in zip((300, 200), names, strict=False):
        age(fetched(client, name), seconds)
    fetched(client, names[0])  # used again
    fetched(client, names[2])
    assert cached(home) == sorted([names[0], names[2]])


def test_the_newest_is_kept_even_if_it_is_larger_than_the_budget(
    server: AttemptServer, client: AttemptClient, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRAINSHED_CACHE_BYTES", "10")
    small, large = server.add(b"small"), server.add(b"large" * 100)
    fetched(client, small)
    assert fetched(client, large).exists()
    assert cached(home) == [large]


def test_what_a_killed_runner_left_half_fetched_goes_after_a_while(
    server: AttemptServer, client: AttemptClient, home: Path
) -> None:
    first, second = server.add(b"first"), server.add(b"second")
    folder = fetched(client, first).parent
    left, fresh = folder / "left.1.part", folder / "fresh.2.part"
    for part in (left, fresh):
        part.write_bytes(b"half of")
    age(left, 2 * fetching._PART_SECONDS)
    fetched(client, second)
    assert not left.exists()
    assert fresh.exists(), "another runner is still fetching it"


def test_a_file_that_another_runner_takes_away_meanwhile_is_no_error(
    server: AttemptServer, client: AttemptClient, home: Path
) -> None:
    folder = fetched(client, server.add(b"first")).parent
    (folder / "gone").symlink_to(folder / "nowhere")  # listed, and not there when it is looked at
    assert fetched(client, server.add(b"second")).read_bytes() == b"second"
