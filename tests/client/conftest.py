"""A fake server, a client of it, and an empty place for credentials."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from trainshed import Client
from trainshed.testing.fake_server import FakeServer


@pytest.fixture(autouse=True)
def own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting, no credentials and no home of whoever runs the tests."""
    monkeypatch.delenv("TRAINSHED_URL", raising=False)
    monkeypatch.delenv("TRAINSHED_TOKEN", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("TRAINSHED_HOME", str(tmp_path / "home"))


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as running:
        yield running


@pytest.fixture
def client(server: FakeServer) -> Iterator[Client]:
    with Client(server.url, server.token) as connected:
        yield connected


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder with two classes of three pictures, and one text file."""
    folder = tmp_path / "flowers"
    for name in ("rose", "tulip"):
        (folder / name).mkdir(parents=True)
        for number in range(3):
            (folder / name / f"{number}.png").write_bytes(b"\x89PNG" + bytes([number]) * 50)
    (folder / "rose" / "notes.txt").write_text("not a picture")
    return folder
