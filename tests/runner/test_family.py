"""A child and everything it starts: all of it ends, whoever is killed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.processes import end_now, is_running, wait_for_end

_PROGRAM = Path(__file__).parent / "family_host.py"


class Host:
    """The process that holds the family, and the ids of those in it."""

    def __init__(self) -> None:
        command = [sys.executable, str(_PROGRAM)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.child, self.near, self.far = self._answer()

    def ask(self, command: str) -> Any:
        assert self.process.stdin is not None
        print(command, file=self.process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def end(self) -> None:
        """End it, and those of the family that it leaves behind."""
        if self.process.poll() is None:
            self.ask("kill")
        self.process.kill()
        self.process.communicate()
        for pid in (self.near, self.far):
            end_now(pid)


@pytest.fixture
def host() -> Iterator[Host]:
    host = Host()
    yield host
    host.end()


def test_all_descendants_are_members_also_those_that_have_left(host: Host) -> None:
    assert sorted(host.ask("members")) == sorted([host.child, host.near, host.far])


def test_a_kill_ends_all_of_them_and_returns_when_nobody_is_left(host: Host) -> None:
    assert host.ask("kill") == -signal.SIGKILL
    assert not any(is_running(pid) for pid in (host.child, host.near, host.far))
    assert host.ask("members") == []


def test_orphans_end_although_the_child_had_ended_before(host: Host) -> None:
    assert host.ask(f"signal {int(signal.SIGTERM)}") == -signal.SIGTERM
    assert sorted(host.ask("members")) == sorted([host.near, host.far])
    assert host.ask("kill") == -signal.SIGTERM, "how the child ended is forgotten"
    wait_for_end(host.near, host.far)
    assert host.ask("kill") == -signal.SIGTERM and host.ask(f"signal {int(signal.SIGTERM)}") == -signal.SIGTERM


def test_a_child_ends_with_its_parent(host: Host) -> None:
    host.process.kill()
    wait_for_end(host.child)


def test_the_peak_memory_is_known_while_it_lives_and_unknown_afterwards(host: Host) -> None:
    assert 1 << 20 < host.ask("memory") < 1 << 30
    host.ask("kill")
    assert host.ask("memory") is None
