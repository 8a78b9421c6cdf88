"""Every route x method x actor: who may, who may not, and that nobody learns what another workspace holds.

The table is compared with the routers, so a route that is missing here fails.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from server import api_client
from server.api_client import API, Caller, Lab, ok, problem

WORKSPACE = "/workspaces/{workspace_id}"
PROJECT = f"{WORKSPACE}/projects/{{project_id}}"
DATASET = f"{PROJECT}/datasets/{{dataset_id}}"
JOB = f"{PROJECT}/jobs/{{job_id}}"
MODEL = f"{PROJECT}/models/{{model_id}}"
UNKNOWN = "zzzzzzzzzzzzzzzzzzzz"

# `no-admin` and `no-jobs` are an owner's tokens without that scope; `administrator` is the installation's, no member.
PERSONS = ("viewer", "editor", "owner", "read-only", "no-admin", "no-jobs", "outsider", "administrator")
ROBOT = ("robot",)
MACHINES = ("attempt", "host", "service")
NOT_SIGNED_IN = ("anonymous", "revoked", "expired")
ACTORS = (*PERSONS, *ROBOT, *MACHINES, *NOT_SIGNED_IN)

# What each actor gets: `None` stands for the route's own success.
_NOBODY = dict.fromkeys(NOT_SIGNED_IN, 401)
_HIDDEN = {**_NOBODY, **dict.fromkeys(MACHINES, 404), **dict.fromkeys(("outsider", "administrator"), 404)}
_NO_PERSON = {**_NOBODY, **dict.fromkeys((*ROBOT, *MACHINES), 403)}
_SEEN = {**dict.fromkeys((*PERSONS, *ROBOT)), **_HIDDEN}
RULES: dict[str, dict[str, int | None]] = {
    "anybody": dict.fromkeys(ACTORS),
    "signed in": {**_NOBODY, **dict.fromkeys((*PERSONS, *ROBOT, *MACHINES))},
    "person": {**_NO_PERSON, **dict.fromkeys(PERSONS)},
    "writing person": {**_NO_PERSON, **dict.fromkeys(PERSONS), "read-only": 403},
    # What concerns a person as a whole asks for the scope `admin`.
    "whole person": {**_NO_PERSON, **dict.fromkeys(PERSONS), "read-only": 403, "no-admin": 403},
    "member": {**_SEEN, "read-only": 403, "no-admin": 403, "robot": 403},
    "read": _SEEN,
    "ask": {**_SEEN, "read-only": 403, "no-jobs": 403},
    "work": {**_SEEN, "viewer": 403, "read-only": 403},
    "work, person": {**_SEEN, "viewer": 403, "read-only": 403, "robot": 403},
    "run": {**_SEEN, "viewer": 403, "read-only": 403, "no-jobs": 403},
    "own": {**_SEEN, **dict.fromkeys(("viewer", "editor", "read-only", "no-admin", "robot"), 403)},
    "administrator": {**_NO_PERSON, **dict.fromkeys(PERSONS, 403), "administrator": None},
    "read, administrator": {**_SEEN, "administrator": None},
    "attempt": {**_NO_PERSON, **dict.fromkeys(PERSONS, 403), "attempt": None},
    "host": {**_NO_PERSON, **dict.fromkeys(PERSONS, 403), "host": None},
    "service": {**_NO_PERSON, **dict.fromkeys(PERSONS, 403), "service": None},
}


@dataclass
class Scene:
    """A workspace with one of everything, made afresh for one request."""

    lab: Lab
    actor: str
    ids: dict[str, str] = field(default_factory=dict)
    token: str | None = None

    def __post_init__(self) -> None:
        self.ids = {"workspace_id": self.lab.workspace_id, "project_id": self.lab.project_id, **self.ids}


Maker = Callable[[Scene], dict[str, Any]]


def nothing(scene: Scene) -> dict[str, Any]:
    return {}


def dataset(scene: Scene) -> dict[str, Any]:
    return {"dataset_id": scene.lab.dataset().id}


def image(scene: Scene) -> dict[str, Any]:
    return {"image_id": scene.lab.image(scene.lab.dataset()).id}


def version(scene: Scene) -> dict[str, Any]:
    row = scene.lab.version(scene.lab.dataset())
    return {"version_id": row.id}


def real_version(scene: Scene) -> dict[str, Any]:
    """A version whose manifest can be read."""
    row = scene.lab.version(scene.lab.dataset())
    row.manifest_id = api_client.manifest([])
    row.save()
    return {"version_id": row.id}


def model(scene: Scene) -> dict[str, Any]:
    return {"model_id": scene.lab.model().id}


def ended_job(scene: Scene) -> dict[str, Any]:
    return {"job_id": scene.lab.job("train", "succeeded").id}


def queued_job(scene: Scene) -> dict[str, Any]:
    return {"job_id": scene.lab.job("train", "queued").id}


def running_job(scene: Scene) -> dict[str, Any]:
    return {"job_id": scene.lab.attempt("train")[0].job_id}


def paused_job(scene: Scene) -> dict[str, Any]:
    return {"job_id": scene.lab.job("train", "paused").id}


def own_token(scene: Scene) -> dict[str, Any]:
    """A second token of the very person who asks."""
    from trainshed.server.records.models import Token
    from trainshed.server.services.actors import hash_secret

    asking = Token.objects.filter(sha256=hash_secret(scene.token or "")).first()
    person = asking.person if asking and asking.person else scene.lab.person("owner")
    secret = api_client.make_token(person)
    return {"token_id": Token.objects.get(sha256=hash_secret(secret)).id}


def other_member(scene: Scene) -> dict[str, Any]:
    """Somebody who is not the one who asks."""
    return {"person_id": scene.lab.add_member("viewer").id}


def second_owner(scene: Scene) -> dict[str, Any]:
    """So that none who asks is the last one."""
    scene.lab.add_member("owner")
    return {}


def invite(scene: Scene) -> dict[str, Any]:
    return {"invite_id": scene.lab.invite(email="new@example.org")[0].id}


def robot(scene: Scene) -> dict[str, Any]:
    return {"token_id": scene.lab.robot()[0].id}


def share(scene: Scene) -> dict[str, Any]:
    return {"share_id": scene.lab.share("model", scene.lab.model().id)[0].id}


def quota(scene: Scene) -> dict[str, Any]:
    return {"resource": "queued_jobs"}


def nobody_needs_me(scene: Scene) -> dict[str, Any]:
    """There is another owner, and another administrator."""
    api_client.make_person(is_administrator=True)
    return second_owner(scene)


def own_session(scene: Scene) -> dict[str, Any]:
    """A browser of the very person who asks."""
    from trainshed.server.records.models import Token
    from trainshed.server.services.actors import hash_secret

    asking = Token.objects.filter(sha256=hash_secret(scene.token or "")).first()
    return {"session_id": api_client.make_session(asking.person if asking and asking.person else None).public_id}


def somebody(scene: Scene) -> dict[str, Any]:
    return {"person_id": api_client.make_person().id}


def served_blob(scene: Scene) -> dict[str, Any]:
    from trainshed.server.records.models import Artifact

    row = scene.lab.model()
    return {"sha256": Artifact.objects.filter(job=row.job, name="model.onnx").get().blob_id}


def uploaded_blob(scene: Scene) -> dict[str, Any]:
    return {"sha256": scene.lab.upload().blob_id}


@dataclass(frozen=True)
class Row:
    """One route: its rule, its success, and how a request that would succeed is made."""

    method: str
    path: str
    rule: str
    success: int = 200
    things: Maker = nothing
    body: Callable[[Scene], dict[str, Any]] = nothing
    kind: str = "train"


def _json(value: Any) -> Maker:
    return lambda scene: {"json": value}


def _upload_of(scene: Scene) -> dict[str, Any]:
    return {"json": {"upload_id": scene.lab.upload().id}}


def _version_of(scene: Scene) -> dict[str, Any]:
    return {"json": {"version_id": scene.lab.version(scene.lab.dataset()).id}}


def _invite_elsewhere(scene: Scene) -> dict[str, Any]:
    return {"json": {"link": Lab("elsewhere").invite()[1]}}


def _share_of(scene: Scene) -> dict[str, Any]:
    return {"json": {"noun": "model", "thing_id": scene.lab.model().id}}


def _second_project(scene: Scene) -> dict[str, Any]:
    return {"json": {"workspace_id": scene.lab.workspace_id, "project_id": scene.lab.add_project("second")}}


def _blob_of(scene: Scene) -> dict[str, Any]:
    (sha256,) = api_client.store(b"weights")
    return {"json": {"sha256": sha256, "step": 3}}


def _setup_code(scene: Scene) -> dict[str, Any]:
    """The table's people are there already, so the right answer to a right code is 409."""
    from trainshed.server.records.models import Token
    from trainshed.server.services.actors import hash_secret, new_secret

    code = new_secret("setup")
    Token.objects.create(kind="setup", name="first owner", sha256=hash_secret(code), expires_at=time.time() + 60)
    return {"json": {"code": code, "name": "A", "email": "a@example.org", "password": "correct horse battery"}}


def _bytes(value: bytes) -> Maker:
    return lambda scene: {"content": value}


_RESULT = {"result": {"num_taken": 0, "num_skipped": 0, "skipped": [], "classes": {}}, "artifacts": {}}
TABLE = [
    Row("POST", "/setup", "anybody", 409, body=_setup_code),
    # A wrong password is 401 as well, so the table asks for nothing.
    Row("POST", "/sign-in", "anybody", 422, body=_json({})),
    Row("GET", "/health", "anybody"),
    Row("GET", "/me", "person"),
    # A code that nobody made is refused like a missing token, so the table sends none.
    Row("POST", "/login-codes", "anybody", 422, body=_json({})),
    Row("PATCH", "/me", "writing person", body=_json({"name": "Renamed"})),
    Row("DELETE", "/me", "whole person", 204, nobody_needs_me),
    Row("GET", "/sessions", "person"),
    Row("DELETE", "/sessions/{session_id}", "whole person", 204, own_session),
    Row("GET", "/people", "administrator"),
    Row("PATCH", "/people/{person_id}", "administrator", things=somebody, body=_json({"is_active": False})),
    Row("GET", "/audit", "administrator"),
    Row("GET", f"{WORKSPACE}/audit", "own"),
    Row("GET", f"{WORKSPACE}/audit.csv", "own"),
    Row("GET", "/tokens", "person"),
    Row("POST", "/tokens", "writing person", 201, body=_json({"name": "n", "scopes": ["read"]})),
    Row("DELETE", "/tokens/{token_id}", "writing person", 204, own_token),
    Row("GET", "/workspaces", "signed in"),
    Row("POST", "/workspaces", "whole person", 201, body=_json({"name": "new"})),
    Row("GET", WORKSPACE, "read"),
    Row("PATCH", WORKSPACE, "own", body=_json({"name": "renamed"})),
    Row("DELETE", WORKSPACE, "own", 204),
    # This one is not deleted, so that there is nothing to restore for whoever may.
    Row("POST", f"{WORKSPACE}/restore", "whole person", 404),
    Row("POST", f"{WORKSPACE}/leave", "member", 204, second_owner),
    Row("GET", f"{WORKSPACE}/members", "read"),
    Row("PATCH", f"{WORKSPACE}/members/{{person_id}}", "own", 200, other_member, _json({"role": "editor"})),
    Row("DELETE", f"{WORKSPACE}/members/{{person_id}}", "own", 204, other_member),
    Row("POST", f"{WORKSPACE}/members/{{person_id}}/hand-over", "own", 200, other_member),
    Row("GET", f"{WORKSPACE}/invites", "own"),
    Row("POST", f"{WORKSPACE}/invites", "own", 201, body=_json({"role": "editor"})),
    Row("POST", f"{WORKSPACE}/invites/{{invite_id}}/remind", "own", 200, invite),
    Row("DELETE", f"{WORKSPACE}/invites/{{invite_id}}", "own", 204, invite),
    Row("POST", "/invites/accept", "whole person", body=_invite_elsewhere),
    Row("GET", f"{WORKSPACE}/tokens", "own"),
    Row("POST", f"{WORKSPACE}/tokens", "own", 201, body=_json({"name": "robot"})),
    Row("DELETE", f"{WORKSPACE}/tokens/{{token_id}}", "own", 204, robot),
    Row("GET", f"{WORKSPACE}/quotas", "read, administrator"),
    Row("PUT", f"{WORKSPACE}/quotas/{{resource}}", "administrator", 200, quota, _json({"most": 5})),
    Row("GET", f"{WORKSPACE}/projects", "read"),
    Row("POST", f"{WORKSPACE}/projects", "work", 201, body=_json({"name": "new"})),
    Row("GET", PROJECT, "read"),
    Row("PATCH", PROJECT, "work", body=_json({"description": "of birds"})),
    Row("DELETE", PROJECT, "work", 204),
    Row("GET", f"{PROJECT}/shares", "work"),
    Row("POST", f"{PROJECT}/shares", "work, person", 201, body=_share_of),
    Row("DELETE", f"{PROJECT}/shares/{{share_id}}", "work", 204, share),
    Row("GET", "/workspaces/{workspace_id}/stream", "read"),
    Row("GET", f"{PROJECT}/datasets", "read"),
    Row("POST", f"{PROJECT}/datasets", "work", 201, body=_json({"name": "new"})),
    Row("GET", DATASET, "read", 200, dataset),
    Row("PATCH", DATASET, "work", 200, dataset, _json({"name": "renamed"})),
    Row("DELETE", DATASET, "work", 204, dataset),
    Row("POST", f"{DATASET}/move", "work", 200, dataset, _second_project),
    Row("GET", f"{DATASET}/images", "read", 200, dataset),
    Row("POST", f"{DATASET}/imports", "run", 202, dataset, _upload_of),
    Row("GET", f"{DATASET}/versions", "read", 200, dataset),
    Row("POST", f"{DATASET}/versions", "run", 202, dataset, _json({})),
    Row("POST", f"{PROJECT}/uploads", "work", 201, body=_bytes(b"zip")),
    Row("GET", f"{PROJECT}/images/{{image_id}}/file", "read", 200, image),
    Row("GET", f"{PROJECT}/images/{{image_id}}/thumbnail", "read", 200, image),
    Row("GET", f"{PROJECT}/versions/{{version_id}}", "read", 200, version),
    Row("GET", f"{PROJECT}/versions/{{version_id}}/images", "read", 200, real_version),
    Row("POST", f"{PROJECT}/trainings", "run", 202, body=_version_of),
    Row("GET", f"{PROJECT}/jobs", "read"),
    Row("GET", JOB, "read", 200, queued_job),
    Row("POST", f"{JOB}/cancel", "run", 200, queued_job),
    Row("POST", f"{JOB}/pause", "run", 200, running_job),
    Row("POST", f"{JOB}/resume", "run", 200, paused_job),
    Row("GET", f"{JOB}/waiting", "read", 200, queued_job),
    Row("GET", f"{JOB}/events", "read", 200, queued_job),
    Row("GET", f"{JOB}/stream", "read", 200, ended_job),
    Row("GET", f"{PROJECT}/models", "read"),
    Row("GET", MODEL, "read", 200, model),
    Row("PATCH", MODEL, "work", 200, model, _json({"name": "renamed"})),
    Row("DELETE", MODEL, "work", 204, model),
    Row("POST", f"{MODEL}/move", "work", 200, model, _second_project),
    Row("GET", f"{MODEL}/archive", "read", 200, model),
    # No model server runs in these tests: whoever may ask is told so.
    Row("POST", f"{MODEL}/predict", "ask", 503, model, _bytes(b"a picture")),
    Row("POST", f"{MODEL}/load", "ask", 503, model),
    Row("GET", "/hosts", "person"),
    Row("POST", "/hosts/readings", "host", 204, body=_json({"hostname": "h", "cpu_count": 2})),
    Row("POST", "/attempt/renewals", "attempt"),
    Row("GET", "/attempt/assignment", "attempt", kind="pretrained"),
    Row("POST", "/attempt/events", "attempt", 204, body=_json({"first": 0, "events": []})),
    Row("POST", "/attempt/images", "attempt", 204, body=_json({"images": []}), kind="import"),
    Row("GET", "/attempt/images", "attempt", kind="import"),
    Row("GET", "/attempt/rows", "attempt", kind="snapshot"),
    Row("POST", "/attempt/checkpoint", "attempt", 204, body=_blob_of),
    Row("POST", "/attempt/publication", "attempt", 204, body=_json(_RESULT), kind="import"),
    Row("POST", "/attempt/end", "attempt", 204, body=_json({"end": "stopped"})),
    Row("PUT", "/attempt/blobs", "attempt", body=_bytes(b"blob")),
    Row("POST", "/attempt/blobs", "attempt", body=_bytes(api_client.packed(b"blob"))),
    Row("GET", "/attempt/blobs/{sha256}", "attempt", 200, uploaded_blob),
    Row("GET", "/serving/models/{model_id}", "service", 200, model),
    Row("GET", "/serving/blobs/{sha256}", "service", 200, served_blob),
]
_names = [f"{row.method} {row.path}" for row in TABLE]


def _routed() -> set[tuple[str, str]]:
    """Every method and path that Django and Starlette answer."""
    from trainshed.server.api.main import api
    from trainshed.server.streams.routes import ROUTES

    found = {
        (method, f"{bound.prefix}{path}")
        for bound in api._get_bound_routers()
        for path, view in bound.path_operations.items()
        for operation in view.operations
        for method in operation.methods
    }
    starlette = {
        (method, route.path.removeprefix(API)) for route in ROUTES for method in (route.methods or set()) - {"HEAD"}
    }
    return found | starlette


def test_every_route_stands_in_this_table_once(django):
    assert len(set(_names)) == len(_names)
    assert _routed() == {(row.method, row.path) for row in TABLE}


def test_every_documented_operation_stands_in_this_table(nobody):
    paths = ok(nobody.get("/openapi.json"))["paths"]
    documented = {(method.upper(), path.removeprefix(API)) for path, item in paths.items() for method in item}
    assert documented == {(row.method, row.path) for row in TABLE}


def _spec(lab: Lab, kind: str) -> dict[str, Any]:
    return {"dataset_id": lab.dataset().id} if kind in ("import", "snapshot") else {}


def _token(actor: str, lab: Lab, kind: str) -> str | None:
    if actor == "anonymous":
        return None
    if actor == "attempt":
        return lab.attempt(kind, _spec(lab, kind))[1]
    if actor == "host":
        return api_client.make_host()[1]
    if actor == "service":
        return api_client.make_service_token()
    if actor == "outsider":
        return Lab("elsewhere").token("owner")
    if actor == "administrator":
        return api_client.make_token(api_client.make_person(is_administrator=True))
    if actor == "robot":
        return lab.robot("editor")[1]
    values: dict[str, dict[str, Any]] = {
        "read-only": {"scopes": ("read",)},
        "no-admin": {"scopes": ("read", "write", "jobs")},
        "no-jobs": {"scopes": ("read", "write", "admin")},
        "revoked": {"revoked_at": time.time()},
        "expired": {"expires_at": time.time() - 1},
    }
    return lab.token(actor if actor in ("viewer", "editor") else "owner", **values.get(actor, {}))


def _ask(caller: Caller, row: Row, ids: dict[str, str], body: dict[str, Any]) -> httpx.Response:
    """The whole answer; of a stream without an end its beginning."""
    path = row.path.format(**ids)
    if row.path != "/workspaces/{workspace_id}/stream":
        return caller(row.method, path, **body)
    headers = {"Authorization": f"Bearer {caller.token}"} if caller.token else {}
    with caller.http.stream("GET", API + path, headers=headers) as answer:
        if answer.status_code != 200:
            answer.read()
        return answer


@pytest.mark.parametrize("row", TABLE, ids=_names)
def test_each_actor_gets_what_the_table_says(nobody, row, record_property):
    from django.db import transaction

    expected = RULES[row.rule]
    assert set(expected) == set(ACTORS)
    got = {}
    for actor in ACTORS:
        with transaction.atomic():
            scene = Scene(Lab(), actor)
            scene.token = _token(actor, scene.lab, row.kind)
            ids, body = {**scene.ids, **row.things(scene)}, row.body(scene)
        answer = _ask(nobody.as_(scene.token), row, ids, body)
        got[actor] = answer.status_code
        if answer.status_code >= 400:
            problem(answer, answer.status_code, answer.json()["code"])
    wanted = {actor: row.success if status is None else status for actor, status in expected.items()}
    record_property("cases", len(got))
    record_property("leaks", len(wanted.items() - got.items()))
    assert got == wanted


_with_ids = [
    row
    for row in TABLE
    if row.rule in ("read", "read, administrator", "ask", "work", "work, person", "run", "own", "member")
]


@pytest.mark.parametrize("row", _with_ids, ids=[f"{row.method} {row.path}" for row in _with_ids])
def test_a_foreign_and_an_unknown_id_give_the_same_404(nobody, row, record_property):
    """For each id in the address: one that is nowhere, one of another workspace, one of the same name elsewhere."""
    lab, foreign = Lab(), Lab("elsewhere")
    caller = nobody.as_(lab.token("owner"))
    mine = {**Scene(lab, "owner").ids, **row.things(Scene(lab, "owner"))}
    theirs = {**Scene(foreign, "owner").ids, **row.things(Scene(foreign, "owner"))}
    body = row.body(Scene(lab, "owner"))
    named = [name for name in mine if f"{{{name}}}" in row.path]
    answers = {}
    for name in named:
        answers[f"unknown {name}"] = _ask(caller, row, {**mine, name: UNKNOWN}, body)
        answers[f"foreign {name}"] = _ask(caller, row, {**mine, name: theirs[name]}, body)
    answers["all foreign"] = _ask(caller, row, theirs, body)
    if "{project_id}" in row.path and len(named) > 2:
        other_project = lab.add_project("other")
        answers["another project of mine"] = _ask(caller, row, {**mine, "project_id": other_project}, body)
    record_property("cases", len(answers))
    record_property("leaks", sum(answer.status_code != 404 for answer in answers.values()))
    for answer in answers.values():
        problem(answer, 404, "not_found")
    contents = {name: answer.content for name, answer in answers.items()}
    assert len(set(contents.values())) == 1, contents
    headers = {tuple(sorted(name for name in answer.headers)) for answer in answers.values()}
    assert len(headers) == 1, headers


@pytest.mark.parametrize(
    ("path", "field"), [(f"{DATASET}/imports", "upload_id"), (f"{PROJECT}/trainings", "version_id")]
)
def test_a_foreign_id_in_a_body_gives_the_same_404_as_an_unknown_one(nobody, path, field):
    lab, foreign = Lab(), Lab("elsewhere")
    caller = nobody.as_(lab.token("owner"))
    other = Lab("second project")
    other.workspace_id, other.project_id = lab.workspace_id, lab.add_project("other")

    def thing(where: Lab) -> str:
        return str(where.upload().id if field == "upload_id" else where.version(where.dataset()).id)

    address = path.format(**Scene(lab, "owner").ids, dataset_id=lab.dataset().id)
    contents = {caller.post(address, {field: id_}).content for id_ in (UNKNOWN, thing(foreign), thing(other))}
    answer = caller.post(address, {field: UNKNOWN})
    problem(answer, 404, "not_found")
    assert contents == {answer.content}
    assert caller.post(address, {field: thing(lab)}).status_code == 202


def test_another_persons_token_cannot_be_revoked(nobody, lab):
    from trainshed.server.records.models import Token

    victim = lab.token("viewer")
    id_ = Token.objects.get(person=lab.person("viewer")).id
    unknown = nobody.as_(lab.token("owner")).delete(f"/tokens/{UNKNOWN}")
    theirs = nobody.as_(lab.token("owner")).delete(f"/tokens/{id_}")
    problem(theirs, 404, "not_found")
    assert theirs.content == unknown.content
    assert nobody.as_(victim).get("/me").status_code == 200


def test_an_attempt_reads_no_blob_of_another_workspace(nobody, lab):
    foreign = Lab("elsewhere").upload(b"their secret")
    caller = nobody.as_(lab.attempt("train")[1])
    theirs = caller.get(f"/attempt/blobs/{foreign.blob_id}")
    problem(theirs, 404, "not_found")
    assert theirs.content == caller.get(f"/attempt/blobs/{'0' * 64}").content


def test_the_model_server_reads_models_files_and_nothing_else(nobody, lab):
    caller = nobody.as_(api_client.make_service_token())
    problem(caller.get(f"/serving/blobs/{lab.upload(b'pictures').blob_id}"), 404, "not_found")
    problem(caller.get(f"/serving/models/{UNKNOWN}"), 404, "not_found")


def test_everybody_reads_the_shelf_and_nobody_writes_there(nobody, lab):
    from trainshed.server.records.models import Workspace

    shelf = Lab("shelf")
    Workspace.objects.filter(id=shelf.workspace_id).update(is_shelf=True)
    model_id = shelf.model().id
    caller = nobody.as_(lab.token("owner"))
    assert [row["id"] for row in ok(caller.get(f"{shelf.path}/models"))["items"]] == [model_id]
    problem(caller.delete(f"{shelf.path}/models/{model_id}"), 403, "forbidden")
    problem(caller.post(f"{shelf.path}/datasets", {"name": "mine"}), 403, "forbidden")


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Basic abc", "bearer tsp_wrong", "Bearer tsa_wrong", "Bearer tsh_wrong", "Bearer é"]
)
def test_a_wrong_authorization_header_is_401(nobody, header):
    raw = header.encode("latin-1")
    for path in ("/me", "/attempt/blobs/" + "0" * 64):
        answer = nobody.http.get(API + path, headers=[(b"Authorization", raw)])
        problem(answer, 401, "not_signed_in")


def test_the_right_token_works_in_any_case_of_the_scheme(nobody, lab):
    for scheme in ("Bearer", "bearer", "BEARER"):
        answer = nobody.http.get(f"{API}/me", headers={"Authorization": f"{scheme} {lab.token()}"})
        assert answer.status_code == 200


def test_a_deactivated_person_and_a_robots_token_open_nothing(nobody, lab):
    from trainshed.server.records.models import Token

    secret = lab.token("owner")
    assert nobody.as_(secret).get("/me").status_code == 200
    lab.person("owner").__class__.objects.update(is_active=False)
    problem(nobody.as_(secret).get("/me"), 401, "not_signed_in")
    lab.person("owner").__class__.objects.update(is_active=True)
    Token.objects.update(kind="robot")
    problem(nobody.as_(secret).get("/me"), 401, "not_signed_in")
    Token.objects.update(kind="setup")
    problem(nobody.as_(secret).get("/me"), 401, "not_signed_in")


def test_a_token_of_one_workspace_sees_only_that_one(nobody, lab):
    from trainshed.server.records.models import Membership

    other = Lab("other")
    Membership.objects.create(workspace_id=other.workspace_id, person=lab.person("owner"), role="owner")
    caller = nobody.as_(lab.token("owner", workspace_id=lab.workspace_id))
    assert caller.get(f"{lab.path}/jobs").status_code == 200
    problem(caller.get(f"{other.path}/jobs"), 404, "not_found")
    assert [row["id"] for row in ok(caller.get("/workspaces"))["items"]] == [lab.workspace_id]
