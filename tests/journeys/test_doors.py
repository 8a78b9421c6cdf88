"""Each process door, opened as it is in real life, and what it has imported when it has done its work."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import postgresql
from journeys import service as services
from journeys.conftest import new_database
from journeys.service import Service
from journeys.trainings import write_digits

# Python's own record: every module that a process imports, however it does, in a line on its standard error. It slows
# a process down, so its silences are longer.
RECORD = {"PYTHONVERBOSE": "1", "TRAINSHED_LEASE_SECONDS": "30"}
HEAVY = {"torch", "torchvision", "timm", "pynvml"}
_LINE = re.compile(r"^import '([\w.]+)' #", re.MULTILINE)


def imported(record: str) -> set[str]:
    """The top-level modules in a record, with the rooms of our own package."""
    names = set(_LINE.findall(record))
    return {name.partition(".")[0] for name in names} | {name for name in names if name.startswith("trainshed.")}


def run(*command: str, **named: object) -> set[str]:
    """What a process of ours imports from its start to its end."""
    environment = {name: value for name, value in os.environ.items() if name != "TRAINSHED_DATABASE_URL"} | RECORD
    done = subprocess.run(
        [sys.executable, "-m", *command], env=environment, capture_output=True, text=True, timeout=120, **named
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return imported(done.stdout + done.stderr)


@pytest.fixture(scope="module")
def records(
    tmp_path_factory: pytest.TempPathFactory, database_server: postgresql.Server | None
) -> Iterator[dict[str, set[str]]]:
    """What each process of a service had imported by the time it had worked and was stopped."""
    database = {} if database_server is None else {"TRAINSHED_DATABASE_URL": new_database(database_server, "doors")}
    with services.running(**RECORD, **database) as service:
        _work(service, tmp_path_factory.mktemp("doors"))
        assert service.stop() == 0
        logs = {path.stem: imported(path.read_text()) for path in (service.home / "logs").glob("*.log")}
        yield {**logs, "supervisor": imported((service.home / "up.log").read_text())}


def _work(service: Service, folder: Path) -> None:
    """Every kind of request to web that needs no model, and jobs for the scheduler and the guards."""
    client = service.client
    arrived = client.datasets.import_folder(write_digits(folder, num_digits=60))
    client.jobs.wait(arrived.job, 90, must_succeed=True)
    assert client.versions.current(arrived.dataset, timeout_seconds=90).summary.num_images == 60
    assert service.raw("GET", "/openapi.json").status_code == 200
    assert service.raw("GET", "/models/none").status_code == 404
    assert list(client.hosts.list())


@pytest.mark.parametrize("process", ["supervisor", "web", "scheduler", "model-server"])
def test_no_torch_and_no_nvml_in(records: dict[str, set[str]], process: str) -> None:
    assert "json" in records[process], "nothing was recorded"
    assert not records[process] & HEAVY


def test_the_record_would_show_them(records: dict[str, set[str]]) -> None:
    """The agent is the one process that may load NVML, and it does."""
    assert "pynvml" in records["agent"] and not records["agent"] & {"torch", "torchvision", "timm"}


@pytest.mark.parametrize("process", ["supervisor", "agent", "model-server"])
def test_no_django_and_no_database_driver_in(records: dict[str, set[str]], process: str) -> None:
    assert not records[process] & {"django", "psycopg", "sqlite3"}


def test_the_command_line_helps_without_server_and_torch() -> None:
    seen = run("trainshed", "--help")
    assert "typer" in seen
    assert not seen & {*HEAVY, "django", "numpy", "PIL", "onnxruntime", "starlette", "trainshed.server"}


@pytest.mark.parametrize("command", ["up", "train", "predict", "dataset", "gpus"])
def test_the_command_explains_itself_without_server_and_torch(command: str) -> None:
    assert not run("trainshed", command, "--help") & {*HEAVY, "django", "numpy", "trainshed.server"}


@pytest.mark.parametrize("warmth", ["light", "vision"])
def test_a_guard_holds_neither_torch_nor_django(warmth: str) -> None:
    """Its standard input ends without an order, so it lets its child go and ends."""
    seen = run("trainshed.runner", "--warm", warmth, stdin=subprocess.DEVNULL)
    assert "trainshed.runner" in seen
    assert not seen & {*HEAVY, "django", "psycopg", "sqlite3", "trainshed.server"}


@pytest.mark.parametrize("warmth", ["light", "vision"])
def test_the_child_of_a_guard_is_warm_and_holds_no_django(warmth: str) -> None:
    hears, orders = os.pipe()
    os.close(orders)  # nobody will ever give it work
    heard, says = os.pipe()
    try:
        seen = run("trainshed.runner.child", str(hears), str(says), warmth, pass_fds=(hears, says))
    finally:
        for descriptor in (hears, heard, says):
            os.close(descriptor)
    assert ("torch" in seen) == (warmth == "vision") and "trainshed.pictures" in seen
    assert not seen & {"django", "psycopg", "trainshed.server"}  # torch itself loads sqlite3 and NVML
