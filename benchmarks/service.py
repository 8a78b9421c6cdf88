"""A real service for a benchmark: `trainshed up` in a fresh home on a free port, with a signed-in client."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from trainshed import Client


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(**settings: str) -> Iterator[Client]:
    """A fresh installation with its first owner signed in; everything is stopped and removed at the end."""
    home = Path(tempfile.mkdtemp(prefix="ts-"))
    environment = {**os.environ, "TRAINSHED_HOME": str(home), "TRAINSHED_PORT": str(free_port()), **settings}
    command = [sys.executable, "-m", "trainshed", "up", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
    try:
        assert process.stdout is not None
        started = json.loads(process.stdout.readline())
        with Client(started["url"], token="") as client:
            client.setup(started["setup_code"], "Bench", "bench@example.org", "only for this measurement")
            yield client
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        shutil.rmtree(home, ignore_errors=True)


def wait_for_quiet(client: Client) -> None:
    """Until the shelf is stocked, so that nothing of ours runs beside the measurement."""
    while not list(client.models.shelf()):
        time.sleep(0.5)
