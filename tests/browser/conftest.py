"""One running service and one browser for all tests here; what goes wrong in any window fails its test."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from browser import chromium, open_house
from browser.chromium import Window
from browser.open_house import OpenHouse
from journeys import service, trainings
from journeys.service import Service
from trainshed.client import Client
from trainshed.schemas import DatasetView, JobView

EMAIL, PASSWORD = "ann@example.org", "a long enough passphrase"
OpenWindow = Callable[..., Window]
# Three digits that even a short training tells apart.
CLASSES, NUM_PICTURES = ("0", "1", "6"), 90


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first run comes first, because it happens once; every test is bounded in time."""
    ours = [item for item in items if "tests/browser" in str(item.path)]
    order = sorted(ours, key=lambda item: "test_first_run" not in str(item.path))
    for place, item in zip([items.index(item) for item in ours], order, strict=True):
        items[place] = item
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(120))


class FreshService(Service):
    """An installation that nobody owns yet: the first to come with the link does."""

    setup_link = ""

    def welcome(self, setup_code: str) -> None:
        self.setup_link = f"/setup?code={setup_code}"

    def own(self) -> None:
        """Make the owner by REST, unless a page has done it; sign the tests' own client in."""
        code, self.setup_link = self.setup_link.partition("code=")[2], ""
        if code:
            self.client.setup(code, "Ann Example", EMAIL, PASSWORD)
        else:
            self.client.sign_in(EMAIL, PASSWORD)


@pytest.fixture(scope="package")
def fresh() -> Iterator[FreshService]:
    with service.running(kind=FreshService, TRAINSHED_CPU_SLOTS="2") as started:
        yield started


@pytest.fixture(scope="package")
def running(fresh: FreshService) -> FreshService:
    """The service with an owner, whom its client is."""
    if fresh.setup_link or fresh.client.transport.token == "none":
        fresh.own()
    return fresh


@pytest.fixture(scope="package")
def house(django: None) -> Iterator[OpenHouse]:
    """A second service, where everybody may make an account."""
    with open_house.opened() as opened:
        yield opened


@pytest.fixture(scope="package")
def browser(django: None) -> Iterator[Browser]:
    """Started after Django, which refuses its database where an event loop runs."""
    if chromium.path() is None:
        pytest.skip("Chromium is not installed (on Debian: apt-get install chromium).")
    with chromium.launched() as launched:
        yield launched


@pytest.fixture
def open_window(browser: Browser, request: pytest.FixtureRequest) -> Iterator[OpenWindow]:
    """`open_window(...)` opens a browser of somebody's; its faults fail the test, unless they are `forgiven`."""
    opened: list[Window] = []

    def open_one(email: str = "", password: str = PASSWORD, site: str = "", **named: Any) -> Window:
        window = chromium.window(browser, site or request.getfixturevalue("fresh").url, **named)
        opened.append(window)
        if email:
            window.sign_in(email, password)
        return window

    yield open_one
    faults = [fault for window in opened for fault in window.faults]
    for number, window in enumerate(opened):
        if faults or request.session.testsfailed:
            _keep_picture(window, f"{request.node.name}-{number}")
        window.page.context.close()
    assert faults == []


def _keep_picture(window: Window, name: str) -> None:
    kept = "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in name)
    window.page.screenshot(path=pictures_folder() / "at-the-end" / f"{kept}.png")


def pictures_folder() -> Path:
    """Where the browser's pictures go; the continuous integration keeps them."""
    folder = chromium.REPOSITORY / "build" / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@dataclass(frozen=True)
class Things:
    """What most pages show: a dataset, a training of it that has succeeded, and its model's id."""

    client: Client
    dataset: DatasetView
    job: JobView
    model_id: str

    def train(self, epochs: int) -> JobView:
        """A training that is told often, and lasts about as many seconds as it has tens of epochs."""
        return self.client.train(self.dataset, recipe(epochs))


def recipe(epochs: int) -> Any:
    return trainings.recipe(epochs)


def write_digits(folder: Path, names: tuple[str, ...] = CLASSES) -> Path:
    """Pictures of the three digits, in folders of these names."""
    trainings.write_digits(folder / "all", 0, 10 * NUM_PICTURES // len(CLASSES))
    root = folder / folder.name
    root.mkdir()
    for digit, name in zip(CLASSES, names, strict=True):
        (folder / "all" / digit).rename(root / name)
    return root


@pytest.fixture(scope="package")
def things(running: FreshService, tmp_path_factory: pytest.TempPathFactory) -> Things:
    """Made by REST, undisturbed."""
    return make_things(running.client, write_digits(tmp_path_factory.mktemp("digits")))


def make_things(client: Client, folder: Path) -> Things:
    arrived = client.datasets.import_folder(folder)
    client.jobs.wait(arrived.job, 60, must_succeed=True)
    job = client.jobs.wait(client.train(arrived.dataset, recipe(8)), 100, must_succeed=True)
    assert job.result is not None
    return Things(client, client.datasets.get(arrived.dataset), job, job.result["model_id"])


@pytest.fixture(scope="package")
def vera(running: FreshService) -> str:
    """The e-mail address of a viewer of the owner's workspace; a process makes them, `test_team` goes by the pages."""
    make_person(running, "vera@example.org", "Vera Viewer", "viewer")
    return "vera@example.org"


def make_person(running: FreshService, email: str, name: str, role: str) -> None:
    write_rows(
        running,
        "from trainshed.server.records.models import Membership, Person, Workspace\n"
        f"person = Person.objects.create_person({email!r}, {name!r}, {PASSWORD!r})\n"
        f"workspace = Workspace.objects.get(personal_of__email={EMAIL!r})\n"
        f"Membership.objects.create(workspace=workspace, person=person, role={role!r})\n",
    )


def write_rows(running: Service, code: str) -> None:
    """Run Python on the service's database, for what no door brings about in a test's time."""
    settings = {"TRAINSHED_HOME": str(running.home), "DJANGO_SETTINGS_MODULE": "trainshed.server.settings"}
    code = f"import django; django.setup()\n{code}"
    subprocess.run([sys.executable, "-c", code], env={**os.environ, **settings}, check=True)
