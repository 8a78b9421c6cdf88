"""What the SDK relies on, asked of the fake server and of the real one alike."""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from trainshed import Client
from trainshed.errors import (
    Conflict,
    IdempotencyMismatch,
    InvalidInput,
    NotFound,
    NotSignedIn,
    TrainshedError,
)
from trainshed.schemas import Event, JobView, Recipe, SplitPlan
from trainshed.testing.fake_server import CODE, FakeServer

NUM_PER_CLASS = 12
START_SECONDS = 300.0
NAME, EMAIL, PASSWORD = "Ada", "ada@example.org", "analytical engine"


@dataclass
class Site:
    """A running server and the token of its first owner."""

    url: str
    token: str


@pytest.fixture(scope="module", params=["fake", "real"])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A fresh installation whose first owner has just been made."""
    if request.param == "fake":
        with FakeServer(is_set_up=False) as server:
            yield _set_up(server.url, CODE)
        return
    if not (importlib.util.find_spec("django") and importlib.util.find_spec("torch")):
        pytest.skip("the real server needs the extras `server` and `vision`")
    # A short path: the server's sockets live in its home.
    with _running(tmp_path_factory.mktemp("h")) as started:
        yield _set_up(started["url"], started["setup_code"])


class _running:  # noqa: N801  (used like a function)
    """`trainshed up` on a free port."""

    def __init__(self, home: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        command = [
            sys.executable,
            "-m",
            "trainshed",
            "up",
            "--json",
            "--port",
            str(port),
            "--home",
            str(home),
        ]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ, text=True)

    def __enter__(self) -> dict[str, str]:
        assert self._process.stdout
        started: dict[str, str] = json.loads(self._process.stdout.readline())
        return started

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        assert self._process.stdout
        self._process.stdout.close()
        assert self._process.wait(START_SECONDS) == 0


def _set_up(url: str, code: str) -> Site:
    with Client(url) as client:
        return Site(url, client.setup(code, NAME, EMAIL, PASSWORD).token or "")


@pytest.fixture
def client(site: Site) -> Iterator[Client]:
    with Client(site.url, site.token) as connected:
        yield connected


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dark and light squares, and a text file called .txt."""
    folder = tmp_path_factory.mktemp("pictures") / "squares"
    for name, grey in (("dark", 40), ("light", 200)):
        (folder / name).mkdir(parents=True)
        for number in range(NUM_PER_CLASS):
            (folder / name / f"{number}.png").write_bytes(png(grey + number))
    (folder / "dark" / "notes.txt").write_text("not a picture")
    return folder


def png(grey: int, side: int = 8) -> bytes:
    """A grey square as PNG (W3C PNG specification, section 5)."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    rows = (b"\0" + bytes([grey]) * side) * side
    data = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(data)


@pytest.fixture(scope="module")
def trained(site: Site, folder: Path) -> JobView:
    """The main line, once for all: import, train, end."""
    with Client(site.url, site.token) as client:
        arrived = client.datasets.import_folder(folder)
        client.jobs.wait(arrived.job, START_SECONDS, must_succeed=True)
        recipe = Recipe(backbone="scratch-cnn", image_size=16, epochs=1)
        job = client.train(arrived.dataset, recipe, name="squares model")
        return client.jobs.wait(job, START_SECONDS, must_succeed=True)


def test_health_needs_no_token(site: Site) -> None:
    with Client(site.url, "none") as stranger:
        assert stranger.health()["status"] == "ok"


def test_without_a_good_token_nothing_is_told(site: Site) -> None:
    for token in ("wrong", ""):
        with Client(site.url, token) as stranger:
            with pytest.raises(NotSignedIn) as caught:
                stranger.me()
            assert caught.value.hint


def test_setting_up_twice_is_refused_and_signing_in_works(site: Site) -> None:
    with Client(site.url) as client:
        with pytest.raises(TrainshedError) as caught:
            client.setup("another code", NAME, EMAIL, PASSWORD)
        assert caught.value.status in (NotFound.status, Conflict.status)
        with pytest.raises(NotSignedIn):
            client.sign_in(EMAIL, "a wrong password")
        assert client.sign_in(EMAIL, PASSWORD).token
        assert client.me().email == EMAIL


def test_the_first_owner_has_a_workspace_with_a_project_and_sees_the_shelf(client: Client) -> None:
    own = [workspace for workspace in client.me().workspaces if not workspace.is_shelf]

    assert own[0].role == "owner"
    assert own[0].projects
    assert any(workspace.is_shelf for workspace in client.me().workspaces)


def test_an_import_takes_the_pictures_and_lists_what_is_none(client: Client, trained: JobView) -> None:
    [dataset] = [dataset for dataset in client.datasets.list() if dataset.name == "squares"]
    [job] = [job for job in client.jobs.list(kind="import") if job.spec["dataset_id"] == dataset.id][-1:]
    report = job.result or {}

    assert (report["num_taken"], report["num_skipped"]) == (2 * NUM_PER_CLASS, 1)
    assert report["skipped"][0]["name"].endswith("notes.txt")
    assert {it["name"]: it["num_images"] for it in dataset.classes} == {
        "dark": NUM_PER_CLASS,
        "light": NUM_PER_CLASS,
    }
    assert len(list(client.datasets.images(dataset))) == 2 * NUM_PER_CLASS


def test_a_dataset_that_has_not_changed_keeps_its_version(client: Client, trained: JobView) -> None:
    dataset = client.datasets.find("squares")
    version = client.versions.current(dataset)

    assert version.id == trained.spec["version_id"]
    assert client.versions.get(version.id) == version
    assert version.summary.num_images == 2 * NUM_PER_CLASS


def test_another_split_makes_another_version(client: Client, trained: JobView) -> None:
    dataset = client.datasets.find("squares")
    plan = SplitPlan(validation=0.25, test=0.25, seed=3)

    version = client.versions.current(dataset, plan, START_SECONDS)
    assert version.id != trained.spec["version_id"]
    assert version.split == plan.model_dump()
    assert client.versions.current(dataset, plan).id == version.id


def test_the_same_key_and_body_is_one_job_and_another_body_a_mismatch(client: Client, folder: Path) -> None:
    dataset = client.datasets.create("keyed")
    path = f"{client._place.path()}/datasets/{dataset.id}/versions"
    key = {"Idempotency-Key": "the same"}
    first, again = (
        client.transport.request("POST", path, json={"split": {"seed": 1}}, headers=key).json()["id"] for _ in range(2)
    )

    assert first == again
    with pytest.raises(IdempotencyMismatch):
        client.transport.request("POST", path, json={"split": {"seed": 2}}, headers=key)
    with pytest.raises(InvalidInput):  # an empty dataset has no version
        client.jobs.wait(first, START_SECONDS, must_succeed=True)


def test_a_taken_name_is_a_conflict_and_a_foreign_id_is_not_found(client: Client, trained: JobView) -> None:
    with pytest.raises(Conflict):
        client.datasets.create("squares")
    for ask in (client.datasets.get, client.jobs.get, client.versions.get, client.models.get):
        with pytest.raises(NotFound):
            ask("nothing-of-this-id")  # type: ignore[operator]


def test_the_stream_tells_exactly_the_events_of_the_story(client: Client, trained: JobView) -> None:
    story = list(client.jobs.events(trained))
    streamed = [told for told in client.jobs.follow(trained) if isinstance(told, Event)]
    rest = [told for told in client.jobs.follow(trained, after=story[1].revision) if isinstance(told, Event)]

    assert streamed == story
    assert rest == story[2:]
    assert [event.revision for event in story] == list(range(1, len(story) + 1))
    assert {"state", "progress", "metric"} <= {event.kind for event in story}
    assert story[-1].body["to"] == "succeeded"


def test_an_ended_job_waits_for_nothing_and_cannot_be_cancelled(client: Client, trained: JobView) -> None:
    assert not client.jobs.why_waiting(trained).waiting
    for order in (client.jobs.cancel, client.jobs.pause, client.jobs.resume):
        with pytest.raises(Conflict):
            order(trained)


def test_a_trained_model_answers_and_can_be_taken_away(
    client: Client, trained: JobView, folder: Path, tmp_path: Path
) -> None:
    model = client.models.find("squares model")
    client.models.load(model)
    prediction = client.models.predict(model, folder / "light" / "3.png")

    assert model.id == (trained.result or {})["model_id"]
    assert {it.name for it in model.classes} == {"dark", "light"}
    assert {score.label for score in prediction.predictions} == {"dark", "light"}
    assert len(client.models.predict(model, png(7), top=1).predictions) == 1
    with pytest.raises(InvalidInput):
        client.models.predict(model, b"not a picture")
    with zipfile.ZipFile(client.models.download(model, tmp_path)) as archive:
        assert any(name.endswith("card.md") for name in archive.namelist())


def test_models_and_datasets_are_renamed(client: Client, trained: JobView) -> None:
    model = client.models.find("squares model")
    assert client.models.rename(model, "other").name == "other"
    assert client.models.rename(model, "squares model").name == "squares model"
    dataset = client.datasets.create("short-lived")
    assert client.datasets.rename(dataset, "renamed").name == "renamed"
    client.datasets.delete(dataset)
    with pytest.raises(NotFound):
        client.datasets.get(dataset.id)


def test_a_token_works_until_it_is_revoked(client: Client, site: Site) -> None:
    made = client.tokens.create("for a program", ["read"], expires_in_days=1)
    with Client(site.url, made.token) as program:
        assert program.me().email == EMAIL
        client.tokens.revoke(made)
        with pytest.raises(NotSignedIn):
            list(program.datasets.list())
    assert all(token.token is None for token in client.tokens.list())


def test_a_workspace_tells_what_it_uses_and_a_limit_is_kept(client: Client) -> None:
    limited = client.quotas.limit("queued_jobs", 500)
    assert (limited.most, client.quotas.limit("queued_jobs", None).most) == (500, None)
    client.quotas.limit("running_jobs", 20, client.me().workspaces[0])
    assert {quota.resource: quota.most for quota in client.quotas.list(client.me().workspaces[0])} == {
        "stored_bytes": None,
        "queued_jobs": None,
        "running_jobs": 20,
        "gpu_seconds": None,
    }
    with pytest.raises(InvalidInput):
        client.quotas.limit("queued_jobs", -1)
    with pytest.raises(NotFound):
        list(client.quotas.list("nothing-of-this-id"))


def test_lists_come_in_pages_of_the_asked_size(client: Client) -> None:
    for number in range(3):
        client.datasets.create(f"page {number}")
    names = [dataset.name for dataset in client.datasets.list()]

    assert names.index("page 2") < names.index("page 1") < names.index("page 0")
    assert len(names) == len(set(names))


def test_a_workspace_is_made_named_deleted_and_taken_back(client: Client) -> None:
    made = client.workspaces.create("Bird lab")
    assert (made.role, len(made.projects)) == ("owner", 1)
    assert client.workspaces.rename("Bird lab", "Bees").id == made.id
    assert client.workspaces.get(made).name == client.workspaces.find("Bee").name == "Bees"
    client.workspaces.delete("Bees")
    assert made.id not in {workspace.id for workspace in client.workspaces.list()}
    (gone,) = [each for each in client.workspaces.list(deleted=True) if each.id == made.id]
    assert gone.ends_at
    assert client.workspaces.restore(gone).id == made.id
    with pytest.raises(Conflict):  # the last owner stays
        client.workspaces.leave(made)


def test_a_project_is_made_described_and_deleted_in_the_named_workspace(client: Client) -> None:
    lab = client.workspaces.create("Owl lab")
    made = client.projects.create("Owls", description="At night", workspace="Owl lab")
    assert (made.workspace_id, made.task, made.description) == (lab.id, "classification", "At night")
    assert client.projects.change(made, name="Barn owls").description == "At night"
    assert client.projects.get(made).name == "Barn owls"
    with pytest.raises(Conflict):
        client.projects.create("Barn owls", workspace=lab)
    client.projects.delete(made, with_everything=True)
    assert made.id not in {project.id for project in client.projects.list(lab)}


def test_an_invite_has_its_link_once_and_works_no_more_when_it_is_revoked(client: Client) -> None:
    made = client.invites.create("editor", workspace=client.workspaces.create("Guests"))
    assert made.link and made.role == "editor"
    (listed,) = client.invites.list("Guests")
    assert (listed.id, listed.link) == (made.id, None)
    with pytest.raises(Conflict):  # there is no address to mail
        client.invites.remind(made)
    assert client.invites.accept(made.link).name == "Guests"
    with pytest.raises(NotFound):
        client.invites.accept(made.link)
    mailed = client.invites.create(email="new@example.org", workspace="Guests")
    reminded = client.invites.remind(mailed)
    assert reminded.reminded_at and reminded.link != mailed.link
    client.invites.revoke(reminded)
    with pytest.raises(NotFound):
        client.invites.accept(reminded.link or "")


def test_the_members_of_a_workspace_are_named_with_their_role(client: Client) -> None:
    own = [member for member in client.members.list() if member.email == EMAIL]
    assert [(member.name, member.role) for member in own] == [(NAME, "owner")]
    with pytest.raises(NotFound):
        client.members.change("nobody", "viewer")


def test_a_robots_token_is_shown_once_and_ends(client: Client) -> None:
    made = client.robots.create("nightly", "editor", ["read", "write"])
    assert made.token and made.token.startswith(made.beginning) and made.role == "editor"
    (listed,) = [robot for robot in client.robots.list() if robot.id == made.id]
    assert listed.token is None
    with pytest.raises(InvalidInput):
        client.robots.create("king", scopes=["admin"])
    client.robots.revoke(made)
    assert made.id not in {robot.id for robot in client.robots.list()}


def test_a_dataset_is_moved_to_another_project(client: Client, site: Site) -> None:
    target = client.projects.create("Elsewhere")
    dataset = client.datasets.create("moving")
    moved = client.datasets.move(dataset, target)
    assert (moved.id, moved.project_id) == (dataset.id, target.id)
    with Client(site.url, site.token, project="Elsewhere") as there:
        assert there.datasets.find("moving").id == dataset.id
    assert "moving" not in {each.name for each in client.datasets.list()}


def test_a_model_is_shared_by_a_link_that_is_shown_once(client: Client, trained: JobView) -> None:
    model = client.models.find("squares model")
    made = client.shares.create(model, 7, "for Grace")
    assert made.link and (made.noun, made.thing_id, made.note) == ("model", model.id, "for Grace")
    (listed,) = client.shares.list()
    assert (listed.id, listed.link) == (made.id, None)
    client.shares.revoke(listed)
    assert list(client.shares.list()) == []
