"""One running service for all journeys that leave it healthy, on the database that this run is about."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator

import pytest

import postgresql
from journeys import service, trainings
from journeys.service import Service
from journeys.trainings import Scene

Tell = Callable[[str], None]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every journey is bounded in time, by default in five minutes of its own; on a quiet machine none takes one."""
    for item in items:
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(300, func_only=True))


@pytest.fixture(scope="package")
def running(database_server: postgresql.Server | None) -> Iterator[Service]:
    """Started once; a database of its own, because other tests empty theirs."""
    environment = {} if database_server is None else {"TRAINSHED_DATABASE_URL": new_database(database_server)}
    with service.running(**environment) as started:
        yield started


def new_database(server: postgresql.Server, name: str = "journeys") -> str:
    """The URL of a new, empty database on this server."""
    where = ["-h", "127.0.0.1", "-p", str(server.port), "-U", "trainshed"]
    subprocess.run([str(server.programs / "createdb"), *where, name], check=True)
    return server.url.removesuffix("trainshed") + name


@pytest.fixture(scope="package")
def prepared(running: Service) -> Scene:
    """Digits imported, a version taken, one training done undisturbed, everything idle."""
    running.wait_for_shelf()
    return trainings.prepare(running)


@pytest.fixture
def scene(prepared: Scene) -> Iterator[Scene]:
    """The prepared service; a journey that failed on its way does not make the next one fail."""
    yield prepared
    prepared.service.heal()


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str]) -> Tell:
    """Print a measured figure past pytest's capture."""

    def say(text: str) -> None:
        with capsys.disabled():
            print(f"\n    {text}", end="", flush=True)

    return say
