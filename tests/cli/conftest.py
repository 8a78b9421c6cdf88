"""A fake server, an empty place for credentials, and the command run in this process."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from trainshed.cli import main
from trainshed.client import credentials
from trainshed.testing.fake_server import FakeServer


@pytest.fixture(autouse=True)
def own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting, no credentials and no home of whoever runs the tests."""
    monkeypatch.delenv("TRAINSHED_URL", raising=False)
    monkeypatch.delenv("TRAINSHED_TOKEN", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("TRAINSHED_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TRAINSHED_PORT", "9")  # nobody listens there


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as running:
        yield running


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


@dataclass
class Said:
    """What one command printed, and how it ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


Trainshed = Callable[..., Said]


@pytest.fixture
def trainshed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Trainshed:
    """Run one command in this process: `trainshed("jobs", "list")`."""

    def run(*arguments: object, stdin: str = "") -> Said:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main.run([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return Said(int(ended.value.code or 0), said.out, said.err)

    return run


@pytest.fixture
def signed_in(server: FakeServer) -> FakeServer:
    """A server whose token is kept as `trainshed login` keeps it."""
    credentials.save(server.url, credentials.Credential(server.token, "ada@example.org", "tok0"))
    return server
