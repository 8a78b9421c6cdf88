"""Workspaces: made, named, deleted with a grace. Who is in them stands in `members`, what is in them in `projects`."""

from __future__ import annotations

import contextlib
import time

from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from trainshed.errors import Conflict, NotFound, StateConflict
from trainshed.schemas import FINAL_STATES, ProjectView, WorkspaceView, settings
from trainshed.server.queue import ledger
from trainshed.server.records.models import Job, Membership, Person, Project, Workspace
from trainshed.server.services import audit, names
from trainshed.server.services.actors import Actor, Need, Place, gate, require, require_person, require_whole_person

_DAY_SECONDS = 86400.0


def get(actor: Actor, workspace_id: str, need: Need = "read") -> Workspace:
    require(actor, workspace_id, need)
    row = Workspace.objects.filter(id=workspace_id, deleted_at=None).first()
    if row is None:
        raise NotFound()
    return row


def get_project(actor: Actor, place: Place, need: Need = "read") -> Project:
    """The project that a URL names, if the actor may."""
    return gate(Project.objects.all(), actor, place.project_id or "", need, Place(place.workspace_id))


def need_to_move(place: Place, target: Place) -> Need:
    """What moving something asks for where it is: out of a workspace only an owner takes it."""
    return "work" if place.workspace_id == target.workspace_id else "own"


def visible(actor: Actor) -> list[WorkspaceView]:
    rows = Workspace.objects.filter(id__in=[id_ for id_ in actor.roles if actor.may(id_, "read")])
    ordered = rows.prefetch_related("projects").order_by("is_shelf", "created_at")
    return [_view(row, actor.roles[row.id], actor) for row in ordered]


def show(actor: Actor, workspace_id: str) -> WorkspaceView:
    return _view(get(actor, workspace_id), actor.roles[workspace_id], actor)


def create(actor: Actor, name: str) -> WorkspaceView:
    """A workspace of the acting person's own, with a first project."""
    person = require_whole_person(actor)
    with transaction.atomic():
        row = make(person, names.proved(name, "A workspace's", 200), "First project")
        audit.note(actor, "workspace.create", on=row)
    return _view(row, "owner", actor)


def make(owner: Person, name: str, project: str, *, personal_of: Person | None = None) -> Workspace:
    """The rows of a new workspace, in the caller's transaction."""
    row = Workspace.objects.create(name=name, personal_of=personal_of)
    Membership.objects.create(workspace=row, person=owner, role="owner")
    Project.objects.create(workspace=row, name=project)
    return row


def ensure_personal(person: Person) -> Workspace:
    """The workspace that a person has for themselves; made at their first sign-in, once however many are at work."""
    found = Workspace.objects.filter(personal_of=person).first()
    if found is not None:
        return found
    with contextlib.suppress(IntegrityError), transaction.atomic():
        return make(person, f"{person.name[:180]}'s workspace", "My project", personal_of=person)
    return Workspace.objects.get(personal_of=person)


def rename(actor: Actor, workspace_id: str, name: str) -> WorkspaceView:
    row = get(actor, workspace_id, "own")
    before, row.name = row.name, names.proved(name, "A workspace's", 200)
    with transaction.atomic():
        row.save(update_fields=["name"])
        audit.note(actor, "workspace.rename", on=row, before=before)
    return _view(row, actor.roles[row.id], actor)


# Deleting


def delete(actor: Actor, workspace_id: str) -> None:
    """Hide it and end its jobs. Until the grace has passed an owner may take it back."""
    row = get(actor, workspace_id, "own")
    if row.personal_of_id is not None:
        raise Conflict(
            f"{row.name!r} is somebody's personal workspace; it goes with their account.", hint="Empty its projects."
        )
    _hide(actor, row)


def go_with(actor: Actor) -> None:
    """Delete every workspace that only the acting person is in, their personal one too: their account goes."""
    for membership in require_person(actor).memberships.filter(workspace__deleted_at=None).select_related("workspace"):
        if membership.workspace.memberships.count() == 1:
            _hide(actor, membership.workspace)


def _hide(actor: Actor, row: Workspace) -> None:
    with transaction.atomic():
        Workspace.objects.filter(id=row.id, deleted_at=None).update(deleted_at=time.time())
        audit.note(actor, "workspace.delete", on=row)
    _cancel_jobs(row.id, actor.label)


def deleted(actor: Actor) -> list[WorkspaceView]:
    """What the acting person owns and has deleted, while it can still be taken back."""
    if require_person(actor, "read") and actor.only:
        return []
    rows = _deleted_of(actor).prefetch_related("projects").order_by("-deleted_at")
    return [_view(row, "owner", actor) for row in rows]


def restore(actor: Actor, workspace_id: str) -> WorkspaceView:
    """Take a deleted workspace back. Its jobs stay cancelled."""
    require_whole_person(actor)
    with transaction.atomic():
        row = _deleted_of(actor).select_for_update(no_key=True, of=("self",)).filter(id=workspace_id).first()
        if row is None:
            raise NotFound()
        row.deleted_at = None
        row.save(update_fields=["deleted_at"])
        audit.note(actor, "workspace.restore", on=row)
    return _view(row, "owner", actor)


def sweep_deleted() -> int:
    """End what still runs in deleted workspaces, and remove those whose grace has passed; returns how many."""
    gone = Workspace.objects.exclude(deleted_at=None)
    for workspace_id in gone.values_list("id", flat=True):
        _cancel_jobs(workspace_id, "scheduler")
    late = gone.filter(deleted_at__lt=time.time() - settings.number("TRAINSHED_GRACE_DAYS") * _DAY_SECONDS)
    return sum(_remove(workspace_id) for workspace_id in late.values_list("id", flat=True))


@transaction.atomic
def _remove(workspace_id: str) -> bool:
    """Everything of a workspace, unless a job of it has not ended yet or an owner has just taken it back."""
    from trainshed.server.services import projects  # it needs this module

    row = Workspace.objects.select_for_update().exclude(deleted_at=None).filter(id=workspace_id).first()
    if row is None or Job.objects.filter(workspace=row).exclude(state__in=FINAL_STATES).exists():
        return False
    projects.erase(list(row.projects.values_list("id", flat=True)))
    row.delete()
    return True


def _cancel_jobs(workspace_id: str, actor: str) -> None:
    """Each in a transaction of its own: one that held several jobs at once could wait for another in a circle."""
    unfinished = Job.objects.filter(workspace_id=workspace_id, cancel_requested=False).exclude(state__in=FINAL_STATES)
    for job_id in list(unfinished.values_list("id", flat=True)):
        with contextlib.suppress(StateConflict):
            ledger.cancel(job_id, actor=actor)


def _deleted_of(actor: Actor) -> QuerySet[Workspace]:
    owned = Membership.objects.filter(person=actor.person, role="owner").values("workspace_id")
    return Workspace.objects.exclude(deleted_at=None).filter(id__in=owned)


# Shapes


def project_view(row: Project) -> ProjectView:
    return ProjectView(
        id=row.id,
        workspace_id=row.workspace_id,
        name=row.name,
        task=row.task,
        description=row.description,
        created_at=row.created_at,
    )


def _view(row: Workspace, role: str, actor: Actor) -> WorkspaceView:
    grace_seconds = settings.number("TRAINSHED_GRACE_DAYS") * _DAY_SECONDS
    return WorkspaceView(
        id=row.id,
        name=row.name,
        role=role,  # type: ignore[arg-type]
        is_shelf=row.is_shelf,
        is_personal=row.personal_of_id is not None and row.personal_of_id == actor.id,
        ends_at=row.deleted_at + grace_seconds if row.deleted_at else None,
        projects=[project_view(each) for each in sorted(row.projects.all(), key=lambda each: each.created_at)],
    )
