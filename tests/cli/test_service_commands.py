"""Starting processes by the command line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trainshed.testing.fake_server import FakeServer, Fault

Trainshed = Callable[..., Any]  # the fixture `trainshed`: arguments in, what it said out
PYTHON = [sys.executable, "-m", "trainshed"]


def _start_agent(server: FakeServer, *options: str, token: str = "") -> subprocess.Popen[bytes]:
    environment = {**os.environ, "TRAINSHED_URL": server.url, "TRAINSHED_TOKEN": token}
    return subprocess.Popen(
        [*PYTHON, "agent", "--every-seconds", "0.1", *options], env=environment, stderr=subprocess.PIPE
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_agent_sends_readings_through_an_outage_until_it_is_stopped(
    server: FakeServer, number: signal.Signals
) -> None:
    server.faults = [Fault(503), Fault()]
    agent = _start_agent(server, token=server.token)
    server.wait_until(lambda: len(server.asked_for("POST", "/hosts/readings")) >= 5, 60)
    agent.send_signal(number)
    _, log = agent.communicate(timeout=60)

    assert agent.returncode == 0
    [host] = server.hosts.values()
    assert host.reading and host.reading.cpu_count >= 1
    assert b"reading not delivered (2 in a row)" in log
    assert b"Traceback" not in log


def test_the_agent_takes_its_key_from_a_file(server: FakeServer, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(server.token + "\n")
    agent = _start_agent(server, "--token-file", str(tmp_path / "key"))
    server.wait_until(lambda: server.hosts, 60)
    agent.terminate()

    agent.communicate(timeout=60)
    assert agent.returncode == 0


@pytest.mark.parametrize(
    ("command", "module", "extra"),
    [("up", "django", "server"), ("agent", "psutil", "server"), ("model-server", "onnxruntime", "server")],
)
def test_what_is_not_installed_is_named_with_the_command_that_brings_it(
    trainshed: Trainshed, monkeypatch: pytest.MonkeyPatch, command: str, module: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)  # as if it were not there
    said = trainshed(command)

    assert said.code == 1
    assert f"the extra `{extra}` is not installed" in said.err
    assert f"pip install 'trainshed[{extra}]'" in said.err


def test_a_refused_start_is_told_and_leaves_with_1(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    told = subprocess.run(
        [*PYTHON, "up", "--port", "1", "--home", str(tmp_path / "file" / "home")],
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert told.returncode == 1
    assert told.stderr.startswith("Error: ")
    assert str(tmp_path / "file" / "home") in told.stderr
    assert "Traceback" not in told.stderr


def test_a_port_outside_the_range_is_not_understood(trainshed: Trainshed) -> None:
    assert trainshed("up", "--port", "70000").code == 2


def test_the_runner_gets_its_arguments_untouched(trainshed: Trainshed) -> None:
    told = subprocess.run(
        [*PYTHON, "runner", "--warm", "light", "--no-such-option"],
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert told.returncode == 2
    assert "--no-such-option" in told.stderr
    assert "--warm" in told.stderr  # the runner's own usage
