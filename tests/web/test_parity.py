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

NOUNS = (
    "datasets",
    "versions",
    "jobs",
    "models",
    "tokens",
    "workspaces",
    "hosts",
    "people",
    "quotas",
    "uploads",
    "members",
    "invites",
    "projects",
    "shares",
    "sessions",
    "audit",
    "login_codes",
)
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
PAGE_ALONE = Gap("Once in a while, and looked at twice: on the page.")
WORK = Inside("A runner's, over the attempt protocol.")
START = Inside("Called when the service starts.")
W = "/workspaces/{workspace_id}"

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
    "datasets.move": Verb(
        f"POST {P}/datasets/{{dataset_id}}/move", "datasets.move", "dataset move", "datasets/dataset.html: move"
    ),
    "datasets.of_job": WORK,
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
    "versions.samples": Inside("The pictures on the page of a shared version."),
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
    "jobs.carry": Inside("What a moved dataset or model takes along."),
    "jobs.view": SHAPE,
    "models.get": GATE,
    "models.visible": Verb(f"GET {P}/models", "models.list", "models list", "models/models.html"),
    "models.rename": Verb(
        f"PATCH {P}/models/{{model_id}}", "models.rename", "models rename", "models/model.html: rename"
    ),
    "models.delete": Verb(
        f"DELETE {P}/models/{{model_id}}", "models.delete", "models delete", "models/model.html: delete"
    ),
    "models.move": Verb(f"POST {P}/models/{{model_id}}/move", "models.move", "models move", "models/model.html: move"),
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
    "tokens.issue": Verb("POST /tokens", "tokens.create", "token create", "people/tokens.html: token_terms"),
    "tokens.issue_for_service": START,
    "tokens.visible": Verb("GET /tokens", "tokens.list", "token list", "people/tokens.html: token_list"),
    "tokens.get": GATE,
    "tokens.revoke": Verb(
        "DELETE /tokens/{token_id}", "tokens.revoke", "token revoke", "people/tokens.html: revoke-token"
    ),
    "tokens.issue_for_robot": Verb(
        f"POST {W}/tokens", "robots.create", "workspace robot", "workspaces/robots.html: token_terms"
    ),
    "tokens.robots": Verb(f"GET {W}/tokens", "robots.list", "workspace robots", "workspaces/robots.html: token_list"),
    "tokens.revoke_robot": Verb(
        f"DELETE {W}/tokens/{{token_id}}",
        "robots.revoke",
        "workspace end-robot",
        "workspaces/robots.html: revoke-robot",
    ),
    "workspaces.get": GATE,
    "workspaces.get_project": GATE,
    "workspaces.need_to_move": Inside("What the moving of a dataset or a model asks for where it is."),
    "workspaces.visible": Verb(
        "GET /workspaces", "workspaces.list", "workspace list", "people/profile.html: workspaces"
    ),
    "workspaces.show": Verb(
        f"GET {W}",
        "workspaces.get",
        Gap("`workspace list` tells what there is to tell."),
        Gap("A workspace's home shows its projects."),
    ),
    "workspaces.create": Verb("POST /workspaces", "workspaces.create", "workspace create", "workspaces/new.html: name"),
    "workspaces.make": Inside("What `create` and a first sign-in share."),
    "workspaces.ensure_personal": Inside("A first sign-in makes it."),
    "workspaces.rename": Verb(f"PATCH {W}", "workspaces.rename", "workspace rename", "workspaces/general.html: rename"),
    "workspaces.delete": Verb(
        f"DELETE {W}", "workspaces.delete", "workspace delete", "workspaces/delete.html: delete_by_name"
    ),
    "workspaces.deleted": Verb("GET /workspaces", "workspaces.list", "workspace list", "workspaces/new.html: deleted"),
    "workspaces.restore": Verb(
        f"POST {W}/restore", "workspaces.restore", "workspace restore", "workspaces/new.html: /restore"
    ),
    "workspaces.sweep_deleted": Inside("The scheduler's housekeeping."),
    "workspaces.project_view": SHAPE,
    "members.visible": Verb(
        f"GET {W}/members", "members.list", "workspace members", "workspaces/members.html: members"
    ),
    "members.proved_role": Inside("What an invite and a change of a role are proved by."),
    "members.change": Verb(
        f"PATCH {W}/members/{{person_id}}", "members.change", "workspace role", "workspaces/members.html: data-at-once"
    ),
    "members.remove": Verb(
        f"DELETE {W}/members/{{person_id}}", "members.remove", "workspace remove", "workspaces/members.html: DELETE"
    ),
    "members.leave": Verb(f"POST {W}/leave", "workspaces.leave", "workspace leave", "workspaces/general.html: /leave"),
    "members.hand_over": Verb(
        f"POST {W}/members/{{person_id}}/hand-over",
        "members.hand_over",
        "workspace hand-over",
        "workspaces/general.html: hand-over",
    ),
    "invites.get": GATE,
    "invites.visible": Verb(
        f"GET {W}/invites", "invites.list", "workspace invites", "workspaces/members.html: invites"
    ),
    "invites.create": Verb(f"POST {W}/invites", "invites.create", "workspace invite", "workspaces/members.html: email"),
    "invites.remind": Verb(
        f"POST {W}/invites/{{invite_id}}/remind",
        "invites.remind",
        "workspace remind",
        "workspaces/members.html: remind",
    ),
    "invites.revoke": Verb(
        f"DELETE {W}/invites/{{invite_id}}",
        "invites.revoke",
        "workspace uninvite",
        "workspaces/members.html: /invites/",
    ),
    "invites.look": Inside("What the page of an invite shows before it is accepted."),
    "invites.admits": Inside("Asked by the sign-up, where that is closed."),
    "invites.accept": Verb("POST /invites/accept", "invites.accept", "workspace join", "invites/invite.html: Join"),
    "projects.visible": Verb(f"GET {W}/projects", "projects.list", "project list", "components/menu.html: projects"),
    "projects.show": Verb(f"GET {P}", "projects.get", "project show", "home/project.html"),
    "projects.create": Verb(f"POST {W}/projects", "projects.create", "project create", "components/new_project.html"),
    "projects.change": Verb(f"PATCH {P}", "projects.change", "project change", "home/edit_project.html: PATCH"),
    "projects.delete": Verb(f"DELETE {P}", "projects.delete", "project delete", "home/delete_project.html"),
    "projects.erase": Inside("What the end of a project and of a workspace share."),
    "shares.get": GATE,
    "shares.create": Verb(f"POST {P}/shares", "shares.create", "share create", "shares/links.html: days"),
    "shares.visible": Verb(f"GET {P}/shares", "shares.list", "share list", "shares/links.html: shares"),
    "shares.revoke": Verb(
        f"DELETE {P}/shares/{{share_id}}", "shares.revoke", "share revoke", "shares/links.html: revoke"
    ),
    "shares.open": Inside("What the page of a link asks."),
    "hosts.enrol_this_machine": START,
    "hosts.visible": Verb("GET /hosts", "hosts.list", "gpus", "hosts/hosts.html"),
    "hosts.gpus": Verb(
        Gap("`GET /hosts` holds the slots that are counted."), "hosts.list", "gpus", "components/gpus.html"
    ),
    "hosts.report": Inside("An agent's, at `POST /hosts/readings`."),
    "people.new_setup_code": START,
    "people.set_up": Verb("POST /setup", "setup", "setup", "people/setup.html"),
    "people.make_first_owner": Inside("What `set_up` and the page's form share."),
    "people.sign_in": Verb("POST /sign-in", "sign_in", "login", "account/login.html"),
    "people.recognise": Inside("What `sign_in` and the page's form share."),
    "people.exist": Inside("Tells the sign-in page whether there is anybody to sign in."),
    "people.rename": Verb("PATCH /me", "people.rename_me", PAGE_ALONE, "people/profile.html: name"),
    "people.delete": Verb("DELETE /me", "people.delete_me", PAGE_ALONE, "people/delete_account.html"),
    "people.everybody": Verb("GET /people", "people.list", "people list", "installation/installation.html: people"),
    "people.switch": Verb(
        "PATCH /people/{person_id}", "people.switch", "people deactivate", "installation/installation.html: is_active"
    ),
    "workspaces.go_with": Inside("What `people.delete` takes along."),
    "sessions.sender": Inside("The one authenticator of the doors."),
    "sessions.visitor": Inside("The same, of pages."),
    "sessions.visible": Verb("GET /sessions", "sessions.list", "session list", "people/sessions.html: sessions"),
    "sessions.end": Verb(
        "DELETE /sessions/{session_id}", "sessions.end", "session end", "people/sessions.html: session.id"
    ),
    "sessions.end_others": Verb(
        Gap("A program lists them and ends each."),
        Gap("A program lists them and ends each."),
        Gap("A terminal is no browser: it would end all of them."),
        "people/sessions.html: others",
    ),
    "audit.note": Inside("What every act writes down."),
    "audit.visible": Verb(f"GET {W}/audit", "audit.list", "audit", "workspaces/audit.html"),
    "audit.as_csv": Verb(
        f"GET {W}/audit.csv",
        Gap("A program has the rows as data."),
        Gap("`audit --json` is for programs, the page's file for a spreadsheet."),
        "workspaces/audit.html: audit.csv",
    ),
    "login_codes.asking": Inside("Proves what a command line asks, for its page."),
    "login_codes.let_in": Verb(
        Gap("A person lets it in, in their browser."), Gap("A person lets it in."), "login", "people/let_in.html"
    ),
    "login_codes.exchange": Verb("POST /login-codes", "exchange", "login", Gap("The command line's own half.")),
    "people.me": Verb("GET /me", "me", Gap("`trainshed login` tells who signed in."), "people/profile.html: frame.me"),
    "quotas.visible": Verb(
        "GET /workspaces/{workspace_id}/quotas",
        "quotas.list",
        "quota list",
        "components/bars.html: bar.used",
    ),
    "quotas.limit": Verb(
        "PUT /workspaces/{workspace_id}/quotas/{resource}",
        "quotas.limit",
        "quota limit",
        "components/limits.html: bar.limit",
    ),
    "quotas.everywhere": Verb(
        Gap("A program asks each workspace; the list of all of them is an administrator's page."),
        Gap("A program asks each workspace; the list of all of them is an administrator's page."),
        Gap("A command asks one workspace; the list of all of them is an administrator's page."),
        "installation/installation.html: workspaces",
    ),
    "quotas.require_room": Inside("Asked before the first byte of an upload."),
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
