"""A server with one attempt, a client of it, and a home of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.attempt_server import AttemptServer
from trainshed.client.attempts import AttemptClient


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A TRAINSHED_HOME that nobody else has a cache in."""
    monkeypatch.setenv("TRAINSHED_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def server() -> Iterator[AttemptServer]:
    with AttemptServer() as running:
        yield running


@pytest.fixture
def client(server: AttemptServer) -> Iterator[AttemptClient]:
    connected = AttemptClient(server.url, server.token)
    yield connected
    connected.abandon.set()
    connected._transport.close()
