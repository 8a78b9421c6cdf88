"""What a program can do a person can do: each verb of the services beside REST, the SDK, the command and the page.

A verb that is missing here fails, and so does a door that is named here and is no more. A gap has its reason.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer

from trainshed import Client
from trainshed.cli.main import app
from trainshed.server import web

NOUNS = ("datasets", "versions", "jobs", "models", "tokens", "workspaces", "hosts", "people", "uploads")
TEMPLATES = Path(web.__file__).parent / "templates"
P = "/workspaces/{workspace_id}/projects/{project_id}"


class Gap(str):
    """Why a door does not have a verb."""


@dataclass(frozen=True)
class Verb:
    """Where people and programs find a verb. `page` is `template`, or `template: what stands in it`."""

    rest: str
    sdk: str
    cli: str
    page: str


@dataclass(frozen=True)
class Inside:
    """A verb that no door offers by itself, and why."""

    why: str


GATE = Inside("The gate: every other verb passes through it.")
SHAPE = Inside("Gives a row its shape in the verbs that show it.")
WORK = Inside("A runner's, over the attempt protocol.")
START = Inside("Called when the service starts.")
PROJECTS = "POST /workspaces/{workspace_id}/projects"
ONE_PROJECT = Gap("Each installation begins with a project; more of them come with the pages of workspaces.")

TABLE: dict[str, Verb | Inside] = {
    "datasets.get": GATE,
    "datasets.get_image": GATE,
    "datasets.create": Verb(f"POST {P}/datasets", "datasets.create", "dataset import", "components/new_dataset.html"),
    "datasets.rename": Verb(
        f"PATCH {P}/datasets/{{dataset_id}}", "datasets.rename", "dataset rename", "datasets/dataset.html: rename"
    ),
    "datasets.delete": Verb(
        f"DELETE {P}/datasets/{{dataset_id}}", "datasets.delete", "dataset delete", "datasets/dataset.html: delete"
    ),
    "datasets.visible": Verb(f"GET {P}/datasets", "datasets.list", "dataset list", "datasets/datasets.html"),
    "datasets.images": Verb(
        f"GET {P}/datasets/{{dataset_id}}/images",
        "datasets.images",
        Gap("A terminal shows no pictures; `dataset show` counts them."),
        "datasets/pictures.html: pictures",
    ),
    "datasets.open_image": Verb(
        f"GET {P}/images/{{image_id}}/file",
        Gap("Who trains has the pictures already; the address is in the documents."),
        Gap("Who imports has the files already."),
        "datasets/pictures.html: thumbnail",
    ),
    "datasets.view": SHAPE,
    "datasets.image_view": SHAPE,
    "datasets.start_import": Verb(
        f"POST {P}/datasets/{{dataset_id}}/imports",
        "datasets.start_import",
        "dataset import",
        "components/new_dataset.html",
    ),
    "datasets.import_inputs": WORK,
    "datasets.lock_for": WORK,
    "datasets.stage": WORK,
    "datasets.staged_names": WORK,
    "datasets.drop_abandoned": Inside("The scheduler's housekeeping."),
    "datasets.publish_import": WORK,
    "versions.get": GATE,
    "versions.visible": Verb(
        f"GET {P}/datasets/{{dataset_id}}/versions",
        "versions.list",
        "dataset versions",
        "datasets/dataset.html: versions",
    ),
    "versions.view": SHAPE,
    "versions.newest_of": Inside("Tells `train_dataset` whether a new version is needed."),
    "versions.images": Verb(
        f"GET {P}/versions/{{version_id}}/images",
        "versions.images",
        Gap("One line per picture is for programs; the version's counts are told."),
        Gap("The dataset's page shows the pictures; which split each is in, programs ask."),
    ),
    "versions.start_snapshot": Verb(
        f"POST {P}/datasets/{{dataset_id}}/versions",
        "versions.create",
        "dataset version",
        Gap("A page takes a version where a training needs one; with a split of one's own it is taken by REST so far."),
    ),
    "versions.snapshot_inputs": WORK,
    "versions.rows": WORK,
    "versions.publish_snapshot": WORK,
    "jobs.get": GATE,
    "jobs.visible": Verb(f"GET {P}/jobs", "jobs.list", "jobs list", "jobs/jobs.html"),
    "jobs.submit": Inside("Every kind has a verb of its own noun."),
    "jobs.show": Verb(f"GET {P}/jobs/{{job_id}}", "jobs.get", "jobs show", "jobs/job.html"),
    "jobs.cancel": Verb(f"POST {P}/jobs/{{job_id}}/cancel", "jobs.cancel", "jobs cancel", "jobs/status.html: cancel"),
    "jobs.pause": Verb(f"POST {P}/jobs/{{job_id}}/pause", "jobs.pause", "jobs pause", "jobs/status.html: pause"),
    "jobs.resume": Verb(f"POST {P}/jobs/{{job_id}}/resume", "jobs.resume", "jobs resume", "jobs/status.html: resume"),
    "jobs.why_waiting": Verb(
        f"GET {P}/jobs/{{job_id}}/waiting", "jobs.why_waiting", "jobs why", "jobs/status.html: waiting.reason"
    ),
    "jobs.events": Verb(f"GET {P}/jobs/{{job_id}}/events", "jobs.events", "jobs watch", "jobs/job.html"),
    "jobs.story": Inside("Behind `events` and the streams, whose gates were passed."),
    "jobs.view": SHAPE,
    "models.get": GATE,
    "models.visible": Verb(f"GET {P}/models", "models.list", "models list", "models/models.html"),
    "models.rename": Verb(
        f"PATCH {P}/models/{{model_id}}", "models.rename", "models rename", "models/model.html: rename"
    ),
    "models.delete": Verb(
        f"DELETE {P}/models/{{model_id}}", "models.delete", "models delete", "models/model.html: delete"
    ),
    "models.view": SHAPE,
    "models.start_training": Verb(
        f"POST {P}/trainings",
        "train",
        "train",
        Gap("The page trains on a dataset as it is now; on an earlier version REST does so far."),
    ),
    "models.train_dataset": Verb(f"POST {P}/trainings", "train", "train", "trainings/train.html: said.dataset_id"),
    "models.training_inputs": WORK,
    "models.pretrained_inputs": WORK,
    "models.publish_model": WORK,
    "models.served": Inside("The model server's."),
    "models.open_served": Inside("The model server's."),
    "models.archive": Verb(
        f"GET {P}/models/{{model_id}}/archive", "models.download", "models download", "models/model.html: /archive"
    ),
    "tokens.issue": Verb("POST /tokens", "tokens.create", "token create", "people/settings.html: days"),
    "tokens.issue_for_service": START,
    "tokens.visible": Verb("GET /tokens", "tokens.list", "token list", "people/settings.html: tokens"),
    "tokens.get": GATE,
    "tokens.revoke": Verb(
        "DELETE /tokens/{token_id}", "tokens.revoke", "token revoke", "people/settings.html: revoke-token"
    ),
    "workspaces.get": GATE,
    "workspaces.get_project": GATE,
    "workspaces.visible": Verb(
        "GET /workspaces",
        Gap("`Client(workspace=...)` chooses one, and `me` lists them."),
        Gap("A command works in the first workspace; naming another comes with the pages of workspaces."),
        "people/settings.html: workspaces",
    ),
    "workspaces.create_project": Verb(
        "POST /workspaces/{workspace_id}/projects", ONE_PROJECT, ONE_PROJECT, ONE_PROJECT
    ),
    "hosts.enrol_this_machine": START,
    "hosts.visible": Verb("GET /hosts", "hosts.list", "gpus", "hosts/hosts.html"),
    "hosts.gpus": Verb(
        Gap("`GET /hosts` holds the slots that are counted."), "hosts.list", "gpus", "components/gpus.html"
    ),
    "hosts.report": Inside("An agent's, at `POST /hosts/readings`."),
    "people.new_setup_code": START,
    "people.set_up": Verb("POST /setup", "setup", "setup", "people/setup.html"),
    "people.make_first_owner": Inside("What `set_up` and the page's form share."),
    "people.sign_in": Verb("POST /sign-in", "sign_in", "login", "people/sign_in.html"),
    "people.recognise": Inside("What `sign_in` and the page's form share."),
    "people.exist": Inside("Tells the sign-in page whether there is anybody to sign in."),
    "people.me": Verb("GET /me", "me", Gap("`trainshed login` tells who signed in."), "people/settings.html: frame.me"),
    "uploads.get": GATE,
    "uploads.admit": Inside("Asked before the first byte of an upload."),
    "uploads.check_size": Inside("Asked before and during an upload."),
    "uploads.keep": Verb(f"POST {P}/uploads", "datasets.upload", "dataset import", "components/new_dataset.html"),
}
# Not verbs of the services: web authorises, and the model server answers.
PASSED_ON = {
    "models.predict": Verb(
        f"POST {P}/models/{{model_id}}/predict", "models.predict", "predict", "components/drop.html"
    ),
    "models.load": Verb(
        f"POST {P}/models/{{model_id}}/load",
        "models.load",
        Gap("A command waits for its answer; what it waits for first is the same loading."),
        "components/drop.html",
    ),
}
OFFERED = {**{name: verb for name, verb in TABLE.items() if isinstance(verb, Verb)}, **PASSED_ON}
each_offered = pytest.mark.parametrize("verb", OFFERED.values(), ids=OFFERED)


def _verbs() -> Iterator[str]:
    """Every public function of the nouns' files."""
    for noun in NOUNS:
        module = importlib.import_module(f"trainshed.server.services.{noun}")
        for name, found in inspect.getmembers(module, inspect.isroutine):
            if not name.startswith("_") and inspect.unwrap(found).__module__ == module.__name__:
                yield f"{noun}.{name}"


def test_every_verb_of_the_services_stands_in_this_table(django):
    assert set(TABLE) == set(_verbs())


def test_every_verb_and_every_gap_is_explained():
    whole = [verb.why for verb in TABLE.values() if isinstance(verb, Inside)]
    single = [door for verb in OFFERED.values() for door in vars(verb).values() if isinstance(door, Gap)]
    assert all(len(why) > 15 and why.endswith(".") for why in [*whole, *single])


@each_offered
def test_the_route_exists(nobody, verb):
    if isinstance(verb.rest, Gap):
        return
    method, path = verb.rest.split(" ")
    paths = nobody.get("/openapi.json").json()["paths"]
    assert method.lower() in paths[f"/api/v1{path}"]


@each_offered
def test_the_method_of_the_sdk_exists(verb):
    if isinstance(verb.sdk, Gap):
        return
    with Client("http://127.0.0.1:1", "none") as caller:
        found: Any = caller
        for name in verb.sdk.split("."):
            found = getattr(found, name)
    assert callable(found)


@each_offered
def test_the_command_exists(verb):
    if isinstance(verb.cli, Gap):
        return
    found: Any = typer.main.get_command(app)
    for word in verb.cli.split():
        found = found.get_command(None, word)
        assert found is not None, verb.cli
    assert not hasattr(found, "list_commands") or found.callback, "a group and no command"


@each_offered
def test_the_page_exists(verb):
    if isinstance(verb.page, Gap):
        return
    template, _, words = verb.page.partition(": ")
    source = (TEMPLATES / template).read_text()
    assert words in source, f"{template} says nothing of {words}"
